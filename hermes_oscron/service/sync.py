"""Bring what is armed in line with the jobs of every profile, and start missed runs."""

import contextlib
import datetime
import os
from collections.abc import Iterator
from typing import NamedTuple

from ..barrier import use_each, use_or_none
from ..clock import CLOCK, Clock
from ..errors import describe
from ..files import StateFileError, file_signature, remove_stale_temp_files
from ..hermes import job_store
from ..hermes.home import Home, ProfileNotFound, active_profile, home_of, homes_of, instance_name, split_instance
from ..hermes.jobs_file import JobNotFound, NotAJobsFile
from ..hermes.timezone import home_zone
from ..jobs import lifecycle
from ..jobs.model import Job
from ..runs import interrupted, lock, requests
from ..schedule.model import ONCE
from ..schedulers.active import active_scheduler, note_sync, set_active_scheduler
from ..schedulers.plan import plan_of
from ..schedulers.protocol import Plan, Problem, Report, SchedulerError
from ..schedulers.reconcile import reconcile
from . import late
from .command_lock import command_lock
from .selection import Selection

MAX_ROUNDS = 5
"""The most rounds of one sync, which starts another round if jobs changed during the last one."""
SYNC_LOCK_TIMEOUT_S = 300.0
"""A sync that must start thousands of timers takes a minute."""


class SyncReport(NamedTuple):
    """The changes of a sync. `started` has a sentence for each overdue job that it started."""

    armed: list[str]
    disarmed: list[str]
    started: list[str]
    problems: list[Problem]


