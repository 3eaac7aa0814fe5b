"""Files of our own and of the agent's: written whole, private to their owner, locked, and read without waiting."""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from .errors import OscronError, cause


def open_regular(path: str, flags: int) -> int:
    """An opener for open() that takes regular files alone: a pipe has no end, nor has /dev/zero. Raises OSError."""
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no regular file", path)
    return fd


TICK_NS, COARSE_TICK_NS = 20_000_000, 2_000_000_000
"""Nanoseconds after which a change of a file has another time than the one before; the kernel's clock for files has
ticks of up to 10 ms (CONFIG_HZ, time(7)), and some file systems keep whole seconds."""

TEMP_NAME = re.compile(r"\..+\.[0-9]+\.tmp")
"""What `write_atomic` writes to first."""

STALE_TEMP_AGE_S = 3600.0
"""Seconds."""

LOCK_TIMEOUT_S = 30.0
"""As long as the agent waits; every holder needs milliseconds."""
LOCK_POLL_INTERVAL_S = 0.003


class StateFileError(OscronError):
    """jobs.json could not be read or written; nothing was changed."""


class Signature(NamedTuple):
    """What changes whenever a file is replaced or rewritten.

    Two changes within one tick of the kernel's clock leave the same times, and the second may have the inode and the
    size of the first. So a file that has just changed is known by its content.
    """

    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int
    content: bytes | None

    @classmethod
    def of(cls, status: os.stat_result, content: bytes | None) -> "Signature":
        return cls(status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, content)


def mtime_is_final(status: os.stat_result, now: int) -> bool:
    """Whether a change from NOW on, in nanoseconds, gives another time than the one that STATUS has."""
    tick = TICK_NS if status.st_ctime_ns % 1_000_000_000 else COARSE_TICK_NS
    return now - status.st_ctime_ns > tick


def file_signature(path: str) -> "Signature | None":
    """Changes whenever the file at PATH does; None without one. Raises StateFileError."""
    now = time.time_ns()
    try:
        status = os.stat(path)
        if mtime_is_final(status, now) or not stat.S_ISREG(status.st_mode):
            return Signature.of(status, None)
        with open(path, "rb", opener=open_regular) as file:
            return Signature.of(status, file.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateFileError(f"{path} cannot be read: {cause(error)}") from error


def make_private_dir(path: str) -> None:
    """Make the folder PATH, and those above it that are missing, for its owner alone."""
    path, missing = os.path.abspath(path), list[str]()
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            continue


def write_atomic(path: str, content: bytes, mode: int = 0o600) -> None:
    """Replace the file at `path` by `content`: a crash or a full disk at any instant leaves the old file or the new.

    Raises OSError, which names `path`.
    """
    try:
        _replace(os.path.realpath(path), content, mode)
    except OSError as error:  # that of write(2) names no file, and that of open(2) the temporary one
        raise OSError(error.errno, error.strerror, path) from error


def _replace(path: str, content: bytes, mode: int) -> None:
    folder, name = os.path.split(path)
    temp_path = f"{folder}/.{name}.{os.getpid()}.tmp"
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # now: no refusal after the rename
    try:
        fd = os.open(temp_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, mode)  # whatever the umask is
                file.write(content)
                file.flush()
                os.fsync(fd)
            os.rename(temp_path, f"{folder}/{name}")
        except BaseException:
            os.unlink(temp_path)
            raise
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)


def remove_stale_temp_files(folder: str, now: float) -> None:
    """Remove from FOLDER what a `write_atomic` that was killed long before NOW, a unix time, has left there."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if TEMP_NAME.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < now - STALE_TEMP_AGE_S:
                os.unlink(entry.path)


@contextmanager
def locked(path: str, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold the lock file `path`, which is created if it is missing. Raises StateFileError after `timeout_s`."""
    try:
        make_private_dir(os.path.dirname(path))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateFileError(f"{path} cannot be opened: {cause(error)}") from error
    try:
        wait_for_lock(fd, path, timeout_s)
        yield
    finally:
        os.close(fd)


def wait_for_lock(fd: int, path: str, timeout_s: float = LOCK_TIMEOUT_S) -> None:
    """Lock `fd`, which is `path` opened, exclusively. Raises StateFileError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not try_lock(fd):
        if time.monotonic() > deadline:
            raise StateFileError(f"{path} has been locked by another process for {timeout_s:.0f} s; "
                                 f"'fuser {path}' shows which.")
        time.sleep(LOCK_POLL_INTERVAL_S)


def try_lock(fd: int, shared: bool = False) -> bool:
    """Lock `fd`, and return True, unless another process holds a lock that excludes it (flock(2))."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
