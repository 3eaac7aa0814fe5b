"""Runs under way. A run is a file in the profile's runs folder and the flock its runner holds on it.

The lock, not the file, says that a job is running: it ends with the process, however that ends. A file that nobody
holds is a run that was interrupted, and stays until someone has recorded it.
"""

import contextlib
import errno
import fcntl
import json
import os
import signal
import stat
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from .homes import NAME, Home
from .store import is_settled, make_private_dir

CLAIM_PATIENCE = 0.3
"""Seconds: those who only look hold the lock for microseconds; a run holds it for longer than this."""
PART_BYTES = 4096
"""Size of each of the two parts of a run's file: the run, padded with blanks, and behind it the place of its result.
That is allocated before the job starts, so that a result can be written on a disk that is full by then. A block of its
own, because btrfs allocates again for all but the first write to one."""

_empty: dict[str, tuple[int, int, int]] = {}
"""Folders of runs in which there was none, by path, and what they were then."""


class Result(NamedTuple):
    """How a run ended, at the unix time `ended_at`: `error` is a sentence, None when it went well.

    Of a run `by_agent` it counts only where the agent has not recorded the run itself.
    """

    ended_at: float
    error: str | None
    delivery_error: str | None = None
    by_agent: bool = False


class Run(NamedTuple):
    """One run: `started_at` is a unix time, `trigger` says who wanted it: `schedule` or `manual`.

    `group` is the job's process group on the machine while `boot` is its boot id; it was there `uptime` seconds after
    that boot (CLOCK_BOOTTIME, clock_gettime(2)). `result` is None until the run has ended.
    """

    job_id: str
    started_at: float
    trigger: str
    group: int = 0
    boot: str = ""
    uptime: float = 0.0
    result: Result | None = None


class Claim:
    """The right to run a job, held until it is released or the process ends."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self.path = path

    def left_behind(self) -> Run | None:
        """The run that held this claim before and never released it; None where there was none."""
        content = os.pread(self._fd, 2 * PART_BYTES, 0)
        return _parse(os.path.basename(self.path), content, os.fstat(self._fd).st_mtime) if content else None

    def begin(self, run: Run) -> None:
        """Write into the file what is running, and allocate the place of its result. Raises OSError."""
        with self._named_in_errors():
            self._write({**run._asdict(), "pid": os.getpid(), "result": None}, 0)
            try:
                os.posix_fallocate(self._fd, PART_BYTES, PART_BYTES)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:  # posix_fallocate(3): a C library need not emulate it
                    raise

    def end(self, run: Run, result: Result) -> None:
        """Put on the disk how `run` ended; an error that is too long is cut. Raises OSError."""
        while len(_encoded(said := {**result._asdict(), "started_at": run.started_at})) > PART_BYTES and result.error:
            result = result._replace(error=result.error[:len(result.error) * 3 // 4])
        with self._named_in_errors():
            self._write(said, PART_BYTES)
            os.fdatasync(self._fd)

    def _write(self, said: dict[str, Any], place: int) -> None:
        content = _encoded(said)
        if os.pwrite(self._fd, content, place) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextlib.contextmanager
    def _named_in_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from error

    def is_forgotten(self) -> bool:
        """Whether its job was deleted since."""
        return not _is_at(self._fd, self.path)

    def abandon(self) -> None:
        """Let go of the run without having recorded it; the next to look will."""
        os.close(self._fd)

    def release(self) -> None:
        """The run is over and recorded."""
        if not self.is_forgotten():
            os.unlink(self.path)
        os.close(self._fd)


def forget(home: Home, job_id: str) -> None:
    """Have the run of JOB_ID, which is deleted, count no more and leave nothing behind when it ends."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{home.runs_dir}/{job_id}")


def claim(home: Home, job_id: str) -> Claim | None:
    """The right to run JOB_ID, or None while someone has it."""
    path = f"{home.runs_dir}/{job_id}"
    make_private_dir(home.runs_dir)
    deadline = time.monotonic() + CLAIM_PATIENCE
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if _lock(fd, fcntl.LOCK_EX) and _is_at(fd, path):
            return Claim(fd, path)
        os.close(fd)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.01)


