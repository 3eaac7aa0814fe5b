"""Our own files and the agent's: written atomically, private to their owner, locked, and read without blocking."""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, NamedTuple

from .errors import OscronError, cause


def open_regular(path: str, flags: int) -> int:
    """Open regular files only, for use as `opener` of open(): a pipe or /dev/zero never ends. Raises OSError."""
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return fd


TICK_NS, COARSE_TICK_NS = 20_000_000, 2_000_000_000
"""The time after which a change of a file is sure to get another timestamp than the change before.

The kernel's clock for files has ticks of up to 10 ms (CONFIG_HZ, time(7)), and some file systems store whole seconds.
"""

TEMP_NAME = r"\..+\.[0-9]+\.tmp"
"""The temporary files of `write_atomic`. A pattern that is compiled here costs the start of each job 0.2 ms."""

STALE_TEMP_AGE_S = 3600.0
MOUNTED = (errno.EBUSY, errno.EXDEV)
"""The errors of rename(2) for a file that is a mount itself."""

LOCK_TIMEOUT_S = 30.0
"""The agent waits as long. Every holder needs only milliseconds."""
LOCK_POLL_INTERVAL_S, MAX_LOCK_POLL_INTERVAL_S = 0.003, 0.1
"""The limits of the time between two tries, a tenth of the wait so far: hundreds of runs may wait for one lock."""


class StateFileError(OscronError):
    """A state file, such as jobs.json, could not be read, written or locked; nothing was changed."""


class Signature(NamedTuple):
    """An identity of a file's content: it changes whenever the file is replaced or rewritten.

    Two changes within one tick of the kernel's clock leave the same times, and the second may have the inode and the
    size of the first. So a file that has just changed is identified by its content.
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
    """Return True if a change from `now` on (nanoseconds) gives another time than the one in `status`."""
    tick = TICK_NS if status.st_ctime_ns % 1_000_000_000 else COARSE_TICK_NS
    return now - status.st_ctime_ns > tick


def file_signature(path: str) -> "Signature | None":
    """Return a value that changes whenever the file at `path` does; None if there is no file. Raises StateFileError."""
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
    """Create the folder `path`, and missing ones above it, for their owner only."""
    path, missing = os.path.abspath(path), list[str]()
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            continue


def create_database(path: str) -> None:
    """Create the private file of an SQLite database, if it is missing. Raises OSError.

    A file that exists is not opened: to close it would end the locks that other threads of this process have on it
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def link(path: str, other: str) -> None:
    """Give the file at `path` the second name `other`, also on a disk that is full. Raises OSError."""
    make_private_dir(os.path.dirname(other))
    with suppress(FileExistsError):
        os.link(path, other)


def remove_damaged(database: str) -> None:
    """Move the damaged SQLite `database` to `*.damaged`, with its journal, to be inspected. Raises OSError."""
    for suffix in ("", "-journal"):
        with suppress(FileNotFoundError):
            os.rename(f"{database}{suffix}", f"{database}.damaged{suffix}")


def mtime(path: str) -> float | None:
    """Return when the file at `path` was last written, in unix seconds; None if that cannot be found out."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def touch(path: str) -> None:
    """Create the file `path` if it is missing, and set its time to now. Raises OSError, also if it is a link."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))
    os.utime(path)


def write_atomic(path: str, content: bytes, mode: int = 0o600) -> None:
    """Replace the file at `path` by `content`: a crash or a full disk at any instant leaves the old file or the new.

    Raises OSError, which names `path`.
    """
    try:
        _replace(os.path.realpath(path), content, mode)
    except OSError as error:  # the error of write(2) has no file name, and that of open(2) the temporary one
        raise OSError(error.errno, error.strerror, path) from error


def _replace(path: str, content: bytes, mode: int) -> None:
    folder, name = os.path.split(path)
    temp_path = f"{folder}/.{name}.{os.getpid()}.tmp"
    # before the rename, after which nothing must fail
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = os.open(temp_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, mode)  # regardless of the umask
                file.write(content)
                file.flush()
                _set_exact_time(fd)
                os.fsync(fd)
            try:
                os.rename(temp_path, path)
            except OSError as error:
                if error.errno not in MOUNTED:
                    raise
                _overwrite(path, content, temp_path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temp_path)
            raise
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)


def unfinished(path: str) -> str:
    """Return the path of the content that the file at `path` gets while it is overwritten."""
    return f"{path}.unfinished"


def _overwrite(path: str, content: bytes, temp_path: str) -> None:
    """Write `content`, which is in the file `temp_path` too, over the file at `path`; if that fails, restore it.

    A file that is mounted alone, as into a container, cannot be replaced. The agent overwrites it too. After a crash
    the whole content is in the file `unfinished`.
    """
    with open(path, "r+b", opener=open_regular) as file:
        before = file.read()
        os.rename(temp_path, unfinished(path))
        try:
            _write_over(file, content)
        except OSError:
            _write_over(file, before)
            os.rename(unfinished(path), temp_path)
            raise
    os.unlink(unfinished(path))


def _write_over(file: BinaryIO, content: bytes) -> None:
    file.seek(0)
    file.write(content)
    file.truncate()
    file.flush()
    _set_exact_time(file.fileno())
    os.fsync(file.fileno())


def _set_exact_time(fd: int) -> None:
    """Give the file `fd` the time to the nanosecond, which no other change within the kernel's tick gets."""
    now = time.time_ns()
    with suppress(PermissionError):  # only its owner may set the time of a file
        os.utime(fd, ns=(now, now))


def sync_folder(path: str) -> None:
    """Write the names of the files in the folder `path` to the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_stale_temp_files(folder: str, now: float) -> None:
    """Remove temporary files that a killed `write_atomic` left in `folder` long before `now`, a unix time."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (re.fullmatch(TEMP_NAME, entry.name)
                    and entry.stat(follow_symlinks=False).st_mtime < now - STALE_TEMP_AGE_S):
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
    began = time.monotonic()
    while not try_lock(fd):
        waited = time.monotonic() - began
        if waited > timeout_s:
            raise StateFileError(f"{path} has been locked by another process for {timeout_s:.0f} s; "
                                 f"'fuser {path}' shows which.")
        time.sleep(min(max(waited / 10, LOCK_POLL_INTERVAL_S), MAX_LOCK_POLL_INTERVAL_S))


def wait_until_unlocked(fd: int) -> None:
    """Wait until no process holds an exclusive lock on `fd`, however long that takes."""
    fcntl.flock(fd, fcntl.LOCK_SH)


def try_lock(fd: int, shared: bool = False) -> bool:
    """Lock `fd`, and return True, unless another process holds a lock that excludes it (flock(2))."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
