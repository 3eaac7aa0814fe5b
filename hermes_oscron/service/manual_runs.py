"""Runs by hand after their start: wait for the end of one, and stop one."""

import contextlib
import time
from typing import NamedTuple

from ..clock import Clock
from ..hermes.home import Home
from ..runs import ledger, lock
from ..runs import stop as stop_run
from ..runs.ledger import Row

POLL_INTERVAL_S = 0.1
RECORDING_TIMEOUT_S = 15.0
"""The time in which a run whose runner is gone must be in the ledger."""
TIMED_OUT, FAILED = 124, 1
"""The exit status of a run that ran out of time, as of timeout(1), and of one that failed without a status."""


class StoppedRun(NamedTuple):
    """A run that was in progress, or `queued`, for `elapsed` seconds. It has `ended`, unless it resists."""

    elapsed: float
    queued: bool
    ended: bool


def stop(home: Home, job_id: str) -> StoppedRun | None:
    """Stop the run of `job_id` that is in progress or queued, and wait for its end; None if there is none."""
    run = stop_run.find(home, job_id)
    if run is None:
        return None
    with contextlib.closing(run):
        return StoppedRun(round(run.elapsed_s, 1), run.queued, run.stop())


def wait_for_end(home: Home, job_id: str, since: float, clock: Clock) -> Row | None:
    """Return the row of the run of `job_id` that started at or after `since` (unix seconds), once it has ended.

    None if it is gone and was not recorded. Raises LedgerError.
    """
    deadline = None
    while True:
        with ledger.reading(home) as books:
            rows = ledger.select(books, "job = ? AND started >= ? AND outcome IS NOT NULL ORDER BY started LIMIT 1",
                                 job_id, since)
        if rows:
            return rows[0]
        if lock.find(home, job_id):
            deadline = None
        elif deadline is None:
            deadline = time.monotonic() + RECORDING_TIMEOUT_S
        elif time.monotonic() > deadline:
            return None
        clock.sleep(POLL_INTERVAL_S)


def exit_status(row: Row) -> int:
    """Return the exit status of the process of the run in `row`, or one that stands for its outcome."""
    if row.outcome == ledger.OK:
        return 0
    if row.outcome == ledger.TIMEOUT:
        return TIMED_OUT
    return 128 + row.signal if row.signal else row.exit_code or FAILED
