"""Keep the ledger of each home complete: enter what a runner could not, note changed schedules, decide occurrences.

A sync does this, and `serve` where it fires the jobs; a command notes the schedule that it has changed.
"""

import contextlib
import datetime
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Mapping

from .. import config
from ..barrier import use_each, use_or_none
from ..errors import OscronError
from ..files import StateFileError, mtime, remove_damaged
from ..hermes import job_store
from ..hermes.home import Home, homes_of
from ..jobs.due import not_before_set
from ..jobs.model import Job
from ..notify.request import is_wanted
from ..runs import ledger, lock, processes, rebuild, retention, schedule_versions
from ..runs.accounting import account, enter_other_run
from ..runs.entries import end_of, recorded_result, write_end
from ..runs.ledger import Ledger, LedgerDamaged, LedgerError
from ..runs.model import Result
from ..runs.schedule_versions import DELETED, Version, version_of
from ..schedulers.active import disarmed_since
from ..schedulers.protocol import Problem
from .alerts import announce

SWEEP_INTERVAL_S = 50 * 60.0
"""The hourly syncs are at least 55 minutes apart (hermes-oscron-sync.timer)."""
LOST = "interrupted: its runner ended without a result."
SWEPT = "swept"
JOBS_AT_ONCE = 100
"""The jobs that are accounted for in one transaction, for which runners wait."""

_noted: dict[str, dict[str, Job]] = {}
"""The jobs whose schedules this process has stored, by the path of the home, and then by id."""


def keep_all(root: str, now: datetime.datetime, reported: Iterable[Problem] = ()) -> list[Problem]:
    """Bring the ledgers of all profiles up to date; return a problem for each that cannot be.

    A profile that is `reported` already, as one whose disk is full, is not reported again.
    """
    problems, subjects = [], {problem.subject for problem in reported}
    for home in homes_of(root):
        try:
            keep(home, now)
        except LedgerError as error:
            if home.profile not in subjects:
                problems.append(Problem(home.profile, str(error), needs_edit=True))  # the next sync is soon enough
        except (StateFileError, OSError):
            continue  # jobs that cannot be read are reported already
    announce(root)
    return problems


def keep(home: Home, now: datetime.datetime, decide: bool = True) -> None:
    """Bring the ledger of `home` up to date. Raises LedgerError, StateFileError, OSError.

    Unless it shall `decide`, occurrences without a run are left to the next time, or to the next hour.
    """
    if not decide and not _needs(home, now.timestamp()):
        return
    try:
        _keep(home, now.timestamp(), decide)
    except LedgerDamaged:
        remove_damaged(home.state.ledger)
        _keep(home, now.timestamp(), decide)


def note_changes(home: Home, jobs: Collection[Job], since: datetime.datetime, now: datetime.datetime) -> None:
    """Store the schedules that `jobs` of `home` have from `since` on. If the ledger cannot be written, a sync does."""
    disarmed = disarmed_since(home.root) is not None
    with contextlib.suppress(LedgerError, OSError), ledger.writing(home, durable=True) as books:
        for job in jobs:
            schedule_versions.note(books, version_of(job, since.timestamp(), disarmed), now.timestamp())
    if is_wanted(home.root) or any("notify" in job.policy for job in jobs):
        announce(home.root)


def note_deleted(home: Home, job_id: str, now: datetime.datetime) -> None:
    """Store that the job `job_id` of `home` was deleted at `now`."""
    with contextlib.suppress(LedgerError, OSError), ledger.writing(home, durable=True) as books:
        schedule_versions.note(books, Version(job_id, now.timestamp(), DELETED), now.timestamp())
        account(books, home, job_id, None, now.timestamp())


def _needs(home: Home, now: float) -> bool:
    """Return True if a job has changed since this process has stored the schedules, or an hour has passed."""
    jobs = {job.id: job for job in job_store.read(home)}
    known = _noted.get(home.path, {})
    if jobs.keys() != known.keys() or any(known[job_id] is not job for job_id, job in jobs.items()):
        return True
    with ledger.reading(home) as books:
        return _is_hour_over(books, now)


def _is_hour_over(books: Ledger, now: float) -> bool:
    swept = ledger.fact(books, SWEPT)
    return not isinstance(swept, float) or not 0 <= now - swept < SWEEP_INTERVAL_S


