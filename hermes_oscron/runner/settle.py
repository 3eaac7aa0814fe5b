"""Runs that were cut off: killed, out of memory, power lost. The next one to look records them."""

import datetime
import os

from ..hermes import runs, store
from ..hermes.homes import Home
from .conclude import record_end


def settle(home: Home, job_id: str | None = None) -> list[str]:
    """Record every interrupted run of HOME, or that of JOB_ID alone; the ids of their jobs."""
    settled = []
    for run in runs.interrupted(home):
        if job_id not in (None, run.job_id):
            continue
        claim = runs.claim(home, run.job_id)
        if claim is None:
            continue
        left = claim.left_behind()
        if left:
            record_interrupted(home, run.job_id, left)
            settled.append(run.job_id)
        claim.release()
    return settled


def record_interrupted(home: Home, job_id: str, run: runs.Run) -> None:
    """Record in JOB_ID that RUN was cut off. The caller holds its claim.

    Nobody knows when it ended; what has fallen due since it began is due still.
    """
    begun = datetime.datetime.fromtimestamp(run.started_at, datetime.UTC)
    error = f"interrupted: the run begun at {begun.astimezone():%Y-%m-%d %H:%M:%S %z} {_reason()}"
    try:
        record_end(home, job_id, begun, begun, error)
    except store.NoSuchJob:
        pass


def _reason() -> str:
    """What systemd knows of the end, in ExecStopPost= (systemd.exec(5), `$SERVICE_RESULT`)."""
    result, status = os.environ.get("SERVICE_RESULT"), os.environ.get("EXIT_STATUS")
    if not result:
        return "never ended by itself; it was killed, or the machine went down."
    return f"was cut off ({result}, {status})." if status else f"was cut off ({result})."
