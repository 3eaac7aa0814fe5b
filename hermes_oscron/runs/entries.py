"""The ledger's row of a run: inserted when the job has started, and completed when the run is recorded."""

import contextlib
import datetime
import json
import os
import time
from typing import Any

from ..hermes import outputs
from ..hermes.home import Home
from ..jobs.model import Job
from ..jobs.record import RAN, SCHEDULED, hold_of, readable_error
from ..schedule.model import INTERVAL, ONCE
from ..schedule.occurrences import latest_occurrence, next_occurrence
from . import ledger, lock, schedule_versions
from .accounting import CLOCK_TOLERANCE_S, account, usage_by_agent
from .ledger import CATCH_UP, MANUAL, RETRY, SCHEDULE, End, Ledger, LedgerError
from .model import MANUAL as BY_HAND
from .model import Result, Run
from .processes import identity
from .schedule_versions import DELETED, Version

LATE_S = 120.0
"""A run that begins or queues later than this after its time catches up."""
RECENT_S = 3600.0
OUTCOMES = {"interrupted": ledger.INTERRUPTED, "stopped by ": ledger.STOPPED, "timed out after ": ledger.TIMEOUT}
"""The outcomes of runs that did not end by themselves, by the beginning of the error."""


def enter_begin(home: Home, job: Job, run: Run) -> None:
    """Insert the row of `run`, of the `job` as it was when the run began. If that fails, the end inserts it."""
    with (contextlib.suppress(LedgerError, OSError),
          ledger.writing(home, timeout_s=ledger.BEGIN_TIMEOUT_S) as books):
        _begin(books, job, run, identity(os.getpid()))


def enter_end(home: Home, run: Run, job: Job | None) -> None:
    """Complete the row of `run`, whose `job` is as it was recorded, None if it was deleted.

    If the ledger cannot be written, the file of the run is kept for the next sync.
    """
    result = _result_of(run, job)
    try:
        with ledger.writing(home, durable=True) as books:
            write_end(books, home, run._replace(result=result), job)
    except (LedgerError, OSError):
        lock.keep_unentered(home, run, result)


def write_end(books: Ledger, home: Home, run: Run, job: Job | None) -> None:
    """Complete the row of `run`, store the schedule that its `job` has since, and account for the time of the run."""
    result = _result_of(run, job)
    until = result.ended_at if result.ended_at > run.started_at else time.time()  # an interrupted run ended by now
    end = end_of(home, run.job_id, result, usage_by_agent(home, run.job_id, job, run.started_at, until))
    ledger.end_row(books, _begin(books, job, run, None), end)
    now, ended = time.time(), result.ended_at
    if job is None:
        schedule_versions.note(books, Version(run.job_id, ended, DELETED), now)
    else:
        schedule_versions.note(books, schedule_versions.version_of(job, ended), now)
    account(books, home, run.job_id, job, now)


def enter_not_run(home: Home, job_id: str, name: str, due: float, reason: str) -> None:
    """Insert the row of an occurrence that does not run for now; if it runs later, its row is the run's."""
    with (contextlib.suppress(LedgerError, OSError), ledger.writing(home) as books):
        ledger.insert_not_run(books, job_id, name, due, ledger.SKIPPED, reason)


def enter_decided(home: Home, job: Job, now: datetime.datetime, reason: str) -> None:
    """Insert the rows of the occurrences of `job` that were skipped at `now` for a `reason`."""
    with (contextlib.suppress(LedgerError, OSError), ledger.writing(home) as books):
        account(books, home, job.id, job, now.timestamp(), reason)


def was_resumed(home: Home, job_id: str, since: float) -> bool:
    """Return True if `job_id` was resumed after the unix time `since`, and not paused again, by the ledger."""
    with contextlib.suppress(LedgerError, OSError), ledger.reading(home) as books:
        latest = schedule_versions.latest(books, job_id)
        return latest is not None and latest.state == SCHEDULED and latest.since > since
    return False


def _begin(books: Ledger, job: Job | None, run: Run, runner: str | None) -> int:
    """Return the row of `run`, which is inserted if it is missing."""
    found = books.execute("SELECT id FROM runs WHERE job = ? AND started = ?", (run.job_id, run.started_at)).fetchone()
    if found:
        return int(found[0])
    due, trigger = occurrence_of(job, run)
    if job:
        _note_phase(books, job, due, trigger, run)
    row = ledger.begin_row(books, run.job_id, str(job.record.get("name") or "") if job else "", trigger, due,
                           run.started_at, run.queued_at or None, runner)
    if run.node:
        ledger.place_row(books, row, run.node, run.slurm_job)
    return row


