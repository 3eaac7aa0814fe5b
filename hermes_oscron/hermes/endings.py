"""How a run ended, put into its job's record: by its runner, or by the next to look when that could not.

A runner writes the result into the run's own file before it touches jobs.json. Where jobs.json cannot be read or
written, or the runner is killed, the file stays and the next sync or reader records the run from it, once.
"""

import datetime
import json
import os
from zoneinfo import ZoneInfo

from . import homes, records, runs, store
from .homes import Home
from .store import Record

UTC = datetime.UTC


def read(home: Home) -> list[Record]:
    """The jobs of `home`, with the runs that have ended but are not recorded yet. Raises StoreError."""
    found = store.read(home)
    left = {run.job_id: run for run in runs.interrupted(home)}
    if not left:
        return found
    zone = homes.timezone(home)
    return [finished(record, left[record["id"]], zone) if record["id"] in left else record for record in found]


def find(home: Home, job_id: str) -> Record:
    """The job `job_id`, with its run if that has ended but is not recorded yet. Raises NoSuchJob, StoreError."""
    record = store.find(home, job_id)
    left = [run for run in runs.interrupted(home) if run.job_id == job_id]
    return finished(record, left[0], homes.timezone(home)) if left else record


def settle(home: Home, job_id: str | None = None) -> list[Record]:
    """Record every run of `home`, or of `job_id` alone, that its runner did not; the records of their jobs.

    Raises StoreError, OSError.
    """
    settled = []
    for run in runs.interrupted(home):
        claim = runs.claim(home, run.job_id) if job_id in (None, run.job_id) else None
        if claim is None:
            continue
        try:
            left = claim.left_behind()
            if left and (record := record_end(home, left)):
                settled.append(record)
        except BaseException:
            claim.abandon()
            raise
        claim.release()
    return settled


def record_end(home: Home, run: runs.Run) -> Record | None:
    """Record how `run` ended, unless that is recorded already, and end what is left of one that was cut off.

    The caller holds its claim. None when there is no such job any more. Raises StoreError.
    """
    if not run.result:
        runs.end_processes(run)
    zone = homes.timezone(home)
    try:
        return store.change(home, run.job_id, lambda record: _finish(record, run, zone))
    except store.NoSuchJob:
        require_jobs(home)
        return None


def require_jobs(home: Home) -> None:
    """Raise StoreError where `home` has no jobs.json: somebody may have moved it away to mend it."""
    if not os.path.exists(home.jobs_file):
        raise store.StoreError(f"{home.jobs_file} is missing. Put it back, or create a job.")


def finished(record: Record, run: runs.Run, zone: ZoneInfo) -> Record:
    """A copy of `record` in which `run` is recorded."""
    after: Record = json.loads(json.dumps(record))
    _finish(after, run, zone)
    return after


def _finish(record: Record, run: runs.Run, zone: ZoneInfo) -> None:
    begun = datetime.datetime.fromtimestamp(run.started_at, UTC)
    result = run.result or _interrupted(run, begun)
    ended = datetime.datetime.fromtimestamp(result.ended_at, UTC)
    last = records.instant(record.get("last_run_at"))
    recorded_since = begun if result.by_agent else ended
    if last is None or not recorded_since <= last <= datetime.datetime.now(UTC):
        records.finish(record, begun, ended, zone, result.error, result.delivery_error)


def _interrupted(run: runs.Run, begun: datetime.datetime) -> runs.Result:
    """The result of a run that was cut off: nobody knows when, so what fell due since it began is still due."""
    return runs.Result(
        run.started_at, f"interrupted: the run begun at {begun.astimezone():%Y-%m-%d %H:%M:%S %z} {_reason()}")


def _reason() -> str:
    """What systemd knows of the end, in ExecStopPost= (systemd.exec(5), `$SERVICE_RESULT`)."""
    result, status = os.environ.get("SERVICE_RESULT"), os.environ.get("EXIT_STATUS")
    if not result:
        return "never ended by itself; it was killed, or the machine went down."
    return f"was cut off ({result}, {status})." if status else f"was cut off ({result})."
