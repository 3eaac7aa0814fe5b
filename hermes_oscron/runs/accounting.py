"""Account for the occurrences of a job that no run answered: insert their rows, as skipped or missed.

An occurrence is decided when `next_run_at` has moved beyond it. Those that are still due, or come during a run in
progress, are left to the end of that run, or to a later sync.
"""

import datetime
import json
import time
from itertools import islice

from ..files import mtime
from ..hermes import outputs
from ..hermes.home import Home
from ..jobs.model import Job
from ..jobs.record import RAN
from . import ledger, schedule_versions
from .ledger import MISSED, SCHEDULE, SKIPPED, End, Ledger
from .schedule_versions import Version

REACHES_S = (30 * 86400.0, 7 * 86400.0, 86400.0, 6 * 3600.0, 3600.0)
MAX_OCCURRENCES = 1000
"""The most occurrences that are decided at once: of more, as of a minutely job after a month, only the last ones."""
JUST_BEFORE_S = 0.001
MAX_STEP_BACK_S = 60.0
"""A clock that was ahead by more is taken to have been wrong: what it had missed is still to come."""
MAX_RUNS = 100
NOT_STARTED = "It was not started at its time."
PAUSED = "Hermes was paused."
NO_CATCH_UP = "It was missed, and cron.catch_up_missed is false."


def account(books: Ledger, home: Home, job_id: str, job: Job | None, now: float, reason: str = "") -> None:
    """Insert a row for each occurrence of `job_id` up to the unix time `now` that is decided and has none.

    `job` is None if it was deleted; it has no run in progress. Without a `reason` it is found out.
    """
    versions = schedule_versions.of_job(books, job_id)
    if not versions:
        return
    stored = books.execute("SELECT until, kept_since FROM accounted WHERE job = ?", (job_id,)).fetchone()
    after, kept_since = stored or (versions[0].since, versions[0].since)
    if after > now + MAX_STEP_BACK_S:
        ledger.keep_seq(books)
        books.execute(f"DELETE FROM runs WHERE job = ? AND due > ? AND outcome IN ('{SKIPPED}', '{MISSED}')",
                      (job_id, now))
        _store(books, job_id, now, min(kept_since, now))
        return
    until = decided_until(job, now)
    if until <= after:
        return
    due, complete_since = expected(versions, after, until)
    known = {row[0] for row in books.execute("SELECT due FROM runs WHERE job = ? AND due > ? AND due <= ?",
                                             (job_id, after, until))}
    if missing := [each for each in due if each not in known]:
        why = _Reasons(books, home, job_id, job)
        name = str(job.record.get("name") or "") if job else ""
        for each, following in zip(missing, [*missing[1:], now], strict=True):
            if reason or not why.enter_run_of_agent(name, each, following):
                outcome, found = why.of(each)
                ledger.insert_not_run(books, job_id, name, each, outcome if not reason else MISSED, reason or found)
    if due or stored is None or until > after + REACHES_S[2]:
        _store(books, job_id, until, max(kept_since, complete_since))


def _store(books: Ledger, job_id: str, until: float, kept_since: float) -> None:
    books.execute("INSERT OR REPLACE INTO accounted VALUES (?, ?, ?)", (job_id, until, kept_since))


def decided_until(job: Job | None, now: float) -> float:
    """Return the time up to which every occurrence of `job`, which does not run at `now`, is decided."""
    due = job.next_run_at if job and job.is_scheduled else None
    return min(now, due.timestamp() - JUST_BEFORE_S) if due else now


def expected(versions: list[Version], after: float, until: float) -> tuple[list[float], float]:
    """Return the times at which a job with `versions` was due, and the time since when they are complete."""
    for since in (after, *(until - reach for reach in REACHES_S if until - reach > after)):
        due = list(islice(schedule_versions.due_between(versions, since, until), MAX_OCCURRENCES + 1))
        if len(due) <= MAX_OCCURRENCES:
            return due, since
    return due[-MAX_OCCURRENCES:], since


class _Reasons:
    """Finds out why an occurrence of a job has no run."""

    def __init__(self, books: Ledger, home: Home, job_id: str, job: Job | None) -> None:
        self._books, self._home, self._job_id, self._job = books, home, job_id, job
        self._runs = list(books.execute(
            "SELECT coalesce(queued, started), started, ended FROM runs WHERE job = ? AND started IS NOT NULL "
            "ORDER BY started DESC LIMIT ?", (job_id, MAX_RUNS)))
        self._booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self._refused = mtime(home.state.refused) or 0.0
        self._pages: list[outputs.OutputInfo] | None = None

    def of(self, due: float) -> tuple[str, str]:
        """Return the outcome of the occurrence at `due`, and the reason."""
        for began, started, ended in self._runs:
            if began <= due and (ended is None or due <= ended):
                return SKIPPED, f"The run that began at {_text(started)} was still in progress."
        next_start = min((started for _, started, _ in self._runs if started > due), default=float("inf"))
        if due <= self._refused <= next_start:
            return SKIPPED, PAUSED
        if due < self._booted:
            return MISSED, f"The machine was off, or had not started: its last start was at {_text(self._booted)}."
        return MISSED, NOT_STARTED

    def enter_run_of_agent(self, name: str, due: float, following: float) -> bool:
        """Insert the row of the run that another scheduler, such as the agent's, began between the two times.

        Return False if there is no output and no record of one.
        """
        if self._pages is None:
            known = {row[0] for row in self._books.execute(
                "SELECT output FROM runs WHERE job = ? AND output != ''", (self._job_id,))}
            pages, _ = outputs.history(self._home, self._job_id, 0, MAX_RUNS)
            self._pages = [page for page in pages if page.filename not in known]
        page = next((page for page in reversed(self._pages) if due <= page.modified < following), None)
        if page:
            self._pages.remove(page)
            started = max(due, page.modified - page.usage.get("duration_seconds", 0.0))
            end = end_of_page(self._home, self._job_id, page)
        else:
            job, last = self._job, self._job.last_run_at if self._job else None
            if not job or not last or not due <= last.timestamp() < following or self._is_recorded(last.timestamp()):
                return False
            started, status = due, job.record.get("last_status")
            reason = None if status in RAN else str(job.record.get("last_error") or "")
            end = End(last.timestamp(), ledger.OK if status in RAN else ledger.ERROR, reason)
        row = ledger.begin_row(self._books, self._job_id, name, SCHEDULE, due, started)
        ledger.end_row(self._books, row, end)
        return True

    def _is_recorded(self, ended: float) -> bool:
        """Return True if a run in the ledger may be the one that `ended`."""
        return any(began <= ended and (end is None or ended <= end + 1) for began, _, end in self._runs)


def end_of_page(home: Home, job_id: str, page: outputs.OutputInfo) -> End:
    """Return the end of the run that left the output `page`."""
    failed = outputs.status(home, job_id, page.filename) == ledger.ERROR
    return End(page.modified, ledger.ERROR if failed else ledger.OK, usage=json.dumps(page.usage),
               output=page.filename)


def _text(moment: float) -> str:
    return f"{datetime.datetime.fromtimestamp(moment).astimezone():%Y-%m-%d %H:%M:%S %z}"
