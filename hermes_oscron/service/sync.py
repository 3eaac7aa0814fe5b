"""Bring what is armed in line with the jobs of every profile, and start missed runs."""

import contextlib
import datetime
import logging
import time
from collections.abc import Iterator
from typing import NamedTuple

from .. import config
from ..barrier import use_each, use_or_none
from ..clock import CLOCK, Clock
from ..errors import describe
from ..files import TICK_NS, StateFileError, remove_stale_temp_files
from ..hermes import gateway, in_sync, job_store
from ..hermes.agent_settings import catches_up
from ..hermes.emergency_stop import paused
from ..hermes.home import Home, homes_of, instance_name, split_instance
from ..hermes.jobs_file import JobNotFound, NotAJobsFile
from ..hermes.timekeeper import other_timekeeper
from ..jobs import lifecycle
from ..jobs.due import is_missed
from ..jobs.missed import skip_missed
from ..jobs.model import Job
from ..runs import interrupted, lock, requests
from ..schedule.model import ONCE
from ..schedulers.active import disarmed_since, note_sync, set_active_scheduler, set_disarmed
from ..schedulers.plan import plan_of
from ..schedulers.protocol import Plan, Problem, Report, SchedulerError
from ..schedulers.reconcile import reconcile
from . import alerts, bookkeeping, late, maintenance, overdue
from .command_lock import command_lock
from .elapses import wrong_elapses
from .selection import Selection
from .state_version import state_version, watched_folders

log = logging.getLogger(__name__)

MAX_ROUNDS = 5
"""The most rounds of one sync, which starts another round if jobs changed during the last one."""
KEEPING_INTERVAL = datetime.timedelta(seconds=60)
"""The time after which the foreground looks for claims that are over, though no file has changed.

The agent deletes a one-shot that is two minutes late and has no claim.
"""
SYNC_LOCK_TIMEOUT_S = 300.0
"""A sync that must start thousands of timers takes a minute."""


class SyncReport(NamedTuple):
    """The changes of a sync. `started` has a sentence for each overdue job that it started."""

    armed: list[str]
    disarmed: list[str]
    started: list[str]
    problems: list[Problem]


class _Planned(NamedTuple):
    """The plans of all jobs at `version`, made at `since`; the records were last looked after at `kept_at`."""

    version: tuple[object, ...]
    since: datetime.datetime
    kept_at: datetime.datetime
    plans: dict[str, Plan]


