"""The end of a run: `finish` records every run, by our runner or by the agent, in jobs.json and in the ledger."""

import datetime
import os
import time

from ..files import StateFileError
from ..hermes import claims, job_store
from ..hermes.home import Home
from ..hermes.jobs_file import JobNotFound
from ..jobs import lifecycle
from ..jobs.model import Job
from .entries import enter_end, outcome_of
from .model import Result, Run


def finish(home: Home, run: Run, before: Job | None = None) -> Job | None:
    """Record how `run` ended, and return its job; None if the job was deleted.

    A run without a result was cut off. `before` is the job when the run began, if the agent has recorded the run in it
    since: then only its next run is corrected. A run is recorded once, however often this is called. The caller holds
    the run's lock. Raises StateFileError.
    """
    job = None
    try:
        job = job_store.change(home, run.job_id, lambda job: after_run(job, run, before))
    except JobNotFound:
        require_jobs_file(home)
    enter_end(home, run, job)
    return job


def after_run(job: Job, run: Run, before: Job | None = None) -> Job:
    """Return `job` with `run` recorded, unless it is recorded already. See `finish`."""
    started = datetime.datetime.fromtimestamp(run.started_at, datetime.UTC)
    result = run.result or _interrupted(run, started)
    ended = datetime.datetime.fromtimestamp(result.ended_at, datetime.UTC)
    due = datetime.datetime.fromtimestamp(run.due, datetime.UTC) if run.due else None
    if before:
        corrected = lifecycle.correct_after_agent(job, before, ended, started, due)
        return by_policy(before, corrected, run, result)
    recorded_since = started if result.by_agent else ended
    if job.last_run_at and recorded_since <= job.last_run_at <= datetime.datetime.now(datetime.UTC):
        return job
    ended_claims = claims.ended_claims(job.record, run.started_at, run.group)
    recorded = lifecycle.record_run(job, started, ended, result.error, result.delivery_error, ended_claims, due)
    return by_policy(job, recorded, run, result)


def by_policy(before: Job, after: Job, run: Run, result: Result) -> Job:
    """Return `after`, the job `before` with `run` recorded, with what its policy makes of the result."""
    after = _with_retry(before, after, run, result)
    return lifecycle.pause_if_failing(before, after, result.error, datetime.datetime.now(datetime.UTC))


def _with_retry(before: Job, after: Job, run: Run, result: Result) -> Job:
    """Return `after`, the job after a `run` with `result`, held until a retry if its policy has one."""
    if not result.error or not run.due or "retries" not in after.policy:
        return after
    from ..jobs.retries import Failure, with_retry

    due = datetime.datetime.fromtimestamp(run.due, datetime.UTC)
    ended = datetime.datetime.fromtimestamp(result.ended_at if run.result else time.time(), datetime.UTC)
    return with_retry(before, after, Failure(outcome_of(result.error), result.code, due, run.retry, ended))


def require_jobs_file(home: Home) -> None:
    """Raise StateFileError if `home` has no jobs.json: it may have been moved away for repair."""
    if not os.path.exists(home.jobs_file):
        raise StateFileError(f"{home.jobs_file} is missing. Restore it, or create a job.")


def _interrupted(run: Run, started: datetime.datetime) -> Result:
    """Return the result of a run that was cut off at an unknown time. Occurrences since its start are still due."""
    return Result(run.started_at, f"interrupted: the run begun at {started.astimezone():%Y-%m-%d %H:%M:%S %z} "
                                  f"{_systemd_reason()}")


def _systemd_reason() -> str:
    """Return how the run ended by systemd's account, in ExecStopPost= (systemd.exec(5), `$SERVICE_RESULT`)."""
    result, status = os.environ.get("SERVICE_RESULT"), os.environ.get("EXIT_STATUS")
    if not result:
        return "never ended by itself; it was killed, or the machine went down."
    return f"was cut off ({result}, {status})." if status else f"was cut off ({result})."