class Reconciler:
    """Keeps what is armed in line with the jobs of one Hermes root."""

    def __init__(self, selection: Selection, clock: Clock = CLOCK) -> None:
        self.root = selection.root
        self._selection = selection
        self._clock = clock

    def sync(self) -> SyncReport:
        """Make what is armed agree with every profile's jobs, and start overdue ones, once.

        If another scheduler is configured than the active one, the jobs move to it. A profile whose jobs cannot be read
        keeps its timers or crontab lines, and is in the report. Changes during the sync are included. Raises
        SchedulerError, StateFileError.
        """
        armed: list[str] = []
        disarmed: list[str] = []
        started: dict[str, str] = {}
        with command_lock(self._selection, SYNC_LOCK_TIMEOUT_S), self._switch_scheduler():
            for _ in range(MAX_ROUNDS):
                before = state_version(self._selection)
                report = self._reconcile(started)
                armed += report.armed
                disarmed += report.disarmed
                if state_version(self._selection) == before:
                    break
            if not report.problems:
                note_sync(self.root)
        return SyncReport(armed, disarmed, list(started.values()), report.problems)

    def disarm(self) -> None:
        """Disarm every job, until the next sync. Raises SchedulerError, StateFileError."""
        with command_lock(self._selection, SYNC_LOCK_TIMEOUT_S):
            self._selection.active.remove_all()

    def plans(self, now: datetime.datetime) -> dict[str, Plan]:
        """Return the plans of the jobs of every profile at `now`. Raises StateFileError."""
        plans: dict[str, Plan] = {}
        for home in homes_of(self.root):
            plans.update(plans_of(home, now))
        return plans

    def record_and_plan(self, now: datetime.datetime) -> dict[str, Plan]:
        """Record the runs that ended unrecorded, and return `plans`, for the foreground, which has no regular sync.

        Raises StateFileError if jobs cannot be read.
        """
        for home in homes_of(self.root):
            with contextlib.suppress(StateFileError, OSError):  # doctor reports a run that stays unrecorded
                interrupted.record_interrupted_runs(home)
        return self.plans(now)

    @contextlib.contextmanager
    def _switch_scheduler(self) -> Iterator[None]:
        """Switch to the configured scheduler; switch back if that fails. Raises SchedulerError."""
        selection = self._selection
        present = selection.active
        if selection.configured.kind == selection.active_at_start:
            # the jobs should stay in the active scheduler; if another process has moved them since, they stay there
            selection.configured = present
        wanted = selection.configured
        if present.kind == wanted.kind:
            yield
            return
        if reason := wanted.availability().reason:
            raise SchedulerError(f"The jobs stay with {present.kind}: {reason}")
        present.remove_all()
        try:
            set_active_scheduler(self.root, wanted.kind)
            yield
        except (SchedulerError, StateFileError, OSError):
            set_active_scheduler(self.root, present.kind)
            self._reconcile({})
            raise

    def _reconcile(self, started: dict[str, str]) -> Report:
        """Reconcile once, and add to `started` the overdue jobs that were started, with a sentence each."""
        now, scheduler = self._clock.now(), self._selection.active
        homes = list(homes_of(self.root))
        problems: dict[str, Problem] = {}  # by subject, so that an unreadable profile is reported only once
        try:  # before the jobs are read, so that no later change goes unnoticed
            self._selection.watcher.watch([home.profile for home in homes])
        except SchedulerError as error:
            problems["change notification"] = Problem("change notification", str(error))
        plans: dict[str, Plan] = {}
        overdue: set[str] = set()
        running: set[str] = set()
        unread: set[str] = set()
        for home in homes:
            self._tidy(home, now)
            try:
                self._refresh_records(home, now)
            except (StateFileError, JobNotFound, OSError) as error:
                problems[home.profile] = Problem(home.profile, describe(error))
            try:
                running |= {instance_name(home.profile, job_id) for job_id in lock.running(home)}
                plans.update(plans_of(home, now))
                overdue |= self._overdue(home, now)
            except StateFileError as error:
                unread.add(home.profile)
                problems[home.profile] = Problem(home.profile, str(error), needs_edit=isinstance(error, NotAJobsFile))

        report = reconcile(scheduler, plans, now,
                           lambda instance: instance in running or split_instance(instance)[0] in unread)
        found = [*problems.values(), *report.problems]
        if scheduler.availability().reason == "":
            # A job that became due during this sync has not fired if its timer or line was armed only now.
            found += self._start_overdue({*overdue, *report.armed} - running - started.keys(), started)
        return report._replace(problems=found)

    def _tidy(self, home: Home, now: datetime.datetime) -> None:
        remove_stale_temp_files(home.cron_dir, now.timestamp())
        remove_stale_temp_files(home.state.folder, now.timestamp())
        requests.sweep(home)

    def _refresh_records(self, home: Home, now: datetime.datetime) -> None:
        """Record the runs that ended unrecorded, and give each job the next run at which the scheduler starts it."""
        interrupted.record_interrupted_runs(home)
        resolution = self._selection.active.resolution
        jobs = {job.id: job for job in job_store.read(home)}

        def refresh(job: Job) -> Job:
            return lifecycle.refresh_next_run(job, now, resolution)

        fresh, _ = use_each(jobs, refresh)
        stale = [job_id for job_id, job in fresh.items() if job is not jobs[job_id]]
        if stale:
            job_store.change_each(home, stale, lambda job: use_or_none(job.instance, job, refresh) or job)

    def _overdue(self, home: Home, now: datetime.datetime) -> set[str]:
        """Return the jobs of `home` that are due at `now`, also those that are starting.

        Starting them again is harmless: systemd takes it for the same start, and of two runners the second finds the
        lock, or that the job is no longer due.
        """
        resolution = self._selection.active.resolution
        jobs = {job.instance: job for job in interrupted.with_unrecorded_runs(home, job_store.read(home))}
        due, _ = use_each(jobs, lambda job: late.due_at(job, resolution))
        return {instance for instance, moment in due.items() if moment and moment <= now}

    def _start_overdue(self, instances: set[str], started: dict[str, str]) -> list[Problem]:
        """Start each of `instances` that is due and not running, and add it to `started`."""
        problems = []
        for instance in sorted(instances):
            try:
                profile, job_id = split_instance(instance)
                home = home_of(self.root, profile)
                job = job_store.find(home, job_id)
                due = job.next_run_at
                if due is None or due > self._clock.now() or not job.is_scheduled or lock.find(home, job_id):
                    continue
                self._selection.active.start(instance)
            except (JobNotFound, ProfileNotFound):
                continue  # deleted since; the next round disarms it
            except (SchedulerError, StateFileError) as error:
                problems.append(Problem(instance, str(error)))
                continue
            started[instance] = (f"{job.record.get('name') or job.id} ({job.id}): was due at "
                                 f"{due.astimezone(job.zone):%Y-%m-%d %H:%M:%S %Z}, had not run; started now.")
        return problems


def plans_of(home: Home, now: datetime.datetime) -> dict[str, Plan]:
    """Return the plans of the jobs of `home` at `now`. Raises StateFileError.

    A one-shot that is running has no plan. A job that cannot be planned has none either; doctor reports it.
    """
    running = set(lock.running(home))
    plans, _ = use_each(job_store.by_instance(home), lambda job: plan_of(job, now))
    return {instance: plan for instance, plan in plans.items()
            if plan and not (plan.schedule.kind == ONCE and split_instance(instance)[1] in running)}


def state_version(selection: Selection) -> tuple[object, ...]:
    """Return a value that changes whenever the jobs do, as clients see them, except by the passing of time."""
    root = selection.root
    parts: list[object] = [active_profile(root), os.environ.get("HERMES_TIMEZONE"), os.path.realpath("/etc/localtime"),
                           active_scheduler(root)]
    for home in homes_of(root):
        parts += [home.profile, home_zone(home).key, *lock.running(home).values(), *lock.unrecorded(home)]
        try:
            parts.append(file_signature(home.jobs_file))
        except StateFileError as error:
            parts.append(str(error))
    return tuple(parts)