def _note_phase(books: Ledger, job: Job, due: float, trigger: str, run: Run) -> None:
    """Store the schedule of a `job` that ran before any sync, and of an interval that another program has moved."""
    known = schedule_versions.latest(books, job.id)
    scheduled = trigger in ledger.BY_SCHEDULE
    if known and not (scheduled and known.kind == INTERVAL and job.schedule and job.schedule.kind == INTERVAL):
        return
    since = due - 0.5 if scheduled else run.started_at
    version = schedule_versions.version_of(job, since)
    if known:
        version = known._replace(since=since, phase=due)
    schedule_versions.note(books, version, run.started_at)


def occurrence_of(job: Job | None, run: Run) -> tuple[float, str]:
    """Return the time at which `run` was due or requested, and its trigger.

    Another program may have set `next_run_at` to a time that is not one of the schedule. Then the run is for the next
    time of the schedule up to its start, or, if there is none, was requested for that time.
    """
    due = run.due or run.started_at
    if run.retry:
        return due, RETRY
    if job is None or job.schedule is None:
        return due, MANUAL if run.trigger == BY_HAND else SCHEDULE
    moment, schedule = datetime.datetime.fromtimestamp(due, datetime.UTC), job.schedule
    is_occurrence = not moment.microsecond and (
        schedule.run_at == moment if schedule.kind == ONCE else
        next_occurrence(schedule, moment - datetime.timedelta(seconds=1), job.zone, moment) == moment)
    if run.trigger == BY_HAND:
        return due if is_occurrence else run.started_at, MANUAL
    if hold_of(job.record):
        return due, RETRY
    manual_run_at = job.record.get("manual_run_at")
    requested = manual_run_at is not None and manual_run_at == job.record.get("next_run_at")
    if is_occurrence and not requested:
        return due, CATCH_UP if (run.queued_at or run.started_at) - due > LATE_S else SCHEDULE
    if run.due and (requested or moment.microsecond):
        return due, MANUAL
    began = datetime.datetime.fromtimestamp(run.started_at, datetime.UTC)
    since = moment if run.due else began - datetime.timedelta(seconds=RECENT_S)
    latest = latest_occurrence(schedule, since, began, job.zone, job.phase)
    return (latest.timestamp(), SCHEDULE) if latest else (due, MANUAL)


def recorded_result(job: Job | None, started: float, until: float) -> Result | None:
    """Return the result of the run that `started`, if the record of its `job` has one from before `until`."""
    last = job.last_run_at if job else None
    if job is None or last is None or not int(started) <= last.timestamp() <= until:
        return None
    went_well = job.record.get("last_status") in RAN
    error = None if went_well else str(readable_error(job.record.get("last_error")) or "It failed.")
    undelivered = job.record.get("last_delivery_error")
    return Result(last.timestamp(), error, str(undelivered) if undelivered else None)


def _result_of(run: Run, job: Job | None) -> Result:
    """Return how `run` ended: by its result, or, if the agent or an earlier attempt has recorded it, by its `job`."""
    result = run.result
    if result is None:
        return recorded_result(job, run.started_at, time.time()) or Result(run.started_at, "interrupted")
    if not result.by_agent:
        return result
    recorded = recorded_result(job, run.started_at, result.ended_at + CLOCK_TOLERANCE_S) or result
    return result._replace(ended_at=recorded.ended_at, error=recorded.error, delivery_error=recorded.delivery_error,
                           by_agent=False)


def end_of(home: Home, job_id: str, result: Result, usage: dict[str, Any] | None = None) -> End:
    """Return the end of a row of `job_id` with `result`, and with `usage` as far as the output does not state it."""
    code, stated = result.code, outputs.usage_of(home, job_id, result.output) if result.output else {}
    usage = {**(usage or {}), **stated}
    return End(
        result.ended_at, result.outcome or outcome_of(result.error), result.error,
        exit_code=code if code is not None and code >= 0 else None,
        signal=-code if code is not None and code < 0 else None, cpu_s=result.cpu_s, memory_bytes=result.memory_bytes,
        usage=json.dumps(usage) if usage else None, delivery_error=result.delivery_error, output=result.output or None)


def outcome_of(error: str | None) -> str:
    """Return the outcome of a run that failed with `error`, or went well."""
    if error is None:
        return ledger.OK
    return next((outcome for beginning, outcome in OUTCOMES.items() if error.startswith(beginning)), ledger.ERROR)