class Reconciler:
    """Keeps what is armed in line with the jobs of one Hermes root."""

    def __init__(self, selection: Selection, clock: Clock = CLOCK) -> None:
        self.root = selection.root
        self._selection = selection
        self._clock = clock
        self._restarts = late.Restarts()
        self._planned: _Planned | None = None

    def sync(self) -> SyncReport:
        """Make what is armed agree with every profile's jobs, and start overdue ones, once.

        If another scheduler is configured than the active one, the jobs move to it. A profile whose jobs cannot be read
        keeps its timers or crontab lines, and is in the report. Changes during the sync are included. Raises
        SchedulerError, StateFileError.
        """
        if other_timekeeper(self.root):
            self._selection.active.remove_all()  # of the time when this machine fired them
        armed: list[str] = []
        disarmed: list[str] = []
        started: dict[str, str] = {}
        with command_lock(self._selection, SYNC_LOCK_TIMEOUT_S), self._switch_scheduler():
            in_sync.forget(self.root)
            for turn in range(MAX_ROUNDS):
                if turn:
                    time.sleep(TICK_NS / 1e9)  # so that `files` has those that the last round wrote
                before, files = state_version(self._selection), in_sync.snapshot(self.root, time.time_ns())
                postponed: set[str] = set()
                report = self._reconcile(started, postponed)
                armed += report.armed
                disarmed += report.disarmed
                if state_version(self._selection) == before:
                    break
            problems = report.problems + self._wrong_elapses(set(armed))
            if not problems:
                note_sync(self.root)
                if not postponed:
                    in_sync.store(self.root, files)
        problems += bookkeeping.keep_all(self.root, self._clock.now(), problems)
        return SyncReport(armed, disarmed, list(started.values()), problems)

    def disarm(self) -> None:
        """Disarm every job, until `arm`. Raises SchedulerError, StateFileError, OSError."""
        with command_lock(self._selection, SYNC_LOCK_TIMEOUT_S):
            since = disarmed_since(self.root)
            set_disarmed(self.root, True)  # first, so that a sync completes what is interrupted here
            try:
                self._selection.active.remove_all()
            except SchedulerError:
                set_disarmed(self.root, since is not None)
                raise
        bookkeeping.keep_all(self.root, self._clock.now())

    def arm(self, take_over: bool = False) -> SyncReport:
        """Arm the jobs after `disarm`, and start those that were missed, once. Raises as `sync`, and OSError.

        `take_over`: from now on this machine fires them, if another one that shares the home has done so.
        """
        with command_lock(self._selection, SYNC_LOCK_TIMEOUT_S, take_over):
            set_disarmed(self.root, False)
        return self.sync()

    def plans(self, now: datetime.datetime) -> dict[str, Plan]:
        """Return the plans of the jobs of every profile at `now`. Raises StateFileError."""
        plans: dict[str, Plan] = {}
        for home in homes_of(self.root):
            plans.update(plans_of(home, now))
        return plans

    def record_and_plan(self, now: datetime.datetime) -> dict[str, Plan]:
        """Record the runs that ended unrecorded, and return `plans`, for the foreground, which has no regular sync.

        Jobs that are due and have not started are started, for example after `hermes resume`. While nothing changes,
        the answer is the same object and costs next to nothing. Raises StateFileError if jobs cannot be read.
        """
        known, version = self._planned, state_version(self._selection)
        if (known and known.version == version
                and known.since <= now < min(known.kept_at + KEEPING_INTERVAL, self._restarts.next)):
            return known.plans
        self._keep_records(now)
        kept = state_version(self._selection)
        if known and known.version == kept and known.since <= now:
            self._planned = known._replace(kept_at=now)
        else:
            self._planned = _Planned(kept, now, now, self.plans(now))
        return self._planned.plans

    def watched_folders(self) -> Iterator[str]:
        """Yield the folders in which a change can change `record_and_plan`, as `Wakeup.watch` takes them."""
        return watched_folders(self.root)

    def _keep_records(self, now: datetime.datetime) -> None:
        """Do what a sync does to records. What cannot be read or written is tried again."""
        with contextlib.suppress(config.ConfigError, SchedulerError, OSError):  # a run needs the same and reports it
            maintenance.start_if_due(self.root)
        unstarted, held, left = set[str](), set[str](), set[str]()
        for home in homes_of(self.root):
            with contextlib.suppress(StateFileError, OSError):  # doctor reports a run that stays unrecorded
                job_store.repair(home)
                interrupted.record_interrupted_runs(home)
                bookkeeping.keep(home, now, decide=False)
            with contextlib.suppress(StateFileError, JobNotFound, SchedulerError, OSError):  # tried again
                gateway.take_over(home, now)
                found = late.unstarted(home, now, self._selection.active.resolution)
                (held if paused(home) else unstarted).update(found)
                left |= late.left_due(home, found)
        with contextlib.suppress(SchedulerError, OSError):
            is_armed, started = disarmed_since(self.root) is None, dict[str, str]()
            unstarted -= self._selection.active.running()
            due = self._restarts.take(unstarted if is_armed else set(), held, now, left)
            overdue.start_each(self.root, self._selection.active, due, self._clock, started)
            for sentence in started.values():
                log.info("%s", sentence)
        alerts.announce(self.root)

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
            self._reconcile({}, set())
            raise

    def _reconcile(self, started: dict[str, str], postponed: set[str]) -> Report:
        """Reconcile once, and add to `started` the overdue jobs that were started, with a sentence each.

        Jobs that run, and are armed otherwise than they should be, are added to `postponed`: the end of the run
        requests a sync, and until then the armed jobs do not agree with the files.
        """
        now, scheduler = self._clock.now(), self._selection.active
        homes = list(homes_of(self.root))
        problems: dict[str, Problem] = {}  # by subject, so that an unreadable profile is reported only once
        try:  # before the jobs are read, so that no later change goes unnoticed
            self._selection.watcher.watch([home.profile for home in homes])
        except SchedulerError as error:
            problems["change notification"] = Problem("change notification", str(error))
        plans: dict[str, Plan] = {}
        waiting: set[str] = set()
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
                waiting |= overdue.find(home, now, scheduler.resolution)
            except StateFileError as error:
                unread.add(home.profile)
                problems[home.profile] = Problem(home.profile, str(error), needs_edit=isinstance(error, NotAJobsFile))

        def skip(instance: str) -> bool:
            if instance in running:
                postponed.add(instance)
            return instance in running or split_instance(instance)[0] in unread

        report = reconcile(scheduler, plans, now, skip)
        found = [*problems.values(), *report.problems]
        if scheduler.availability().reason == "" and disarmed_since(self.root) is None:
            # A job that became due during this sync has not fired if its timer or line was armed only now.
            due = {*waiting, *report.armed} - running - started.keys()
            found += overdue.start_each(self.root, scheduler, due, self._clock, started)
        return report._replace(problems=found)

    def _wrong_elapses(self, armed: set[str]) -> list[Problem]:
        """Return a problem for each of the `armed` jobs that the system fires at another time than it is due.

        Such a job stays armed: a fire at a wrong time, and the regular sync, are better than none.
        """
        jobs: dict[str, Job] = {}
        for home in homes_of(self.root):
            with contextlib.suppress(StateFileError):  # reported already
                jobs.update(job_store.by_instance(home))
        wrong = wrong_elapses(self._selection.active, {each: jobs[each] for each in armed & jobs.keys()}, self._clock)
        return [Problem(instance, sentence, needs_edit=True) for instance, sentence in wrong.items()]

    def _tidy(self, home: Home, now: datetime.datetime) -> None:
        remove_stale_temp_files(home.cron_dir, now.timestamp())
        remove_stale_temp_files(home.state.folder, now.timestamp())
        requests.sweep(home)

    def _refresh_records(self, home: Home, now: datetime.datetime) -> None:
        """Record the runs that ended unrecorded, and give each job the next run at which the scheduler starts it.

        If the agent's `cron.catch_up_missed` is false, an occurrence that was missed is skipped.
        """
        job_store.repair(home)
        interrupted.record_interrupted_runs(home)
        gateway.take_over(home, now)
        resolution = self._selection.active.resolution
        jobs = {job.id: job for job in job_store.read(home)}

        runs = lock.running(home)

        def refresh(job: Job) -> Job:
            is_late = job.next_run_at is not None and job.next_run_at <= now and job.id not in runs  # nor queued
            if is_late and (job.policy or is_missed(job, now)):
                job = skip_missed(job, now, catches_up(home))
            return lifecycle.refresh_next_run(job, now, resolution)

        fresh, _ = use_each(jobs, refresh)
        stale = [job_id for job_id, job in fresh.items() if job is not jobs[job_id]]
        if stale:
            job_store.change_each(home, stale, lambda job: use_or_none(job.instance, job, refresh) or job)


def plans_of(home: Home, now: datetime.datetime) -> dict[str, Plan]:
    """Return the plans of the jobs of `home` at `now`. Raises StateFileError.

    A one-shot that is running has no plan. A job that cannot be planned has none either; doctor reports it. While the
    jobs are disarmed, none has one.
    """
    if disarmed_since(home.root) is not None:
        return {}
    running = set(lock.running(home))
    plans, _ = use_each(job_store.by_instance(home), lambda job: plan_of(job, now))
    return {instance: plan for instance, plan in plans.items()
            if plan and not (plan.schedule.kind == ONCE and split_instance(instance)[1] in running)}
