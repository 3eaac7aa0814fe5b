"""The lock of a run: a file in the profile's runs folder, and the flock that the runner holds on it.

The lock, not the file, means that a job is running, because it ends with the process, however that ends. An unlocked
file belongs to a run that ended unrecorded; it stays until the run is recorded.
"""

import contextlib
import errno
import json
import os
import stat
import time
from collections.abc import Iterator
from typing import Any

from ..files import link, make_private_dir, mtime_is_final, open_regular, sync_folder, try_lock
from ..hermes.home import SAFE_NAME, Home
from .model import SCHEDULE, Result, Run

LOCK_TIMEOUT_S = 0.3
"""A process that only looks holds the lock for microseconds, and a run holds it for longer than this."""
RECORDING_TIMEOUT_S = 10.0
"""The time to wait for a process that records a run which was cut off. It may itself wait for the lock of jobs.json."""
PART_BYTES = 4096
"""Size of each of the two parts of a run's file: the run, padded with blanks, and behind it the place of its result.

The result's place is allocated before the job starts, so that it can be written on a disk that is full by then. It is a
block of its own, because btrfs allocates again for every write to a block after the first.
"""
ENDED = b"\n"
"""The last byte of the first part while the holder of the lock only records the run; otherwise it is a blank."""

_known_empty: dict[str, tuple[int, int, int]] = {}
"""Runs folders that were empty, by path, with the state of the folder at that time."""


class RunLock:
    """The right to run a job, held until it is released or the process ends."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self.path = path

    def stale_run(self) -> Run | None:
        """Return the run that held this lock before and was never recorded, or was queued; None if there is none."""
        content = os.pread(self._fd, 2 * PART_BYTES, 0)
        return _parse(os.path.basename(self.path), content, os.fstat(self._fd).st_mtime) if content else None

    def mark_ended(self) -> None:
        """Show that the run in the file has ended, and that this process only records it."""
        if os.pread(self._fd, 1, PART_BYTES - 1):
            with contextlib.suppress(OSError):  # then it is shown as running until it is recorded
                os.pwrite(self._fd, ENDED, PART_BYTES - 1)

    def write(self, run: Run, durable: bool = False) -> None:
        """Write `run` into the file, and allocate the place of its result. Raises OSError.

        If `durable`, the file is on the disk when this returns.
        """
        with self._named_in_errors():
            self._write({**run._asdict(), "pid": os.getpid(), "result": None}, 0)
            try:
                os.posix_fallocate(self._fd, PART_BYTES, PART_BYTES)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:  # posix_fallocate(3): a C library need not emulate it
                    raise
            if durable:
                os.fsync(self._fd)
                sync_folder(os.path.dirname(self.path))

    def write_result(self, run: Run, result: Result) -> None:
        """Write `result` of `run` to the disk; a long error is cut. Raises OSError."""
        while len(_encode(fields := {**result._asdict(), "started_at": run.started_at})) > PART_BYTES and result.error:
            result = result._replace(error=result.error[:len(result.error) * 3 // 4])
        with self._named_in_errors():
            self._write(fields, PART_BYTES)
            os.fdatasync(self._fd)

    def job_deleted(self) -> bool:
        """Return True if the job was deleted since the lock was taken."""
        return not _is_same_file(self._fd, self.path)

    def close(self) -> None:
        """Release the lock without having recorded the run; the next sync or runner records it."""
        os.close(self._fd)

    def release(self) -> None:
        """Release the lock of a run that is recorded."""
        if not self.job_deleted():
            os.unlink(self.path)
        os.close(self._fd)

    def _write(self, fields: dict[str, Any], offset: int) -> None:
        content = _encode(fields)
        if os.pwrite(self._fd, content, offset) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextlib.contextmanager
    def _named_in_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from error


def detach_run(home: Home, job_id: str) -> None:
    """Detach the running process of a deleted job, so that its result is discarded."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{home.state.runs}/{job_id}")


def keep_unentered(home: Home, run: Run, result: Result) -> None:
    """Keep the file of `run`, which is recorded with `result`, until the run is in the ledger."""
    path = f"{home.state.unentered}/{run.job_id}@{run.started_at!r}"
    with contextlib.suppress(OSError):  # the job was deleted, and the file with it
        link(f"{home.state.runs}/{run.job_id}", path)
    with contextlib.suppress(OSError):  # then the ledger has only what can be found out later
        kept = RunLock(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), path)
        with contextlib.closing(kept):
            if not os.path.getsize(path):
                kept.write(run)
            kept.write_result(run, result)


def unentered(home: Home) -> dict[str, Run]:
    """Return the recorded runs of `home` that are not in the ledger, by the paths of their files."""
    runs = {}
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(home.state.unentered)):
            path = f"{home.state.unentered}/{name}"
            with contextlib.suppress(OSError), open(path, "rb", opener=open_regular) as file:
                modified = os.fstat(file.fileno()).st_mtime
                runs[path] = _parse(name.rpartition("@")[0], file.read(2 * PART_BYTES), modified)
    return runs


