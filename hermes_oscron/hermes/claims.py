"""Between the agent's own scheduler and us: who runs an occurrence.

The agent's scheduler looks at jobs.json once a minute and takes what is due by moving `next_run_at`, or by a
`run_claim`; all that under its tick lock. Where it has ever run, we take an occurrence in the same way.
"""

import contextlib
import datetime
import fcntl
import os
import time
from collections.abc import Iterator

from . import homes, store
from .homes import Home

PATIENCE = 2.0
"""Seconds to wait for the tick lock: a ticker has it for milliseconds. `hermes cron tick` has it until all that it took
has run, and then it has taken what it will."""


def take(home: Home, job_id: str, scheduled: bool) -> bool:
    """Whether the run of JOB_ID is ours, which it then is for all others too; a SCHEDULED one only while it is due.

    A manual run of a job that is due takes that occurrence: systemd makes one run of a fire and a manual start.
    Raises NoSuchJob, StoreError.
    """
    if not os.path.exists(f"{home.cron_dir}/ticker_heartbeat"):
        return True
    from ..schedule.errors import ScheduleError
    from ..schedule.types import ONCE  # 20 ms, and only where there is somebody to take turns with
    from . import records

    with _no_tick(home):
        now, zone = datetime.datetime.now(datetime.UTC), homes.timezone(home)
        record = store.find(home, job_id)
        if records.is_claimed(record, now) or (scheduled and not records.is_due(record, now, zone)):
            return False
        with contextlib.suppress(ScheduleError):  # what nothing can keep, the agent's scheduler does not fire either
            takes_due = scheduled or (records.state(record) == records.SCHEDULED and records.is_due(record, now, zone))
            if takes_due or records.schedule_of(record, zone).kind == ONCE:
                store.change(home, job_id, lambda record: records.claim(record, now, zone))
    return True


@contextlib.contextmanager
def _no_tick(home: Home) -> Iterator[None]:
    """Let the agent's scheduler take no job meanwhile."""
    fd = os.open(f"{home.cron_dir}/.tick.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.005)
        yield
    finally:
        os.close(fd)
