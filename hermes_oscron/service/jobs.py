"""The commands of clients and terminals on jobs: list, show, create, update, pause, resume, delete, run.

A change is written to disk first and then armed. If the operating system refuses, the change is undone. After a crash
between the two, the next sync repairs the difference.
"""

import contextlib
import datetime
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import config
from ..barrier import use_each, use_or_none
from ..clock import CLOCK, Clock
from ..files import StateFileError
from ..hermes import delivery, job_store, outputs
from ..hermes.home import Home, active_profile, home_of, homes_of
from ..hermes.outputs import OutputInfo
from ..hermes.timezone import home_zone
from ..jobs import lifecycle
from ..jobs import view as job_view
from ..jobs.fields import ValidationError
from ..jobs.fields import check as check_fields
from ..jobs.model import Job
from ..runs import interrupted, lock, requests
from ..runs.model import Run
from ..schedule.parse import parse_schedule, refuse_past
from ..schedulers.plan import plan_of
from ..schedulers.protocol import Changes, EndOfStart, SchedulerError
from . import late
from .command_lock import command_lock
from .field_checks import check_on_machine
from .selection import Selection

if TYPE_CHECKING:
    from ..runs.recent import RecentRun

JobView = dict[str, Any]

START_TIMEOUT_S, START_POLL_INTERVAL_S, UNIT_POLL_INTERVAL_S = 15.0, 0.01, 0.2
"""The time in which a requested run must begin, and the intervals at which its answer and its unit are read."""


