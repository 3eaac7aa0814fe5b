"""The commands of clients and terminals on jobs: list, show, create, update, pause, resume, delete, run.

A change is written to disk first and then armed. If the operating system refuses, the change is undone. After a crash
between the two, the next sync repairs the difference.
"""

import contextlib
import datetime
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .. import config
from ..barrier import use_or_none
from ..clock import CLOCK, Clock
from ..errors import OscronError
from ..files import StateFileError
from ..hermes import delivery, job_store, outputs
from ..hermes.emergency_stop import paused
from ..hermes.home import Home, ProfileNotFound, active_profile, home_of, homes_of
from ..hermes.outputs import OutputInfo
from ..hermes.timezone import home_zone
from ..jobs import lifecycle
from ..jobs.fields import ValidationError, changes
from ..jobs.fields import check as check_fields
from ..jobs.model import Job
from ..jobs.policy import require_systemd
from ..runs import interrupted, lock, requests
from ..runs import stop as stop_run
from ..schedule.parse import read_schedule, refuse_past
from ..schedule.second_opinion import require_agreement
from ..schedulers.active import disarmed_since
from ..schedulers.plan import limits_of, plan_of
from ..schedulers.protocol import Changes, SchedulerError
from . import bookkeeping, job_views
from .command_lock import command_lock
from .elapses import wrong_elapses
from .field_checks import (
    check_on_machine,
    notes,
    refuse_other_kind,
    with_agent_fields,
    with_zone_of_schedule,
    zone_with,
)
from .gateway_status import gateway_status
from .job_views import JobView, Listing
from .manual_start import Progress, progress_of, wait_until_started
from .selection import Selection

Warn = Callable[[str], object]
"""Receives a sentence for each thing in a schedule that may not be meant."""

NEW_JOB = {"repeat": {"times": None, "completed": 0}}
"""The values of a new job that only the server changes later."""


def _ignore(_warning: str) -> None:
    pass


def _checked(given: Mapping[str, Any], home: Home, scheduler: str, is_new: bool) -> dict[str, Any]:
    """Return the fields `given`, with the zone of the schedule in the policy. Raises ValidationError."""
    fields = check_on_machine(check_fields(given, is_new=is_new), home)
    require_systemd(fields.get("policy", {}), scheduler)
    if is_new and not fields.get("schedule", "").strip():
        raise ValidationError("schedule is missing.")
    return with_zone_of_schedule(fields)


class DeletedRun(NamedTuple):
    """A run that was in progress for `elapsed` seconds when its job was deleted; it `continues`, or is `stopped`.

    One that is `stopping` has not ended in time.
    """

    elapsed: float
    state: str


def _deleted_run(run: stop_run.RunInProgress, stop: bool) -> DeletedRun | None:
    """Return `run`, whose job is deleted, and end it if it is to `stop`. A queued one ends, and is not returned."""
    with contextlib.closing(run):
        if run.queued:
            run.stop()
            return None
        state = ("stopped" if run.stop() else "stopping") if stop else "continues"
        return DeletedRun(round(run.elapsed_s, 1), state)


class HermesPaused(OscronError):
    """A manual run that is refused because Hermes is paused."""

    status = 409


