"""The turns of scheduled runs, if the agent's `cron.max_parallel_jobs` limits how many are in progress at once.

Each run has a file in the profile's turns folder, named after the time at which it was due and its job, and locked for
as long as its runner lives. The file of a run that waits is empty. All looks are taken under one lock.
"""

import atexit
import contextlib
import os
import time

from ..files import locked, make_private_dir, try_lock
from ..hermes.home import Home

LOOK_INTERVAL_S = 0.25
HAS_TURN = b"!"


def wait(home: Home, job_id: str, due: float, limit: int) -> float:
    """Wait for the turn of `job_id`, which was due at a unix time; return the seconds waited.

    The turn comes when fewer than `limit` runs of `home` have one, and none of those that wait was due earlier. It ends
    with this process. Raises StateFileError, OSError.
    """
    begun = time.monotonic()
    folder = home.state.turns
    path = f"{folder}/{due:017.6f}.{job_id}"
    make_private_dir(folder)
    with locked(home.state.turns_lock):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try_lock(fd)  # the caller has the lock of the run, so no other process has this file
    atexit.register(_remove, path)
    while True:
        with locked(home.state.turns_lock):
            waiting, running = _live(folder)
            if path in waiting[:max(0, limit - len(running))]:
                os.write(fd, HAS_TURN)
                return time.monotonic() - begun
        time.sleep(LOOK_INTERVAL_S)


def _live(folder: str) -> tuple[list[str], list[str]]:
    """Return the files of the runs that wait, by due time, and of those that have their turn. Remove all others."""
    waiting, running = list[str](), list[str]()
    for name in sorted(os.listdir(folder)):
        path = f"{folder}/{name}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:  # its run has just ended
            continue
        try:
            if try_lock(fd, shared=True):
                _remove(path)
            else:
                (running if os.fstat(fd).st_size else waiting).append(path)
        finally:
            os.close(fd)
    return waiting, running


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
