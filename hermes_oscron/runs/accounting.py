"""Account for the occurrences of a job that no run answered: insert their rows, as skipped or missed.

An occurrence is decided when `next_run_at` has moved beyond it. Those that are still due, or come during a run in
progress, are left to the end of that run, or to a later sync.
"""

import datetime
import json
import time
from itertools import islice
from typing import Any

from ..files import mtime
from ..hermes import outputs
from ..hermes.home import Home, execution_home
from ..hermes.session_usage import usage_of_run
from ..jobs.model import Job
from ..jobs.record import RAN
from . import ledger, schedule_versions
from .ledger import MANUAL, MISSED, SCHEDULE, SKIPPED, End, Ledger, Row
from .schedule_versions import Version

REACHES_S = (30 * 86400.0, 7 * 86400.0, 86400.0, 6 * 3600.0, 3600.0)
MAX_OCCURRENCES = 1000
"""The most occurrences that are decided at once: of more, as of a minutely job after a month, only the last ones."""
JUST_BEFORE_S = 0.001
MAX_STEP_BACK_S = 60.0
"""A clock that was ahead by more is taken to have been wrong: what it had missed is still to come."""
MAX_RUNS = 100
CLOCK_TOLERANCE_S = 1.0
"""A record has microseconds, and is written a moment after the end."""
NOT_STARTED = "It was not started at its time."
PAUSED = "Hermes was paused."
NO_CATCH_UP = "It was missed, and cron.catch_up_missed is false."
TOO_LATE = "It was too late to begin, by the policy of the job."


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


def enter_other_run(books: Ledger, home: Home, job: Job, now: float) -> None:
    """Insert the row of the last run of `job`, if another scheduler ran it at a time at which it was not due.

    The job has no run in progress, and none that waits to be entered.
    """
    last = job.last_run_at.timestamp() if job.last_run_at else 0.0
    kept = books.execute("SELECT kept_since FROM accounted WHERE job = ?", (job.id,)).fetchone()
    if not kept or not kept[0] < last <= now:
        return
    before = ledger.select(books, "job = ? AND started <= ? ORDER BY started DESC LIMIT 1", job.id,
                           last + CLOCK_TOLERANCE_S)
    skipped = next((row for row in before if row.outcome == SKIPPED), None)
    if skipped or not before or (before[0].ended or last) < last - CLOCK_TOLERANCE_S:
        _Reasons(books, home, job.id, job).enter_other_run(str(job.record.get("name") or ""), last, skipped)


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
            "AND outcome IS NOT ? ORDER BY started DESC LIMIT ?", (job_id, SKIPPED, MAX_RUNS)))
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
        found = self._run_between(due, following)
        if found:
            started, end = found
            self._enter(name, SCHEDULE, due, max(due, started) if started is not None else due, end)
        return found is not None

    def enter_other_run(self, name: str, last: float, skipped: Row | None) -> None:
        """Insert the row of the run that ended at `last`, by the record, at a time at which the job was not due.

        If it had claimed the job before the run that was `skipped`, that row becomes its own.
        """
        if self._is_recorded(last):
            return
        if found := self._run_between(last - CLOCK_TOLERANCE_S, last + CLOCK_TOLERANCE_S):
            started, end = found
            began = started if started is not None else last
            if skipped and began <= (skipped.ended or 0.0) + CLOCK_TOLERANCE_S:
                self._enter(name, skipped.trigger, skipped.due, began, end)
            else:
                self._enter(name, MANUAL, began, began, end)

    def _enter(self, name: str, trigger: str, due: float, started: float, end: End) -> None:
        ledger.end_row(self._books, ledger.begin_row(self._books, self._job_id, name, trigger, due, started), end)

    def _run_between(self, after: float, before: float) -> tuple[float | None, End] | None:
        """Return start, if it is known, and end of the run without a row that ended between the two times."""
        if self._pages is None:
            known = {row[0] for row in self._books.execute(
                "SELECT output FROM runs WHERE job = ? AND output != ''", (self._job_id,))}
            pages, _ = outputs.history(self._home, self._job_id, 0, MAX_RUNS)
            self._pages = [page for page in pages if page.filename not in known]
        page = next((page for page in reversed(self._pages) if after <= page.modified < before), None)
        if page:
            self._pages.remove(page)
            used = self._usage(page.modified)
            return (page.modified - page.usage.get("duration_seconds", 0.0),
                    end_of_page(self._home, self._job_id, page, used))
        job, last = self._job, self._job.last_run_at if self._job else None
        if not job or not last or not after <= last.timestamp() < before or self._is_recorded(last.timestamp()):
            return None
        status = job.record.get("last_status")
        reason = None if status in RAN else str(job.record.get("last_error") or "")
        used = self._usage(last.timestamp())
        return None, End(last.timestamp(), ledger.OK if status in RAN else ledger.ERROR, reason,
                         usage=json.dumps(used) if used else None)

    def _usage(self, ended: float) -> dict[str, Any]:
        """Return what the run used that `ended` then. It began after the end of the run before it."""
        previous = self._books.execute(
            "SELECT coalesce(ended, started) FROM runs WHERE job = ? AND started < ? AND outcome IS NOT ? "
            "ORDER BY started DESC LIMIT 1", (self._job_id, ended, SKIPPED)).fetchone()
        return usage_by_agent(self._home, self._job_id, self._job, previous[0] if previous else 0.0, ended)

    def _is_recorded(self, ended: float) -> bool:
        """Return True if a run in the ledger may be the one that `ended`."""
        return any(began <= ended + CLOCK_TOLERANCE_S and (end is None or ended <= end + CLOCK_TOLERANCE_S)
                   for began, _, end in self._runs)


def end_of_page(home: Home, job_id: str, page: outputs.OutputInfo, used: dict[str, Any]) -> End:
    """Return the end of the run that left the output `page`, and `used` that much as far as the page does not state it.
    """
    failed = outputs.status(home, job_id, page.filename) == ledger.ERROR
    return End(page.modified, ledger.ERROR if failed else ledger.OK, usage=json.dumps({**used, **page.usage}),
               output=page.filename)


def usage_by_agent(home: Home, job_id: str, job: Job | None, since: float, until: float) -> dict[str, Any]:
    """Return what the run of `job` between the two times used, by the agent's record, which has none of a script."""
    record = job.record if job else {}
    return {} if record.get("no_agent") else usage_of_run(execution_home(home, record.get("profile")), job_id, since,
                                                          until)


def _text(moment: float) -> str:
    return f"{datetime.datetime.fromtimestamp(moment).astimezone():%Y-%m-%d %H:%M:%S %z}"
