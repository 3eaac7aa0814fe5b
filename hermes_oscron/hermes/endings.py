"""How a run ended, put into its job's record: by its runner, or by the next to look when that was cut off."""

import datetime
import os

from . import homes, records, runs, store
from .homes import Home
from .store import Record


def record_end(
    home: Home, job_id: str, started: datetime.datetime, ended: datetime.datetime, error: str | None,
    delivery_error: str | None = None,
) -> Record:
    """Put into the record of JOB_ID that a run ended, and return it. Raises NoSuchJob, StoreError."""
    zone = homes.timezone(home)
    return store.change(home, job_id,
                        lambda record: records.finish(record, started, ended, zone, error, delivery_error))


def settle(home: Home, job_id: str | None = None) -> list[Record]:
    """Record every interrupted run of HOME, or that of JOB_ID alone; the records of their jobs. Raises StoreError."""
    settled = []
    for run in runs.interrupted(home):
        claim = runs.claim(home, run.job_id) if job_id in (None, run.job_id) else None
        if claim is None:
            continue
        try:
            left = claim.left_behind()
            if left and (record := record_interrupted(home, left)):
                settled.append(record)
        except BaseException:
            claim.abandon()
            raise
        claim.release()
    return settled


def record_interrupted(home: Home, run: runs.Run) -> Record | None:
    """Record that RUN was cut off, and end what is left of it; None when its job is no more. Raises StoreError.

    The caller holds its claim. Nobody knows when it ended; what has fallen due since it began is due still.
    """
    runs.end_processes(run)
    begun = datetime.datetime.fromtimestamp(run.started_at, datetime.UTC)
    error = f"interrupted: the run begun at {begun.astimezone():%Y-%m-%d %H:%M:%S %z} {_reason()}"
    try:
        record = store.find(home, run.job_id)
        last = records.instant(record.get("last_run_at"))
        if last and begun <= last <= datetime.datetime.now(datetime.UTC):
            return record  # its end is recorded; the runner was cut off in the moment after that
        return record_end(home, run.job_id, begun, begun, error)
    except store.NoSuchJob:
        return None


def _reason() -> str:
    """What systemd knows of the end, in ExecStopPost= (systemd.exec(5), `$SERVICE_RESULT`)."""
    result, status = os.environ.get("SERVICE_RESULT"), os.environ.get("EXIT_STATUS")
    if not result:
        return "never ended by itself; it was killed, or the machine went down."
    return f"was cut off ({result}, {status})." if status else f"was cut off ({result})."
