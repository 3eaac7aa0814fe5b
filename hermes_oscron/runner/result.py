"""Save the output, keep the result and record the run when the runner's child has ended."""

import contextlib
import datetime
import errno
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from ..errors import describe
from ..files import StateFileError
from ..hermes import claims, job_store, outputs
from ..hermes.agent import EXIT_CLAIMED_ELSEWHERE, EXIT_UNSUPPORTED
from ..hermes.home import Home
from ..hermes.jobs_file import JobNotFound
from ..hermes.output_page import render_page
from ..jobs import claiming, lifecycle
from ..jobs.model import Job
from ..jobs.record import PAUSED, RAN, Record, deliver_of, hold_of, is_delivered, readable_error
from ..runs.entries import enter_end, was_resumed
from ..runs.finish import by_policy, finish, require_jobs_file
from ..runs.ledger import SKIPPED
from ..runs.lock import RunLock
from ..runs.model import Result, Run
from .log import log, log_end
from .process import ProcessResult
from .resources import resources_used

RECORD_TIMEOUT_S = 65.0
"""The time for which a run that has ended waits to be recorded in jobs.json. Its result is safe by then."""
RETRY_INTERVAL_S = 1.0
DELETED = "the job was deleted during the run, and its output with it"
RECORD_GONE = "the job is no longer in jobs.json; its output is kept"
CLAIMED_ELSEWHERE = "Another scheduler of the agent has claimed the job, or has run it."
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors that may pass while a run waits, if room is made on the disk; other errors stay."""


class RunResult(NamedTuple):
    """The error of a run, if any, and its job, which is None if it was deleted."""

    error: str | None
    job: Job | None


class _End(NamedTuple):
    """A run that has ended: the job when the run began, and how the process ended."""

    home: Home
    before: Job
    run: Run
    run_lock: RunLock
    process: ProcessResult
    ended: datetime.datetime

    @property
    def started(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.run.started_at, datetime.UTC)

    def result(self, error: str | None, by_agent: bool = False, output: str = "") -> Result:
        return Result(self.ended.timestamp(), error, None if by_agent else _undelivered(self.before), by_agent,
                      self.process.code, *(self.process.used or resources_used()), output)

    def skipped(self, reason: str) -> Result:
        return Result(self.ended.timestamp(), reason, outcome=SKIPPED)

    def log(self, error: str | None, *notes: str) -> None:
        log_end(self.before.record, (self.ended - self.started).total_seconds(), error, *notes)


Attempt = Callable[[bool], RunResult]
"""Tries to record a run. It gets True at the last attempt. Raises StateFileError or OSError if it cannot yet."""


def record_result(home: Home, record: Record, run: Run, run_lock: RunLock, process: ProcessResult,
                  by_agent: bool = False, stopped: Callable[[], bool] = lambda: False) -> RunResult:
    """Record how `run` ended, either here or, `by_agent`, from the agent's own record. `record` was read at its begin.

    If a file cannot be written, this tries again until RECORD_TIMEOUT_S is over or the runner is `stopped`. Then it
    raises StateFileError or OSError, and the result stays in the run's file for the next sync.
    """
    before = job_store.parse(home, record)
    end = _End(home, before, run, run_lock, process, datetime.datetime.now(datetime.UTC))
    attempt = _take_over_from_agent(end) if by_agent else _record(end)
    deadline = time.monotonic() + RECORD_TIMEOUT_S
    waiting = False
    while True:
        is_last = stopped() or time.monotonic() > deadline
        try:
            return attempt(is_last)
        except (StateFileError, OSError) as error:
            if is_last:
                raise
            if not waiting:
                log(f"The run has ended, and waits to be recorded: {describe(error)}", sys.stderr)
            waiting = True
        time.sleep(RETRY_INTERVAL_S)


def _keep(end: _End, result: Result) -> None:
    """Write `result` into the run's file, so that it cannot be lost from then on."""
    with contextlib.suppress(OSError):  # no room could be allocated in time; jobs.json can still take the result
        end.run_lock.write_result(end.run, result)


def _record(end: _End, output: str = "") -> Attempt:
    """Return the attempt that saves the output of a run, unless it is saved as `output`, and records the run.

    If the disk is full, it records the run without its output only at the last attempt. Of a deleted job nothing is
    kept.
    """
    def attempt(is_last: bool) -> RunResult:
        nonlocal output
        error = end.process.error
        if end.run_lock.job_deleted():
            enter_end(end.home, end.run._replace(result=end.result(error)), None)
            end.log(error, DELETED)
            return RunResult(None, None)
        disk_full = None
        try:
            output = output or _save_output(end)
        except OSError as unsaved:
            outcome = error.rstrip(".") if error else "it went well"
            error = f"{outcome}, but its output could not be saved: {describe(unsaved)}"
            disk_full = unsaved if unsaved.errno in DISK_FULL else None
        result = end.result(error, output=output)
        _keep(end, result)
        if disk_full and not is_last:
            raise disk_full
        job = finish(end.home, end.run._replace(result=result))
        if job is None:
            deleted = end.run_lock.job_deleted()
            if deleted:
                outputs.remove(end.home, end.run.job_id)
            end.log(error, DELETED if deleted else RECORD_GONE)
            return RunResult(None, None)
        end.log(error, *_delivery_notes(result.delivery_error))
        return RunResult(error, job)

    return attempt


