"""Bring what is armed in line with the jobs of every profile, and start what was missed."""

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
from ..hermes.home import Home, active_profile, home_of, homes_of, split_instance, state_dir
from ..hermes.jobs_file import JobNotFound, NotAJobsFile
from ..hermes.timezone import home_zone
from ..jobs import lifecycle
from ..jobs.model import Job
from ..runs import interrupted, lock, requests
from ..schedule.model import ONCE
from ..schedulers.active import active_scheduler, note_sync, set_active_scheduler
from ..schedulers.plan import plan_of
from ..schedulers.protocol import Plan, Problem, SchedulerError
from ..schedulers.reconcile import reconcile
from . import late
from .command_lock import command_lock
from .selection import Selection, watcher_for

MAX_ROUNDS = 5
"""How often one sync starts again because jobs changed while it worked."""
SYNC_LOCK_TIMEOUT_S = 300.0
"""A sync that must start thousands of timers takes a minute."""


class SyncReport(NamedTuple):
    """What a sync did. `started` has a sentence for each overdue job that it started."""

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
        """Make what is armed agree with every profile's jobs, and start, once, what is overdue.

        If another scheduler is configured than the active one, the jobs move to it. A profile whose jobs cannot be read
        keeps what it has armed, and is in the report. Changes during the sync are taken in too. Raises SchedulerError,
        StateFileError.
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
        """Return how every job of every profile should be armed at `now`. Raises StateFileError."""
        plans: dict[str, Plan] = {}
        for home in homes_of(self.root):
            plans.update(plans_of(home, now))
        return plans

    @contextlib.contextmanager
    def _switch_scheduler(self) -> Iterator[None]:
        """Switch to the configured scheduler; switch back if that fails. Raises SchedulerError."""
        selection = self._selection
        present = selection.active
        if selection.configured.kind == selection.active_at_start:
            selection.configured = present  # we were asked to keep it; if it changed since, the new one stays
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

    def _reconcile(self, started: dict[str, str]) -> SyncReport:
        """Reconcile once, and add to `started` the overdue jobs that were started, with a sentence each."""
        now, scheduler = self._clock.now(), self._selection.active
        homes = list(homes_of(self.root))
        problems: dict[str, Problem] = {}  # by subject: of an unreadable profile only that is reported
        try:  # before the jobs are read, so that no later change goes unnoticed
            watcher_for(scheduler).watch([home.profile for home in homes])
        except SchedulerError as error:
            problems["change notification"] = Problem("change notification", str(error))
        plans: dict[str, Plan] = {}
        overdue: dict[str, Job] = {}
        running: set[str] = set()
        unread: set[str] = set()
        for home in homes:
            self._tidy(home, now)
            try:
                self._refresh_records(home, now)
            except (StateFileError, JobNotFound, OSError) as error:
                problems[home.profile] = Problem(home.profile, describe(error))
            try:
                running |= {f"{home.profile}:{job_id}" for job_id in lock.running(home)}
                plans.update(plans_of(home, now))
                overdue |= self._overdue(home, now)
            except StateFileError as error:
                unread.add(home.profile)
                problems[home.profile] = Problem(home.profile, str(error), needs_edit=isinstance(error, NotAJobsFile))

        report = reconcile(scheduler, plans, now,
                           lambda instance: instance in running or split_instance(instance)[0] in unread)
        found = [*problems.values(), *report.problems]
        if scheduler.availability().reason == "":
            found += self._start_overdue({instance: job for instance, job in overdue.items()
                                             if instance not in running and instance not in started}, started)
        return SyncReport(report.armed, report.disarmed, [], found)

    def _tidy(self, home: Home, now: datetime.datetime) -> None:
        remove_stale_temp_files(home.cron_dir, now.timestamp())
        remove_stale_temp_files(state_dir(home.path), now.timestamp())
        requests.sweep(home)

    def _refresh_records(self, home: Home, now: datetime.datetime) -> None:
        """Record the runs that ended unrecorded, and give each job the next run that the scheduler keeps."""
        interrupted.record_interrupted_runs(home)
        resolution = self._selection.active.resolution
        jobs = {job.id: job for job in job_store.read(home)}

        def refresh(job: Job) -> Job:
            return lifecycle.refresh_next_run(job, now, resolution)

        fresh, _ = use_each(jobs, refresh)
        stale = [job_id for job_id, job in fresh.items() if job is not jobs[job_id]]
        if stale:
            job_store.change_each(home, stale, lambda job: use_or_none(job.instance, job, refresh) or job)

    def _overdue(self, home: Home, now: datetime.datetime) -> dict[str, Job]:
        """Return the jobs of `home` that are due at `now`, also those that are starting.

        Starting them again is harmless: systemd takes it for the same start, and of two runners the second finds the
        lock, or that the job is not due any more.
        """
        resolution = self._selection.active.resolution
        jobs = {job.instance: job for job in interrupted.with_unrecorded_runs(home, job_store.read(home))}
        due, _ = use_each(jobs, lambda job: late.due_at(job, resolution))
        return {instance: jobs[instance] for instance, moment in due.items() if moment and moment <= now}

    def _start_overdue(self, overdue: dict[str, Job], started: dict[str, str]) -> list[Problem]:
        problems = []
        for instance, job in sorted(overdue.items()):
            try:
                current = job_store.find(home_of(self.root, job.profile), job.id)
                due = current.next_run_at
                if due is None or due > self._clock.now() or not current.is_scheduled:
                    continue
                self._selection.active.start(instance)
            except JobNotFound:
                continue  # deleted since; the next round disarms it
            except (SchedulerError, StateFileError) as error:
                problems.append(Problem(instance, str(error)))
                continue
            started[instance] = (f"{job.record.get('name') or job.id} ({job.id}): was due at "
                                 f"{due.astimezone(job.zone):%Y-%m-%d %H:%M:%S %Z}, had not run; started now.")
        return problems


def plans_of(home: Home, now: datetime.datetime) -> dict[str, Plan]:
    """Return how the jobs of `home` should be armed at `now`. Raises StateFileError.

    A one-shot that is running has no plan. A job that cannot be planned has none either; doctor names it.
    """
    running = set(lock.running(home))
    plans, _ = use_each({job.instance: job for job in job_store.read(home)}, lambda job: plan_of(job, now))
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