def boot_id() -> str:
    """What tells this boot of the machine from every other (random(4))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def with_group(run: Run, group: int) -> Run:
    """RUN, whose job is the process group GROUP of this machine."""
    return run._replace(group=group, boot=boot_id(), uptime=time.clock_gettime(time.CLOCK_BOOTTIME))


def end_processes(run: Run) -> None:
    """End what is left of the job of RUN, whose runner is gone; systemd has ended it, and cron ends nothing.

    No other group has its number in the same boot, while a process of it is left.
    """
    if run.group > 1 and run.boot == boot_id() and not _is_anothers(run):
        with contextlib.suppress(OSError):
            os.killpg(run.group, signal.SIGKILL)


def _is_anothers(run: Run) -> bool:
    """Whether the number of RUN's group has been given to a process that began after it (`starttime`, proc(5))."""
    try:
        with open(f"/proc/{run.group}/stat", "rb") as file:
            began = int(file.read().rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:  # its leader is gone; who is left of the group is the job's
        return False
    return began > run.uptime + 0.1


def running(home: Home) -> dict[str, Run]:
    """The runs under way in HOME, by job id."""
    return {run.job_id: run for run, held in _all(home) if held}


def interrupted(home: Home) -> list[Run]:
    """The runs whose runner is gone without having recorded their end."""
    return [run for run, held in _all(home) if not held]


def find(home: Home, job_id: str) -> Run | None:
    """The run of JOB_ID that is under way, or None."""
    seen = _look(home, job_id)
    return seen[0] if seen and seen[1] else None


def _all(home: Home) -> list[tuple[Run, bool]]:
    now = time.time_ns()
    try:
        status = os.stat(home.runs_dir)
        folder = (status.st_dev, status.st_ino, status.st_ctime_ns)
        if _empty.get(home.runs_dir) == folder:
            return []
        names = os.listdir(home.runs_dir)
    except OSError:  # none yet, or a home that is not ours to read, which reading its jobs will tell
        return []
    if not names and is_settled(status, now):
        _empty[home.runs_dir] = folder
    return [seen for name in sorted(names) if NAME.fullmatch(name) and (seen := _look(home, name))]


def _look(home: Home, job_id: str) -> tuple[Run, bool] | None:
    """The run in the file of JOB_ID and whether someone holds it."""
    path = f"{home.runs_dir}/{job_id}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        held = not _lock(fd, fcntl.LOCK_SH)
        if not held and not _is_at(fd, path):
            return None
        begun = os.fstat(fd).st_mtime
        content = os.read(fd, 2 * PART_BYTES)
    finally:
        os.close(fd)
    return _parse(job_id, content, begun), held


def _encoded(said: dict[str, Any]) -> bytes:
    return json.dumps(said).encode().ljust(PART_BYTES)


def _parse(job_id: str, content: bytes, begun: float) -> Run:
    """The run that CONTENT tells of; without a word of it, one that was claimed at BEGUN (unix time)."""
    try:
        said = json.loads(content[:PART_BYTES])
        started_at = _unix_time(said["started_at"])
        return Run(job_id, started_at, str(said["trigger"]), int(said.get("group", 0)), str(said.get("boot", "")),
                   float(said.get("uptime", 0)), _result(content[PART_BYTES:], started_at))
    except (ValueError, KeyError, TypeError):
        return Run(job_id, begun, "schedule")


def _result(content: bytes, started_at: float) -> Result | None:
    """The result in CONTENT, of the run that began at STARTED_AT; None where there is none, or one of another run."""
    try:
        said = json.loads(content)
        if said["started_at"] != started_at:
            return None
        error, delivery_error = (str(said[key]) if said[key] is not None else None
                                 for key in ("error", "delivery_error"))
        return Result(_unix_time(said["ended_at"]), error, delivery_error, bool(said["by_agent"]))
    except (ValueError, KeyError, TypeError):
        return None


def _unix_time(value: Any) -> float:
    """VALUE as a time that a date can hold. Raises ValueError, TypeError."""
    if not 0 <= (moment := float(value)) < 200e9:
        raise ValueError(value)
    return moment


def _lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: str) -> bool:
    """Whether PATH is still the file FD was opened on."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
