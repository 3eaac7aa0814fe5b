"""The agent's own scheduler, a thread of its gateway: detect it, and agree with it who runs an occurrence.

It reads jobs.json once a minute and takes due jobs by moving `next_run_at`, or by a `run_claim`, under its tick lock.
If it has ever run, we take an occurrence in the same way.
"""

import contextlib
import datetime
import os
import time
from collections.abc import Iterator

from ..files import open_regular, try_lock
from .home import Home

HEARTBEAT_MAX_AGE_S = 200.0
"""Three ticks and some. After that the agent also considers its ticker dead (`hermes cron status`)."""
TICK_LOCK_TIMEOUT_S = 2.0
"""A tick holds the lock for milliseconds.

`hermes cron tick` holds it until all jobs that it took have run. After the timeout we go on without the lock, because
by then it takes no further jobs.
"""


def take_turn(home: Home, job_id: str, scheduled: bool) -> bool:
    """Claim a run of `job_id`; return False if the agent has it, or if a `scheduled` run is no longer due.

    A manual run of a job that is due takes that occurrence: systemd makes one run of a timer's start and a manual
    start. Raises JobNotFound, StateFileError.
    """
    if not os.path.exists(_heartbeat(home)):
        return True
    # 20 ms, only if the agent's scheduler has ever run
    from ..jobs import lifecycle
    from ..jobs.due import is_due
    from ..schedule.model import ONCE
    from . import job_store

    with _tick_lock(home):
        now = datetime.datetime.now(datetime.UTC)
        job = job_store.find(home, job_id)
        if lifecycle.is_claimed(job, now) or (scheduled and not is_due(job, now)):
            return False
        takes_occurrence = scheduled or (job.is_scheduled and is_due(job, now))
        if job.schedule and (takes_occurrence or job.schedule.kind == ONCE):
            job_store.change(home, job_id, lambda job: lifecycle.claim(job, now))
    return True


def is_alive(home: Home) -> bool:
    """Return True if the gateway of `home` has looked for due jobs recently."""
    try:
        with open(_heartbeat(home), encoding="ascii", opener=open_regular) as file:
            return 0 <= time.time() - float(file.read()) < HEARTBEAT_MAX_AGE_S
    except (OSError, ValueError):
        return False


def remove_heartbeat(home: Home) -> None:
    """Remove the last heartbeat; a gateway that runs writes another within a minute."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_heartbeat(home))


@contextlib.contextmanager
def _tick_lock(home: Home) -> Iterator[None]:
    """Keep the agent's scheduler from taking a job within the block, if its lock is free within TICK_LOCK_TIMEOUT_S."""
    fd = os.open(f"{home.cron_dir}/.tick.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + TICK_LOCK_TIMEOUT_S
        while not try_lock(fd) and time.monotonic() < deadline:
            time.sleep(0.005)
        yield
    finally:
        os.close(fd)


def _heartbeat(home: Home) -> str:
    return f"{home.cron_dir}/ticker_heartbeat"
