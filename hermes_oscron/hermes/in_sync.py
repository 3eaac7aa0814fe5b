"""The files with which the armed jobs agree, so that a change that we made and armed ourselves starts no sync.

The record has a line for each watched file that exists: its path, inode, size, and the times of its content and status,
as stat(1) prints them. hermes-oscron-sync.service compares it with the files when a change was noticed, and starts no
Python if they are the same. A line that is missing, torn or outdated causes a sync, and no more than that, so the
record is written without a lock and not forced to the disk.
"""

import os
from contextlib import suppress

from ..files import mtime_is_final, open_regular
from ..state import State
from .home import Home

WATCHED = ("cron/jobs.json", "config.yaml", "ESTOP", ".env")
"""The files of each home, as the units watch them."""
MAX_RECORD_CHARS = 1_000_000


def identity(path: str) -> str | None:
    """Return the line of the file at `path`, which this process has written.

    None if there is no file, or if its file system stores times in whole seconds: another write would have the same.
    """
    status = _status(path)
    return _line(path, status) if status and status.st_mtime_ns % 1_000_000_000 else None


def snapshot(root: str, now_ns: int) -> list[str]:
    """Return the lines of all watched files of `root` at the unix time `now_ns`.

    A file that has just changed is left out: another change could leave it with the same times.
    """
    found = [(path, status) for path in _watched(root) if (status := _status(path))]
    return [_line(path, status) for path, status in found if mtime_is_final(status, now_ns)]


def store(root: str, lines: list[str]) -> None:
    """Store that the armed jobs agree with `lines`, a snapshot. Does nothing on a disk that cannot be written."""
    with suppress(OSError):
        _write(State(root).in_sync, lines)


def forget(root: str) -> None:
    """Store that the armed jobs may agree with no file."""
    store(root, [])


def follow(home: Home, before: str | None, after: str | None) -> None:
    """Store that the armed jobs agree with the jobs.json of `home` after a write, if they agreed with it before."""
    record = State(home.root).in_sync
    lines = _read(record)
    if before and after and before in lines:
        lines[lines.index(before)] = after
        with suppress(OSError):
            _write(record, lines)


def _watched(root: str) -> list[str]:
    """Return the watched paths of `root`, in the order of the unit."""
    try:
        profiles = sorted(os.fsencode(name) for name in os.listdir(f"{root}/profiles") if name[0] != ".")
    except OSError:
        profiles = []
    homes = [root, *(f"{root}/profiles/{os.fsdecode(name)}" for name in profiles)]
    return ["/etc/localtime", f"{root}/oscron.toml", f"{root}/profiles",
            *(f"{home}/{name}" for name in WATCHED for home in homes)]


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _line(path: str, status: os.stat_result) -> str:
    times = (f"{ns // 1_000_000_000}.{ns % 1_000_000_000:09d}" for ns in (status.st_mtime_ns, status.st_ctime_ns))
    return " ".join((path, str(status.st_ino), str(status.st_size), *times))


def _read(record: str) -> list[str]:
    try:
        with open(record, encoding="utf-8", errors="surrogateescape", opener=open_regular) as file:
            return file.read(MAX_RECORD_CHARS).split("\n")
    except OSError:
        return []


def _write(record: str, lines: list[str]) -> None:
    fd = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write("".join(f"{line}\n" for line in lines if line).encode("utf-8", "surrogateescape"))
