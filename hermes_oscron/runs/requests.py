"""Requests about the next run of a job: to run it by hand, and to retry one whose runner ended before it began.

A request to run is a file that the command holds locked while it waits. The runner removes the file and writes its
answer into it, which the command reads through its open descriptor. An unlocked file was left by a command that was
killed: it makes no run a manual one, and a sync removes it.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from ..errors import cause
from ..files import StateFileError, make_private_dir, touch, try_lock
from ..hermes.home import Home

ANSWER_BYTES = 4096
"""Size of a request. It is written in advance, so that the runner can answer also when the disk is full."""
UNFINISHED_AGE_S = 60.0
"""The age of a request, still under its temporary name, whose command must have been killed."""
RETRY_INTERVAL_S = 60.0
"""A job whose runner is killed at every start is retried at once at most this often; the regular syncs retry it too."""


class Request:
    """A request to run a job by hand, as the command sees it."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path

    def answer(self) -> dict[str, Any] | None:
        """Return the runner's answer: `begun`, or `elapsed` of the run in progress, or `refused` with the reason."""
        content = os.pread(self._fd, ANSWER_BYTES, 0).strip()
        answer: dict[str, Any] | None = json.loads(content) if content else None
        return answer

    def is_taken(self) -> bool:
        """Return True if a runner has taken the request."""
        return not os.path.exists(self._path)

    def withdraw(self) -> bool:
        """Remove the request; False if a runner has taken it, which then may still run the job."""
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            return False
        return True


class Taken:
    """The requests, possibly none, that a runner has taken and answers together."""

    def __init__(self, fds: list[int]) -> None:
        self._fds = fds

    def __bool__(self) -> bool:
        return bool(self._fds)

    def answer(self, **answer: Any) -> None:
        """Answer every request."""
        content = json.dumps(answer).encode().ljust(ANSWER_BYTES)
        for fd in self._fds:
            with contextlib.suppress(OSError):  # the command finds the run, or gives up; the run goes on
                os.pwrite(fd, content, 0)
            os.close(fd)
        self._fds = []

    def refuse(self, reason: str) -> None:
        """Answer every request with the reason why the run does not begin."""
        self.answer(refused=reason[:300])  # JSON may need twelve bytes for a character


@contextlib.contextmanager
def ask(home: Home, job_id: str) -> Iterator[Request]:
    """Request a manual run of `job_id` until the block ends. Raises StateFileError."""
    folder = home.state.requests
    name = f"{job_id}~{os.urandom(6).hex()}"
    path, unfinished = f"{folder}/{name}", f"{folder}/.{name}"
    fd = -1
    try:
        make_private_dir(folder)
        fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try_lock(fd)
        os.pwrite(fd, b" " * ANSWER_BYTES, 0)
        os.rename(unfinished, path)  # now that it is locked, a runner may find it
    except OSError as error:
        if fd >= 0:
            os.close(fd)
            _remove(unfinished)
        raise StateFileError(f"{folder} cannot be written: {cause(error)} The job was not started.") from error
    try:
        yield Request(fd, path)
    finally:
        _remove(path)
        os.close(fd)


def take(home: Home, job_id: str) -> Taken:
    """Take all requests to run `job_id` whose commands still wait."""
    taken = []
    for path in _paths(home.state.requests):
        if os.path.basename(path).partition("~")[0] == job_id and (fd := _open_held(path)) is not None:
            try:
                os.unlink(path)
                taken.append(fd)
            except OSError:  # another runner was faster
                os.close(fd)
    return Taken(taken)


def request_retry(home: Home, job_id: str) -> bool:
    """Return True if `job_id` may be retried at once, and note that; False if it was within RETRY_INTERVAL_S.

    Raises OSError.
    """
    path = f"{home.state.retries}/{job_id}"
    if _age_s(path) < RETRY_INTERVAL_S:
        return False
    make_private_dir(home.state.retries)
    touch(path)
    return True


def forget(home: Home, job_id: str) -> None:
    """Remove the requests for `job_id`, which is deleted."""
    _remove(f"{home.state.retries}/{job_id}")


def sweep(home: Home) -> None:
    """Remove requests that no command waits for, old retries, and the `due@…` marks of earlier versions."""
    for path in _paths(home.state.requests):
        if os.path.basename(path).startswith(".") and _age_s(path) < UNFINISHED_AGE_S:
            continue  # its command is about to lock it, and this lock would be in the way
        if (fd := _open_held(path)) is None:
            _remove(path)
        else:
            os.close(fd)
    for path in _paths(home.state.retries):
        if _age_s(path) >= RETRY_INTERVAL_S:
            _remove(path)
    for path in _paths(home.state.folder):
        if os.path.basename(path).startswith("due@"):
            _remove(path)


def _paths(folder: str) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]
    except OSError:
        return []


def _open_held(path: str) -> int | None:
    """Open the request at `path`; None if no command holds it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    if not try_lock(fd, shared=True):
        return fd
    os.close(fd)
    return None


def _age_s(path: str) -> float:
    """Return the age of the file at `path` in seconds; infinite if there is none, or if it is of the future."""
    try:
        age = time.time() - os.stat(path).st_mtime
    except OSError:
        return float("inf")
    return age if age >= 0 else float("inf")


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