def _take_over_from_agent(end: _End) -> Attempt:
    """Return the attempt that takes over the agent's own record of a run, or records the run without it.

    The agent deletes a job whose repeat count is used up. `job_deleted` distinguishes that from a delete by a user. A
    paused job that was run by hand is restored, still paused.
    """
    error_without_record = _error_without_record(end.process)
    without_record = _record(end._replace(process=end.process._replace(error=error_without_record)),
                             _output_of_agent(end))
    claimed_elsewhere = end.process.code == EXIT_CLAIMED_ELSEWHERE
    if not claimed_elsewhere:
        _keep(end, end.result(error_without_record, by_agent=True))

    def attempt(is_last: bool) -> RunResult:
        before, process = end.before, end.process
        try:
            job = job_store.find(end.home, before.id)
        except JobNotFound:
            require_jobs_file(end.home)
            deleted = end.run_lock.job_deleted()
            if deleted:
                outputs.remove(end.home, before.id)
                enter_end(end.home, end.run._replace(result=end.result(process.error)), None)
                end.log(process.error, DELETED)
            elif claimed_elsewhere:
                enter_end(end.home, end.run._replace(result=end.skipped(CLAIMED_ELSEWHERE)), None)
            if deleted or claimed_elsewhere:
                return RunResult(None, None)
            if not before.repeat.is_last_run:
                return without_record(is_last)
            if before.state != PAUSED:
                if retried := _restore_for_retry(end):
                    end.log(process.error)
                    return RunResult(process.error, retried)
                finish(end.home, end.run._replace(result=end.result(process.error, True, _output_of_agent(end))))
                end.log(process.error)
                return RunResult(process.error, None)
            job = _restore_paused_job(end, process.error)
        if claimed_elsewhere:
            job = _drop_claims(end, job)
            enter_end(end.home, end.run._replace(result=end.skipped(CLAIMED_ELSEWHERE)), job)
            log(f"Skipped: another scheduler of the agent has claimed {before.id}, or has run it.")
            return RunResult(None, job)
        if job.record.get("last_run_at") == before.record.get("last_run_at"):
            own = claims.owner(end.run.started_at)
            if holder := claims.holder(job.record, datetime.datetime.now(datetime.UTC), own):
                error = f"{holder} has claimed {before.id} since, and its run counts: {error_without_record}"
                job = _drop_claims(end, job)
                enter_end(end.home, end.run._replace(result=end.result(error)), job)
                end.log(error)
                return RunResult(error, job)
            return without_record(is_last)
        result = _agent_result(end, job)
        recorded = finish(end.home, end.run._replace(result=result), before) or job
        end.log(result.error, *_delivery_notes(result.delivery_error))
        return RunResult(result.error, recorded)

    return attempt


def _drop_claims(end: _End, job: Job) -> Job:
    """Drop the claims of this run, which ends unrecorded, from `job`."""
    def drop(job: Job) -> Job:
        return claiming.drop_claims(job, claims.ended_claims(job.record, end.run.started_at, end.run.group))

    return job if drop(job).record == job.record else job_store.change(end.home, job.id, drop)


def _agent_result(end: _End, job: Job) -> Result:
    """Return the result of a run that the agent has recorded in `job`."""
    failed = job.record.get("last_status") not in RAN
    reason = readable_error(job.record.get("last_error")) or end.process.error or "the agent gave no reason."
    undelivered = job.record.get("last_delivery_error")
    result = end.result(str(reason) if failed else None, by_agent=True, output=_output_of_agent(end))
    return result._replace(delivery_error=str(undelivered) if undelivered else None)


def _error_without_record(process: ProcessResult) -> str | None:
    """Return the error, if any, of a run that the agent has not recorded."""
    return process.stderr.strip().rpartition("\n")[2] if process.code == EXIT_UNSUPPORTED else process.error


def _output_of_agent(end: _End) -> str:
    """Return the name of the output that the agent saved; empty if there is none."""
    newest, _ = outputs.history(end.home, end.run.job_id, 0, 1)
    return newest[0].filename if newest and newest[0].modified >= end.run.started_at else ""


def _save_output(end: _End) -> str:
    zone, process = end.before.zone, end.process
    text = render_page(end.before.record, end.started.astimezone(zone), end.ended, process.stdout, process.stderr,
                       process.error)
    return outputs.write(end.home, end.run.job_id, end.ended.astimezone(zone), text)


def _restore_for_retry(end: _End) -> Job | None:
    """Add the job again that the agent deleted after its last run, if that is tried again; return None if not."""
    error, result = end.process.error, end.result(end.process.error)
    if not error or "retries" not in end.before.policy:
        return None
    recorded = lifecycle.record_run(end.before, end.started, end.ended, error)
    job = by_policy(end.before, recorded, end.run._replace(result=result), result)
    if not hold_of(job.record):
        return None
    job_store.add(end.home, job)
    enter_end(end.home, end.run._replace(result=result), job)
    return job


def _restore_paused_job(end: _End, error: str | None) -> Job:
    """Add the job again that was paused before the run, after which the agent deleted it. It may have been resumed."""
    now = datetime.datetime.now(datetime.UTC)
    job = lifecycle.record_run(end.before, now, now, error)
    if was_resumed(end.home, job.id, end.run.started_at):
        job = lifecycle.resumed_during_run(job, now)
    job_store.add(end.home, job)
    return job


def _undelivered(job: Job) -> str | None:
    if not is_delivered(job.record):
        return None
    return (f"not delivered to {deliver_of(job.record):.100}: only the Hermes agent delivers, and it did not run this "
            f"job.")


def _delivery_notes(undelivered: str | None) -> list[str]:
    """Return what the log adds if the output was not delivered."""
    if not undelivered:
        return []
    return [undelivered if undelivered.startswith("not delivered") else f"not delivered: {undelivered}"]
