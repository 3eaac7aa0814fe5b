"""Rebuild the rows of a ledger that is new from the outputs of earlier runs, as far as those go back."""

import datetime
from collections.abc import Iterator, Mapping
from itertools import islice

from ..barrier import use_or_none
from ..hermes import outputs
from ..hermes.home import Home
from ..jobs.model import Job
from ..schedule.occurrences import latest_occurrence
from . import ledger
from .accounting import end_of_page, usage_by_agent
from .ledger import MANUAL, SCHEDULE, End

REBUILT = "rebuilt"
MAX_OUTPUTS = 1000
JOBS_AT_ONCE = 20
LATE_S = 120.0


def rebuild(home: Home, jobs: Mapping[str, Job]) -> None:
    """Enter the runs of which `home` has outputs, once in the life of its ledger. Raises LedgerError.

    Each transaction is short, so that runners do not wait for this one.
    """
    with ledger.reading(home) as books:
        if not ledger.exists(home) or ledger.fact(books, REBUILT):
            return
        known = {(row[0], row[1]) for row in books.execute("SELECT job, output FROM runs WHERE output != ''")}
    remaining = iter(sorted(outputs.job_ids(home)))
    while some := list(islice(remaining, JOBS_AT_ONCE)):
        found = [(job_id, *entry) for job_id in some for entry in _runs(home, job_id, jobs.get(job_id), known)]
        with ledger.writing(home) as books:
            for job_id, name, trigger, due, started, end in found:
                ledger.end_row(books, ledger.begin_row(books, job_id, name, trigger, due, started), end)
    with ledger.writing(home, durable=True) as books:
        ledger.set_fact(books, REBUILT, 1)


def _runs(home: Home, job_id: str, job: Job | None,
          known: set[tuple[str, str]]) -> Iterator[tuple[str, str, float, float, End]]:
    """Yield name, trigger, due time, start and end of each run with an output that is not `known`, oldest first."""
    name = str(job.record.get("name") or "") if job else ""
    pages, _ = outputs.history(home, job_id, 0, MAX_OUTPUTS)
    previous = 0.0
    for page in reversed(pages):
        since, previous = previous, page.modified
        if (job_id, page.filename) in known:
            continue
        started = page.modified - page.usage.get("duration_seconds", 0.0)
        due = use_or_none(job_id, job, lambda job: _due(job, started)) if job else None  # noqa: B023
        end = end_of_page(home, job_id, page, usage_by_agent(home, job_id, job, since, page.modified))
        yield name, SCHEDULE if due else MANUAL, due or started, started, end


def _due(job: Job, started: float) -> float | None:
    """Return the time, shortly before it `started`, at which the present schedule of `job` was due, if there is one."""
    if job.schedule is None:
        return None
    moment = datetime.datetime.fromtimestamp(started + 1, datetime.UTC)  # the duration in an output is rounded
    due = latest_occurrence(job.schedule, moment - datetime.timedelta(seconds=LATE_S), moment, job.zone, job.phase)
    return due.timestamp() if due else None