def acquire(home: Home, job_id: str) -> RunLock | None:
    """Return the right to run `job_id`, or None if another process keeps it. Raises OSError.

    It waits for a process that only looks, or that records an earlier run.
    """
    path = f"{home.state.runs}/{job_id}"
    make_private_dir(home.state.runs)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if try_lock(fd) and _is_same_file(fd, path):
            return RunLock(fd, path)
        longer_s = RECORDING_TIMEOUT_S if _only_recorded(fd) else 0
        os.close(fd)
        if time.monotonic() > deadline + longer_s:
            return None
        time.sleep(0.01)


def running(home: Home) -> dict[str, Run]:
    """Return the runs in progress in `home`, also those that are queued, by job id."""
    return {run.job_id: run for run, in_progress, _ in _all_runs(home) if in_progress}


def unrecorded(home: Home) -> list[Run]:
    """Return the runs of `home` whose runner is gone without having recorded them."""
    return [run for run, in_progress, begun in _all_runs(home) if begun and not in_progress]


def abandoned(home: Home) -> list[str]:
    """Return the jobs with the file of a run that is not in progress, also of one that never began."""
    return [run.job_id for run, in_progress, _ in _all_runs(home) if not in_progress]


def find(home: Home, job_id: str) -> Run | None:
    """Return the run of `job_id` that is in progress or queued, or None."""
    found = _read_run(home, job_id)
    return found[0] if found and found[1] else None


def left_queued(home: Home, job_id: str) -> Run | None:
    """Return the run of `job_id` that was queued when its runner ended, or None."""
    found = _read_run(home, job_id)
    return found[0] if found and found[0].queued and not found[1] else None


def _all_runs(home: Home) -> list[tuple[Run, bool, bool]]:
    """Return every run that has a file, as `_read_run` does."""
    now = time.time_ns()
    try:
        status = os.stat(home.state.runs)
        folder = (status.st_dev, status.st_ino, status.st_ctime_ns)
        if _known_empty.get(home.state.runs) == folder:
            return []
        names = os.listdir(home.state.runs)
    except OSError:  # it is missing, or we may not read it, which reading the jobs will report
        return []
    if not names and mtime_is_final(status, now):
        _known_empty[home.state.runs] = folder
    return [found for name in sorted(names) if SAFE_NAME.fullmatch(name) and (found := _read_run(home, name))]


def _read_run(home: Home, job_id: str) -> tuple[Run, bool, bool] | None:
    """Return the run in the file of `job_id`, whether it is in progress, and whether it has begun.

    Without content no run has begun: a runner creates the file before it locks it, and may be killed in between.
    """
    path = f"{home.state.runs}/{job_id}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        locked = not try_lock(fd, shared=True)
        if not locked and not _is_same_file(fd, path):
            return None
        modified = os.fstat(fd).st_mtime
        content = os.read(fd, 2 * PART_BYTES)
        in_progress = locked and not _only_recorded(fd)
    finally:
        os.close(fd)
    run = _parse(job_id, content, modified)
    return run, in_progress, bool(content) and not run.queued


def _only_recorded(fd: int) -> bool:
    """Return True if the holder of the lock on `fd` only records the run (`RunLock.mark_ended`)."""
    return os.pread(fd, 1, PART_BYTES - 1) == ENDED


def _encode(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode().ljust(PART_BYTES)


def _parse(job_id: str, content: bytes, modified: float) -> Run:
    """Return the run in `content`; if that is damaged, one that began at the unix time `modified`."""
    try:
        fields = json.loads(content[:PART_BYTES])
        started_at = _unix_time(fields["started_at"])
        return Run(job_id, started_at, str(fields["trigger"]), int(fields.get("group", 0)),
                   str(fields.get("boot", "")), float(fields.get("uptime", 0)),
                   _parse_result(content[PART_BYTES:], started_at), str(fields.get("cgroup", "")),
                   bool(fields.get("queued")), float(fields.get("due", 0)), float(fields.get("queued_at", 0)),
                   int(fields.get("waiter", 0)), int(fields.get("retry", 0)),
                   *(str(fields.get(key, "")) for key in ("slurm", "node", "slurm_job")))
    except (ValueError, KeyError, TypeError):
        return Run(job_id, modified, SCHEDULE)


def _parse_result(content: bytes, started_at: float) -> Result | None:
    """Return the result in `content`; None if there is none, or one of a run that began at another time."""
    try:
        fields = json.loads(content)
        if fields["started_at"] != started_at:
            return None
        error, delivery_error = (str(fields[key]) if fields[key] is not None else None
                                 for key in ("error", "delivery_error"))
        code, cpu_s, memory = (fields.get(key) for key in ("code", "cpu_s", "memory_bytes"))
        return Result(_unix_time(fields["ended_at"]), error, delivery_error, bool(fields["by_agent"]),
                      int(code) if code is not None else None, float(cpu_s) if cpu_s is not None else None,
                      int(memory) if memory is not None else None, str(fields.get("output", "")),
                      str(fields.get("outcome", "")))
    except (ValueError, KeyError, TypeError):
        return None


def _unix_time(value: Any) -> float:
    """Return `value` as a time that a date can hold. Raises ValueError, TypeError."""
    if not 0 <= (moment := float(value)) < 200e9:
        raise ValueError(value)
    return moment


def _is_same_file(fd: int, path: str) -> bool:
    """Return True if `path` is still the file that `fd` was opened on."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
