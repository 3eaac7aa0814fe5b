"""Compare the ledger with the schedules that the jobs have had, and with the runs that left other traces.

An audit reads only. It looks at the time since the ledger has noted a job's schedule, up to the last occurrence that is
decided, and at no time before the oldest rows that are kept.
"""

from itertools import pairwise
from typing import NamedTuple

from ..hermes import outputs
from ..hermes.home import Home
from ..jobs.model import Job
from . import ledger, lock, processes, schedule_versions
from .accounting import CLOCK_TOLERANCE_S, decided_until
from .ledger import BY_SCHEDULE, NOT_RUN, Ledger, Row

MISSING, DUPLICATE, ORPHAN = "missing", "duplicate", "orphan"
TOLERANCE_S = 300.0
"""A job may still have been fired by the schedule before for this time: a change waits for others to end."""


class Discrepancy(NamedTuple):
    """A row that is missing, or that should not be there. `time` is in unix seconds."""

    kind: str
    job: str
    time: float
    sentence: str


class Audit(NamedTuple):
    """The result for one job, or one that is deleted: the occurrences from `since` to `until`, and the rows."""

    job: str
    since: float
    until: float
    occurrences: int
    rows: int
    discrepancies: list[Discrepancy]


def audit(home: Home, books: Ledger, jobs: dict[str, Job], job_id: str, since: float, now: float) -> Audit | None:
    """Compare what is in the ledger of `job_id` since then; None if the ledger has never had the job."""
    versions = schedule_versions.of_job(books, job_id)
    if not versions:
        return None
    kept = books.execute("SELECT kept_since FROM accounted WHERE job = ?", (job_id,)).fetchone()
    since = max(since, kept[0] if kept else versions[0].since, versions[0].since)
    running = lock.find(home, job_id)
    job = jobs.get(job_id)
    until = min(decided_until(job, now), (running.due or running.started_at) - 0.001 if running else now)
    rows = ledger.select(books, "job = ? AND due > ? ORDER BY due, attempt", job_id, since)
    have = {row.due for row in rows}
    due = list(schedule_versions.due_between(versions, since, until))
    found = [Discrepancy(MISSING, job_id, each, "The job was due, and there is no row.")
             for each in due if each not in have]
    found += _duplicates(rows)
    for row in rows:
        if row.trigger in BY_SCHEDULE and not schedule_versions.is_occurrence(versions, row.due, TOLERANCE_S):
            found.append(Discrepancy(ORPHAN, job_id, row.due, f"Row {row.id} is of a time at which the job was not "
                                                              f"due."))
        if row.outcome is None and not running and not processes.is_alive(row.runner or ""):
            found.append(Discrepancy(ORPHAN, job_id, row.due, f"Row {row.id} is in progress, and nothing runs."))
    found += _without_row(home, job, job_id, books, since)
    return Audit(job_id, since, until, len(due), len(rows), sorted(found, key=lambda each: each.time))


def _duplicates(rows: list[Row]) -> list[Discrepancy]:
    """Return the second run of each time that ran twice, and each run that began during another."""
    found = []
    ran: dict[float, Row] = {}
    for row in rows:
        if row.outcome in NOT_RUN or row.trigger not in BY_SCHEDULE:
            continue
        if row.due in ran and row.reason != ledger.CLOCK_SET_BACK:
            found.append(Discrepancy(DUPLICATE, row.job, row.due,
                                     f"Row {row.id} is a second run of a time that row {ran[row.due].id} ran."))
        ran.setdefault(row.due, row)
    in_order = sorted((row for row in rows if row.started is not None), key=lambda row: row.id)
    for before, row in pairwise(in_order):
        assert row.started is not None and before.started is not None
        if before.ended is not None and before.started <= row.started < before.ended - CLOCK_TOLERANCE_S:
            found.append(Discrepancy(DUPLICATE, row.job, row.due,
                                     f"Row {row.id} began before row {before.id} had ended."))
    return found


def _without_row(home: Home, job: Job | None, job_id: str, books: Ledger, since: float) -> list[Discrepancy]:
    """Return the runs since then that left an output, or their end in the record of `job`, and have no row."""
    found = []
    known = {row[0] for row in books.execute("SELECT output FROM runs WHERE job = ? AND output != ''", (job_id,))}
    pages, _ = outputs.history(home, job_id, 0, 1000)
    for page in pages:
        if page.filename not in known and page.modified - page.usage.get("duration_seconds", 0.0) > since:
            found.append(Discrepancy(MISSING, job_id, page.modified,
                                     f"There is an output {page.filename}, and no row of its run."))
    last = job.last_run_at.timestamp() if job and job.last_run_at else None
    if last and last > since and not books.execute(
            "SELECT 1 FROM runs WHERE job = ? AND (outcome IS NULL OR abs(ended - ?) <= ?)",
            (job_id, last, CLOCK_TOLERANCE_S)).fetchone():
        found.append(Discrepancy(MISSING, job_id, last, "A run is recorded in jobs.json that ended then, and there is "
                                                        "no row of it."))
    return found