class JobService:
    """The commands on the jobs of one Hermes root. They work on `profile`, or on the active profile."""

    def __init__(self, selection: Selection, clock: Clock = CLOCK, profile: str | None = None) -> None:
        self.root = selection.root
        self._selection = selection
        self.clock = clock
        self._profile = profile

    def of_profile(self, profile: str | None) -> "JobService":
        """Return the same commands for `profile`; None is the active one. Raises ProfileNotFound."""
        if profile is None:
            return self
        try:
            home_of(self.root, profile)
        except ProfileNotFound as error:
            error.status = 404  # the client chose it; for the active profile it stays 503
            raise
        return JobService(self._selection, self.clock, profile)

    @property
    def home(self) -> Home:
        """The home of the profile. Raises ProfileNotFound."""
        return home_of(self.root, self._profile or active_profile(self.root))

    # Reading

    def list_jobs(self, all_profiles: bool = False) -> JobView:
        """Return the jobs of the active profile and, if `all_profiles`, those of the others, which are read-only."""
        return self.listing(all_profiles).answer

    def listing(self, all_profiles: bool = False) -> Listing:
        """Return `list_jobs` with the time until which it holds, unless a file changes."""
        return job_views.list_of(self._selection, self.home, all_profiles, self.clock.now())

    @property
    def scheduler(self) -> str:
        """The kind of the scheduler that fires the jobs."""
        return self._selection.active.kind

    @property
    def disarmed_since(self) -> float | None:
        """When the jobs were disarmed, in unix seconds; None if they may fire."""
        return disarmed_since(self.root)

    def show(self, job_id: str) -> JobView:
        """Return the job `job_id`. Raises JobNotFound, StateFileError."""
        home = self.home
        return self._view(home, interrupted.with_unrecorded_run(home, job_store.find(home, job_id)), self.clock.now())

    def status(self) -> dict[str, Progress]:
        """Return the runs in progress by job, also those that are queued."""
        return {job_id: progress_of(run) for job_id, run in lock.running(self.home).items()}

    def progress(self, job_id: str) -> Progress | None:
        """Return the run of `job_id` that is in progress or queued; None if there is none."""
        run = lock.find(self.home, job_id)
        return progress_of(run) if run else None

    def outputs(self, job_id: str, limit: int) -> list[tuple[str, str]]:
        """Return name and windowed content of the newest `limit` outputs of `job_id`, newest first."""
        return outputs.newest(self.home, job_id, limit)

    def history(self, job_id: str, offset: int, limit: int) -> tuple[list[OutputInfo], int]:
        """Return `limit` outputs of `job_id` from `offset` on, newest first, without content, and the total."""
        return outputs.history(self.home, job_id, offset, limit)

    def output(self, job_id: str, filename: str) -> str:
        """Return the output `filename` of `job_id`. Raises RunNotFound."""
        return outputs.read(self.home, job_id, filename)

    def delivery_options(self) -> dict[str, str]:
        """Return the values that `deliver` accepts, and a label for each."""
        return delivery.options(homes_of(self.root))

    def gateway_status(self) -> dict[str, Any]:
        """Return whether the jobs fire, as the WebUI describes a gateway. Raises StateFileError."""
        return gateway_status(self._selection, self.home)

    # Writing

    def create(self, given: Mapping[str, Any], warn: Warn = _ignore, job_id: str | None = None,
               save: bool = True) -> JobView:
        """Create a job of the fields `given`, arm it, and return it; `warn` receives the warnings of its schedule.

        Its id is `job_id`, or a new one. Without `save`, the fields are checked, and nothing is changed.
        Raises ValidationError, ScheduleError, SchedulerError, StateFileError.
        """
        home, now = self.home, self.clock.now()
        fields = _checked(changes(given, NEW_JOB), home, self.scheduler, is_new=True)
        defaults = config.policy_of(self.root, home.profile)
        zone = zone_with(fields, None, home_zone(home), defaults)
        text = fields.pop("schedule")
        schedule, warnings = read_schedule(text, zone, now)
        refuse_other_kind(schedule, given["schedule"])
        refuse_past(schedule, now)
        require_agreement(schedule, text, zone, now)
        fields = with_agent_fields(fields, None, home, config.load(self.root))
        job = lifecycle.create(home.profile, job_id or os.urandom(6).hex(), fields, schedule, zone, now,
                               self._selection.active.resolution, defaults, home_zone(home))
        if save:
            self._add(home, job, now)
        for warning in warnings:
            warn(warning)
        return self._view(home, job, now)

    def update(self, job_id: str, given: Mapping[str, Any], warn: Warn = _ignore, save: bool = True) -> JobView:
        """Change the fields `given` of `job_id` and return it. Null does not change a field, and "" clears a text.

        A value that clients see already changes nothing, so that they can post back all of what they got. `warn`
        receives the warnings of the schedule that is given. Without `save`, nothing is changed.

        Raises JobNotFound, ValidationError, ScheduleError, SchedulerError, StateFileError.
        """
        home, now = self.home, self.clock.now()
        present = job_store.find(home, job_id)
        given = changes(given, self._view(home, interrupted.with_unrecorded_run(home, present), now))
        fields = _checked(given, home, self.scheduler, is_new=False)
        fields = with_agent_fields(fields, present.record, home, config.load(self.root))
        zone = zone_with(fields, present, present.home_zone or present.zone, present.defaults)
        text = fields.pop("schedule", None)
        schedule, warnings = read_schedule(text, zone, now) if text is not None else (None, [])
        if schedule:
            refuse_other_kind(schedule, given["schedule"])
        if schedule and schedule != present.own_schedule:
            require_agreement(schedule, text, zone, now)

        def change(job: Job) -> Job:  # under the lock: until then the job or the active scheduler may change
            if schedule and schedule != job.own_schedule:
                refuse_past(schedule, now)
            return lifecycle.edit(job, fields, schedule, now, self._selection.active.resolution)

        changed = self._change(home, job_id, change, now) if save else self._view(home, change(present), now)
        for warning in warnings:
            warn(warning)
        return changed

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

    def delete(self, job_id: str, stop: bool = False, keep_outputs: bool = False) -> DeletedRun | None:
        """Delete `job_id`, its timer or crontab line, and its outputs, unless `keep_outputs`. Return its run, if any.

        A run in progress ends by itself, unless `stop`. It is not recorded, and its output is kept or removed as those
        of earlier runs are. One that is queued ends at once. Raises JobNotFound, SchedulerError, StateFileError.
        """
        home = self.home
        with command_lock(self._selection):
            job = job_store.remove(home, job_id)
            try:
                self._selection.active.apply(Changes(deleted=[job.instance]), self.clock.now())
            except Exception:
                job_store.add(home, job)
                raise
            job_store.note_armed(home)
            bookkeeping.note_deleted(home, job_id, self.clock.now())
        run = stop_run.find(home, job_id)
        if not keep_outputs:
            lock.detach_run(home, job_id)
        requests.forget(home, job_id)
        deleted_run = _deleted_run(run, stop) if run else None
        if not keep_outputs:
            outputs.remove(home, job_id)
        return deleted_run

    def run(self, job_id: str, force: bool = False) -> float | None:
        """Run `job_id` now, also if it is paused. Return the seconds of a run that is in progress already, else None.

        Returns once the run has begun. Raises JobNotFound, StateFileError, SchedulerError with the reason if the run
        does not begin, and HermesPaused if all of Hermes is paused, unless `force`.
        """
        home = self.home
        job = job_store.find(home, job_id)
        if run := self.progress(job_id):
            return run.elapsed
        if (sentence := paused(home)) and not force:
            raise HermesPaused(f"{job_id} was not run: {sentence}", f"'hermes-oscron run --force {job_id}' runs it "
                                                                    f"all the same.")
        with requests.ask(home, job_id) as request:
            end_of_start = self._selection.active.start(job.instance, limits_of(job))
            answer = wait_until_started(request, end_of_start, lambda: lock.find(home, job_id), self.clock)
        if "refused" in answer:
            raise SchedulerError(f"{job_id} was not run: {answer['refused']}")
        return answer.get("elapsed")

    def notes(self, job_id: str) -> list[str]:
        """Return what `job_id` asks for and does not get, a sentence each. Raises JobNotFound, ConfigError."""
        return notes(job_store.find(self.home, job_id).record, self.home, config.load(self.home.root))

    def _add(self, home: Home, job: Job, now: datetime.datetime) -> None:
        """Add `job` and its timer or crontab line, or neither."""
        with command_lock(self._selection):
            job_store.add(home, job)
            try:
                self._apply_to_scheduler(home, job, now)
            except Exception:
                job_store.remove(home, job.id)
                raise
            bookkeeping.note_changes(home, [job], now, self.clock.now())

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
                    self._apply_to_scheduler(home, after, now)
                except Exception:
                    job_store.change(home, job_id,
                                     lambda current: lifecycle.undo(current, before, after, self.clock.now()))
                    raise
                bookkeeping.note_changes(home, [after], now, self.clock.now())
        return self._view(home, after, now)

    def _apply_to_scheduler(self, home: Home, job: Job, now: datetime.datetime) -> None:
        """Arm `job` by its record, and start it if it is due already.

        Raises SchedulerError, also if the system would fire it at another time than its record has.
        """
        scheduler = self._selection.active
        plan = plan_of(job, now) if self.disarmed_since is None else None
        changes = Changes(arm={job.instance: plan}) if plan else Changes(disarm=[job.instance])
        if problems := scheduler.apply(changes, now).problems:
            raise SchedulerError(problems[0].sentence)
        if plan and (wrong := wrong_elapses(scheduler, {job.instance: job}, self.clock)):
            scheduler.apply(Changes(disarm=[job.instance]), now)
            raise SchedulerError(f"{job.instance}: {wrong[job.instance]}")
        job_store.note_armed(home)
        if plan and job.next_run_at and job.next_run_at <= self.clock.now():
            scheduler.start(job.instance, plan.limits)  # the runner skips it if something has fired it since

    def _view(self, home: Home, job: Job, now: datetime.datetime) -> JobView:
        return job_views.view(self._selection, home, job, now)
