"""The parts of the ledger that a person looks at: some jobs over some time, failures, missed times."""

import datetime
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from ..barrier import use_each
from ..hermes.home import Home
from ..jobs import budget
from ..jobs.due import next_run
from ..jobs.model import Job
from ..runs import ledger, totals
from ..runs.ledger import ERROR, INTERRUPTED, MISSED, TIMEOUT, Row
from ..schedule.occurrences import next_occurrence
from ..schedulers.active import disarmed_since
from ..schedulers.protocol import SECOND
from .runs import of_job

FAILED = (ERROR, TIMEOUT, INTERRUPTED)
"""The outcomes of a run that should have gone well."""
LONGEST_RUN_S = 86400.0
"""A run that began longer than this before a time is not looked for at that time."""
MAX_VALUES = 500
"""The number of values in one statement."""


class Span(NamedTuple):
    """One row of the ledger, in short. Times are in unix seconds; `end` is None while the run is in progress."""

    job: str
    due: float
    start: float
    end: float | None
    outcome: str | None


class Coming(NamedTuple):
    """The times at which a job will be due, in unix seconds; only some of them if it is `is_sampled`."""

    times: list[float]
    is_sampled: bool


class Trouble(NamedTuple):
    """The rows of a job with one kind of outcome: their number, and the last one."""

    job: str
    name: str
    number: int
    due: float
    outcome: str
    reason: str | None
    output: str | None


def spans(home: Home, job_ids: Sequence[str], since: float, until: float) -> Iterator[Span]:
    """Yield the rows of `job_ids` that were due up to `until` and ended after `since`, by job and time.

    Raises LedgerError.
    """
    with ledger.reading(home) as books:
        for at in range(0, len(job_ids), MAX_VALUES):
            part = job_ids[at:at + MAX_VALUES]
            yield from map(Span._make, books.execute(
                "SELECT job, due, coalesce(started, due), CASE WHEN outcome IS NOT NULL THEN "
                "coalesce(ended, started, due) END, outcome FROM runs "
                f"WHERE job IN ({', '.join('?' * len(part))}) AND due >= ? AND due <= ? "
                "AND (outcome IS NULL OR coalesce(ended, started, due) >= ?) ORDER BY job, due, attempt",
                (*part, since - LONGEST_RUN_S, until, since)))


def troubles(home: Home, since: float, outcomes: Sequence[str]) -> list[Trouble]:
    """Return what has ended in one of `outcomes` since then, by job, the latest first. Raises LedgerError."""
    with ledger.reading(home) as books:
        rows = books.execute(
            "SELECT job, name, count(*), max(due), outcome, reason, output FROM runs "
            f"WHERE outcome != 'ok' AND due >= ? AND outcome IN ({', '.join('?' * len(outcomes))}) "
            "GROUP BY +job ORDER BY max(due) DESC", (since, *outcomes)).fetchall()  # the sign keeps to the index not_ok
    return list(map(Trouble._make, rows))


def failures(home: Home, since: float) -> list[Trouble]:
    """Return the jobs with runs that have failed since then. Raises LedgerError."""
    return troubles(home, since, FAILED)


def missed(home: Home, since: float) -> list[Trouble]:
    """Return the jobs that have been missed since then. Raises LedgerError."""
    return troubles(home, since, (MISSED,))


def rows_of(home: Home, job_id: str, limit: int, before: float | None = None) -> list[Row]:
    """Return the last `limit` rows of `job_id`, newest first; those that were due before a time. Raises LedgerError."""
    with ledger.reading(home) as books:
        return ledger.select(books, "job = ? AND due < ? ORDER BY due DESC, attempt DESC LIMIT ?", job_id,
                             1e12 if before is None else before, limit)


def used_of_budget(home: Home, job: Job, now: datetime.datetime) -> str | None:
    """Return how much `job` has used of its budget for the day or month of `now`, in words; None if it has no budget.

    If the ledger cannot be read, it is the reason.
    """
    limit = budget.budget_of(job, now)
    if limit is None:
        return None
    try:
        with ledger.reading(home) as books:
            return budget.used_words(job, totals.used_since(books, job.id, limit.since.timestamp(), limit.key))
    except ledger.LedgerError as error:
        return str(error)


def coming(home: Home, jobs: Sequence[Job], now: datetime.datetime, until: datetime.datetime, most: int,
           parts: int) -> dict[str, Coming]:
    """Return when each of `jobs` is due up to `until`.

    Of a job that is due more than `most` times, it is the first time in each of that many `parts` of the time.
    """
    if disarmed_since(home.root) is not None:
        return {}

    def times(job: Job) -> Coming:
        found = [moment for moment, _ in islice(of_job(job, now, until), most + 1)]
        is_sampled = len(found) > most
        return Coming([moment.timestamp() for moment in (_sampled(job, now, until, parts) if is_sampled else found)],
                      is_sampled)

    found, _ = use_each({job.id: job for job in jobs}, times)
    return found


def _sampled(job: Job, now: datetime.datetime, until: datetime.datetime, parts: int) -> Iterator[datetime.datetime]:
    """Yield the first time at which `job` is due in each of that many `parts` up to `until`."""
    part, due = (until - now) / parts, next_run(job, now)
    while due and job.schedule and due <= until:
        yield due
        after = max(due, now + ((due - now) // part + 1) * part - SECOND)
        due = next_occurrence(job.schedule, after, job.zone, job.phase)
