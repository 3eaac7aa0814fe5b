"""The queue of the scheduled runs that wait because as many as are allowed are in progress.

A queue is a folder. A run that waits has a file in it, its ticket, named after the time at which it was due, so that
the names in order are the queue; a run that has its turn has a file `running:…` instead. Its process holds the file
locked, so a place ends with the process, however that ends. All files are created and removed under one lock.

A waiting run blocks in the kernel: on the ticket before its own, or, if it is the first, until a run ends.
"""

import atexit
import contextlib
import os
import select
import time
from collections.abc import Callable
from typing import NamedTuple

from ..files import locked, make_private_dir, try_lock, wait_until_unlocked

GATHER_S, MAX_GATHER_S = 1.0, 10.0
"""Late runs are started together, as after a boot. Each waits until no other has come for this time, at most."""
LATE_S = 5.0
"""A run that is late by more was missed while the machine was off, or waited elsewhere."""
LOOK_INTERVAL_S, BLIND_LOOK_INTERVAL_S = 60.0, 0.25
"""The first run looks as often for a turn; the second if it cannot see a process, as in another container."""
RUNNING = "running:"
LOCK = ".lock"


class Turn(NamedTuple):
    """The turn of a run: its instance, and the process of its runner."""

    instance: str
    pid: int


def wait(queue: str, instance: str, due: float, limit: int, queued: Callable[[], object]) -> bool:
    """Wait in the folder `queue` for the turn of `instance`, which was due at a unix time.

    The turn comes when fewer than `limit` runs have one, and none of those that wait was due earlier. It ends with this
    process. If it does not come at once, `queued` is called, and this returns True. Raises StateFileError, OSError.
    """
    profile, _, job_id = instance.partition(":")
    name = f"{due:017.6f}:{job_id}:{profile}"
    make_private_dir(queue)
    with _locked(queue):
        ticket = _create(queue, name)
    if time.time() - due > LATE_S:
        _gather(queue)
    waits = False
    while True:
        with _locked(queue):
            ahead = _ahead(queue, name)
            running = [] if ahead else _running(queue)
            if ahead is None and len(running) < limit:
                turn = f"{RUNNING}{instance}:{os.getpid()}"
                _create(queue, turn)  # open until the end of this process
                atexit.register(_remove, queue, turn)
                _remove(queue, name)
                os.close(ticket)
                return waits
        if not waits:
            waits = True
            queued()
        if ahead is None:
            _wait_for_end(running)
        else:
            wait_until_unlocked(ahead)
            os.close(ahead)


def has_ticket(queue: str, instance: str) -> bool:
    """Return True if a run of `instance` waits in the folder `queue`, or its runner was killed there."""
    profile, _, job_id = instance.partition(":")
    with contextlib.suppress(FileNotFoundError):
        return any(name.endswith(f":{job_id}:{profile}") for name in os.listdir(queue) if not name.startswith(RUNNING))
    return False


def turns(queue: str) -> list[Turn]:
    """Return the runs that have their turn in the folder `queue`. Raises StateFileError, OSError."""
    with _locked(queue):
        return _running(queue)


def _locked(queue: str) -> contextlib.AbstractContextManager[None]:
    return locked(f"{queue}/{LOCK}")


def _create(queue: str, name: str) -> int:
    """Create the file `name`, and return it open and locked. The lock of the queue is held."""
    _remove(queue, name)  # of a process that was killed; another may just look at it
    fd = os.open(f"{queue}/{name}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try_lock(fd)
    return fd


def _gather(queue: str) -> None:
    """Wait until all runs that are started together are in the queue."""
    deadline = time.monotonic() + MAX_GATHER_S
    known = set(os.listdir(queue))
    while time.monotonic() < deadline:
        time.sleep(GATHER_S)
        found = set(os.listdir(queue))
        if found <= known:
            return
        known = found


def _ahead(queue: str, name: str) -> int | None:
    """Return the ticket next before `name`, open; None if `name` is the first. The lock of the queue is held."""
    for other in sorted(os.listdir(queue), reverse=True):
        if LOCK < other < name and (fd := _open_live(queue, other)) is not None:
            return fd
    return None


def _running(queue: str) -> list[Turn]:
    """Return the runs that have their turn. The lock of the queue is held."""
    found = []
    for name in os.listdir(queue):
        if name.startswith(RUNNING) and (fd := _open_live(queue, name)) is not None:
            os.close(fd)
            instance, _, pid = name.removeprefix(RUNNING).rpartition(":")
            found.append(Turn(instance, int(pid)))
    return found


def _open_live(queue: str, name: str) -> int | None:
    """Open the file `name` if its process lives, else remove it. The lock of the queue is held."""
    try:
        fd = os.open(f"{queue}/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:  # its run has just ended
        return None
    if not try_lock(fd, shared=True):
        return fd
    _remove(queue, name)
    os.close(fd)
    return None


def _wait_for_end(running: list[Turn]) -> None:
    """Wait until one of the runs has ended, or it is time to look again."""
    ended, fds = select.poll(), list[int]()
    for _, pid in running:
        with contextlib.suppress(OSError):  # it has just ended, or is not of our PID namespace
            fds.append(os.pidfd_open(pid))
            ended.register(fds[-1], select.POLLIN)
    ended.poll(1000 * (LOOK_INTERVAL_S if len(fds) == len(running) else BLIND_LOOK_INTERVAL_S))
    for fd in fds:
        os.close(fd)


def _remove(queue: str, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{queue}/{name}")