class JobService:
    """The commands on the jobs of one Hermes root. They work on the active profile."""

    def __init__(self, selection: Selection, clock: Clock = CLOCK) -> None:
        self.root = selection.root
        self._selection = selection
        self.clock = clock

    @property
    def home(self) -> Home:
        """The home of the active profile."""
        return home_of(self.root, active_profile(self.root))

    # Reading

    def list_jobs(self, all_profiles: bool = False) -> JobView:
        """Return the jobs of the active profile and, if `all_profiles`, those of the others, which are read-only."""
        home = self.home
        jobs = self._views_of(home)
        other_profile_count = 0
        for other in homes_of(self.root):
            if other.profile != home.profile:
                with contextlib.suppress(StateFileError):  # sync and doctor report it
                    if all_profiles:
                        jobs += [{**view, "read_only": True} for view in self._views_of(other)]
                    else:
                        other_profile_count += len(job_store.read(other))
        return {
            "jobs": jobs,
            "active_profile": home.profile,
            "all_profiles": all_profiles,
            "other_profile_count": other_profile_count,
        }

    def show(self, job_id: str) -> JobView:
        """Return the job `job_id`. Raises JobNotFound, StateFileError."""
        home = self.home
        return self._view(home, interrupted.with_unrecorded_run(home, job_store.find(home, job_id)), self.clock.now())

    def next_late(self, now: datetime.datetime) -> datetime.datetime | None:
        """Return the first time after `now` at which a job will be late unless it starts; None if there is none."""
        resolution = self._selection.active.resolution
        moments: list[datetime.datetime | None] = []
        for home in homes_of(self.root):
            with contextlib.suppress(StateFileError):  # such a profile has no jobs to show
                jobs = job_store.by_instance(home)
                moments += use_each(jobs, lambda job: late.next_change(job, now, resolution))[0].values()
        return min(filter(None, moments), default=None)

    def status(self) -> dict[str, float]:
        """Return for each running job the seconds since it began."""
        return {job_id: _elapsed(run) for job_id, run in lock.running(self.home).items()}

    def elapsed(self, job_id: str) -> float | None:
        """Return the seconds since the run of `job_id` began; None if it is not running."""
        run = lock.find(self.home, job_id)
        return _elapsed(run) if run else None

    def outputs(self, job_id: str, limit: int) -> list[tuple[str, str]]:
        """Return name and windowed content of the newest `limit` outputs of `job_id`, newest first."""
        return outputs.newest(self.home, job_id, limit)

    def history(self, job_id: str, offset: int, limit: int) -> tuple[list[OutputInfo], int]:
        """Return `limit` outputs of `job_id` from `offset` on, newest first, without content, and the total."""
        return outputs.history(self.home, job_id, offset, limit)

    def output(self, job_id: str, filename: str) -> str:
        """Return the output `filename` of `job_id`. Raises RunNotFound."""
        return outputs.read(self.home, job_id, filename)

    def recent(self, since: float) -> "list[RecentRun]":
        """Return the last runs of the active profile's jobs that ended after `since` (unix seconds), oldest first."""
        from ..runs import recent  # reads the agent's database; 8 ms that no other command needs

        return recent.ended_since(self.home, since)

    def delivery_options(self) -> dict[str, str]:
        """Return the values that `deliver` accepts, and a label for each. Raises ConfigError."""
        return delivery.options(self.home, config.load(self.root))

    # Writing

    def create(self, given: Mapping[str, Any]) -> JobView:
        """Create a job of the fields `given`, arm it, and return it.

        Raises ValidationError, ScheduleError, SchedulerError, StateFileError.
        """
        home, now = self.home, self.clock.now()
        fields = check_on_machine(check_fields(given), home)
        if not fields.get("schedule", "").strip():
            raise ValidationError("schedule is missing.")
        zone = home_zone(home)
        schedule = parse_schedule(fields.pop("schedule"), zone, now)
        refuse_past(schedule, now)
        job = lifecycle.create(home.profile, os.urandom(6).hex(), fields, schedule, zone, now,
                               self._selection.active.resolution)
        with command_lock(self._selection):
            job_store.add(home, job)
            try:
                self._apply_to_scheduler(job, now)
            except Exception:
                job_store.remove(home, job.id)
                raise
        return self._view(home, job, now)

    def update(self, job_id: str, given: Mapping[str, Any]) -> JobView:
        """Change the fields `given` of `job_id` and return it. Null does not change a field, and "" clears a text.

        Raises JobNotFound, ValidationError, ScheduleError, SchedulerError, StateFileError.
        """
        home, now = self.home, self.clock.now()
        present = job_store.find(home, job_id)
        fields = check_on_machine(check_fields(given), home)
        schedule = parse_schedule(fields.pop("schedule"), present.zone, now) if "schedule" in fields else None

        def change(job: Job) -> Job:  # under the lock: until then the job or the active scheduler may change
            if schedule and schedule != job.schedule:
                refuse_past(schedule, now)
            return lifecycle.edit(job, fields, schedule, now, self._selection.active.resolution)

        return self._change(home, job_id, change, now)

    def pause(self, job_id: str, reason: str | None = None) -> JobView:
        """Pause `job_id` until it is resumed. Raises JobNotFound, SchedulerError, StateFileError."""
        now = self.clock.now()
        return self._change(self.home, job_id, lambda job: lifecycle.pause(job, reason, now), now)

    def resume(self, job_id: str) -> JobView:
        """Resume `job_id` from its next occurrence on; missed ones stay missed.

        Raises JobNotFound, ScheduleError, SchedulerError, StateFileError.
        """
        now = self.clock.now()
        return self._change(self.home, job_id,
                            lambda job: lifecycle.resume(job, now, self._selection.active.resolution), now)

    def delete(self, job_id: str) -> None:
        """Delete `job_id`, its timer or crontab line, and its outputs. A run in progress ends by itself, unrecorded.

        Raises JobNotFound, SchedulerError, StateFileError.
        """
        home = self.home
        with command_lock(self._selection):
            job = job_store.remove(home, job_id)
            try:
                self._selection.active.apply(Changes(deleted=[job.instance]), self.clock.now())
            except Exception:
                job_store.add(home, job)
                raise
        lock.detach_run(home, job_id)
        requests.forget(home, job_id)
        outputs.remove(home, job_id)

    def run(self, job_id: str) -> float | None:
        """Run `job_id` now, also if it is paused. Return the seconds of a run that is in progress already, else None.

        Returns once the run has begun. Raises JobNotFound, StateFileError, and SchedulerError with the reason if the
        run does not begin.
        """
        home = self.home
        job = job_store.find(home, job_id)
        elapsed = self.elapsed(job_id)
        if elapsed is not None:
            return elapsed
        with requests.ask(home, job_id) as request:
            end_of_start = self._selection.active.start(job.instance)
            answer = self._wait_until_started(request, end_of_start, lambda: lock.find(home, job_id))
        if "refused" in answer:
            raise SchedulerError(f"{job_id} was not run: {answer['refused']}")
        return answer.get("elapsed")

    def _wait_until_started(self, request: requests.Request, end_of_start: EndOfStart,
                            running: Callable[[], Run | None]) -> dict[str, Any]:
        """Return the runner's answer to `request`, or `refused` with the reason. Raises SchedulerError.

        A run that `running` finds before the request is taken is an earlier run.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        next_look = time.monotonic() + UNIT_POLL_INTERVAL_S
        while (answer := request.answer()) is None:
            now = time.monotonic()
            if not request.is_taken():
                # if it cannot be withdrawn, a runner has just taken it, and this is the requested run
                if (run := running()) and request.withdraw():
                    return {"elapsed": _elapsed(run)}
                reason = None
                if now > next_look:
                    reason, next_look = end_of_start(), now + UNIT_POLL_INTERVAL_S
                if now > deadline:
                    reason = f"it did not begin within {START_TIMEOUT_S:.0f} s, and will not begin later."
                if reason and request.withdraw():
                    return {"refused": reason}
            elif now > deadline + START_TIMEOUT_S:
                return {} if running() else {"refused": "its runner ended before the run began."}
            self.clock.sleep(START_POLL_INTERVAL_S)
        return answer

    def _change(self, home: Home, job_id: str, change: Callable[[Job], Job], now: datetime.datetime) -> JobView:
        """Change the job and its timer or crontab line, or neither."""
        with command_lock(self._selection):
            # so that the change applies to the job as clients see it
            with contextlib.suppress(StateFileError, OSError):
                interrupted.record_interrupted_runs(home, job_id)
            before = job_store.find(home, job_id)
            after = job_store.change(home, job_id, change)
            plan_before, plan_after = (use_or_none(job.instance, job, lambda job: plan_of(job, now))
                                       for job in (before, after))
            if plan_before != plan_after:
                try:
                    self._apply_to_scheduler(after, now)
                except Exception:
                    job_store.change(home, job_id,
                                     lambda current: lifecycle.undo(current, before, after, self.clock.now()))
                    raise
        return self._view(home, after, now)

    def _apply_to_scheduler(self, job: Job, now: datetime.datetime) -> None:
        """Arm `job` by its record, and start it if it is due already."""
        scheduler = self._selection.active
        plan = plan_of(job, now)
        changes = Changes(arm={job.instance: plan}) if plan else Changes(disarm=[job.instance])
        if problems := scheduler.apply(changes, now).problems:
            raise SchedulerError(problems[0].sentence)
        if plan and job.next_run_at and job.next_run_at <= self.clock.now():
            scheduler.start(job.instance)  # the runner skips it if something has fired it since

    def _views_of(self, home: Home) -> list[JobView]:
        jobs = interrupted.with_unrecorded_runs(home, job_store.read(home))
        return self._views(home, jobs, self.clock.now())

    def _view(self, home: Home, job: Job, now: datetime.datetime) -> JobView:
        return self._views(home, [job], now)[0]

    def _views(self, home: Home, jobs: list[Job], now: datetime.datetime) -> list[JobView]:
        resolution = self._selection.active.resolution  # read once, from a file

        def shown(job: Job) -> JobView:
            fields = job_view.to_json(job, now, resolution)
            if sentence := late.sentence(home, job, now, resolution):
                fields |= {"last_status": "error", "last_error": sentence}
            return fields

        return [use_or_none(job.instance, job, shown) or job_view.unusable_to_json(job) for job in jobs]


def _elapsed(run: Run) -> float:
    return round(max(0.0, time.time() - run.started_at), 1)