def _keep(home: Home, now: float, decide: bool) -> None:
    changed_at = min(mtime(home.jobs_file) or now, now)
    jobs = {job.id: job for job in job_store.read(home)}
    running = lock.running(home).keys()  # after the jobs: a run that has begun since is still due in them
    waiting = lock.unentered(home)
    if not jobs and not running and not waiting and not ledger.exists(home):
        return
    busy = running | {run.job_id for run in lock.unrecorded(home)}
    with ledger.writing(home, durable=bool(waiting)) as books:
        for run in waiting.values():
            write_end(books, home, run, jobs.get(run.job_id))
        _end_lost(books, home, jobs, busy)
        _note_schedules(books, home, jobs, busy, changed_at, now)
        known = sorted(schedule_versions.all_latest(books).keys() - busy)
        hour_is_over = _is_hour_over(books, now)
    for path in waiting:
        os.unlink(path)
    if decide or hour_is_over:
        for first in range(0, len(known), JOBS_AT_ONCE):
            with ledger.writing(home) as books:
                _account(books, home, {job_id: jobs.get(job_id) for job_id in known[first:first + JOBS_AT_ONCE]}, now)
    if hour_is_over:
        with ledger.writing(home) as books:
            _sweep(books, home, now, [job.id for job in jobs.values() if "budget" in job.policy])
    _noted[home.path] = jobs
    rebuild.rebuild(home, jobs)


def _account(books: Ledger, home: Home, jobs: Mapping[str, Job | None], now: float) -> None:
    """Account for the time of `jobs` up to `now`, and for the last run in the record of each.

    A job that causes an error is left out; an error of the ledger is raised. The ones that were deleted are None.
    """
    def use(job_id: str) -> None:
        try:
            account(books, home, job_id, jobs[job_id], now)
            if job := jobs[job_id]:
                enter_other_run(books, home, job, now)
        except sqlite3.Error as error:
            errors.append(error)

    errors: list[sqlite3.Error] = []
    for job_id in jobs:
        use_or_none(job_id, job_id, use)
        if errors:
            raise errors[0]


def _end_lost(books: Ledger, home: Home, jobs: Mapping[str, Job], busy: Iterable[str]) -> None:
    """End the rows without a run: the record of the job has its end, or else it was interrupted."""
    for row in ledger.select(books, "outcome IS NULL"):
        if row.job not in busy and not processes.is_alive(row.runner or ""):
            started = row.started or row.due
            following = books.execute("SELECT min(started) FROM runs WHERE job = ? AND started > ?",
                                      (row.job, started)).fetchone()[0] or time.time()
            result = use_or_none(row.job, jobs.get(row.job), lambda job: recorded_result(job, started, following))  # noqa: B023
            ledger.end_row(books, row.id, end_of(home, row.job, result or Result(started, LOST)))


def _note_schedules(books: Ledger, home: Home, jobs: Mapping[str, Job], busy: Iterable[str], changed_at: float,
                    now: float) -> None:
    """Store the schedules that have changed. Other programs have changed jobs.json at `changed_at` at the latest."""
    disarmed = disarmed_since(home.root)
    latest = schedule_versions.all_latest(books)
    changed = datetime.datetime.fromtimestamp(changed_at, datetime.UTC)
    versions, _ = use_each(
        jobs, lambda job: version_of(job, not_before_set(job, changed).timestamp(), disarmed is not None))
    for job_id, version in versions.items():
        known = latest.get(job_id)
        if known and (known.zone, known.state) != (version.zone, version.state):
            version = version._replace(since=now if known.zone != version.zone or disarmed is None else disarmed)
        if known is None or known.since > now or not known.is_like(version):
            schedule_versions.note(books, version, now, ignore_phase=job_id in busy)
    for job_id in latest.keys() - jobs.keys() - set(busy):
        schedule_versions.note(books, Version(job_id, changed_at, DELETED), now)


def _sweep(books: Ledger, home: Home, now: float, with_budget: list[str]) -> None:
    """Remove the rows that `[history]` does not keep."""
    with contextlib.suppress(OscronError):  # every command reports it
        settings = config.load(home.root)
        retention.sweep(books, settings.history_days, settings.history_runs, now, with_budget)
        ledger.set_fact(books, SWEPT, float(now))
