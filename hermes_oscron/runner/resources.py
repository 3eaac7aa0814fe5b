"""The CPU time and the memory that a run uses, and the limits of these."""

import contextlib
import os
import resource
from collections.abc import Callable

from ..runs.processes import cgroup_of

CGROUPS = "/sys/fs/cgroup"


def resources_used() -> tuple[float | None, int | None]:
    """Return the seconds of CPU time and the most bytes of memory of this run.

    In a unit of its own they are those of the unit's cgroup, also of a run in a fork of the agent worker (cgroup v2;
    `memory.peak` needs Linux 5.19). Elsewhere they are those of the processes that have ended, and the memory is that
    of the largest one (getrusage(2)).
    """
    if in_unit():
        return _cpu_s(_cgroup()), _peak_bytes(_cgroup())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(used.ru_utime + used.ru_stime, 6), used.ru_maxrss * 1024


def _cgroup() -> str:
    return CGROUPS + cgroup_of("self").partition("::")[2]


def in_unit() -> bool:
    """Return True if this process is the main one of a unit of systemd (systemd.exec(5))."""
    return os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())


def is_limited() -> bool:
    """Return True if the cgroup of this unit limits its memory; that needs cgroup v2 and its controller for memory."""
    with contextlib.suppress(OSError), open(f"{_cgroup()}/memory.max", encoding="ascii") as file:
        return in_unit() and file.read().strip() != "max"
    return False


def apply_limits(nice: int, memory_max: int) -> Callable[[], None] | None:
    """Make this process and its children as `nice`; return what limits the memory of a child before it begins, if any.

    In a unit, its cgroup may limit the memory of all processes together. Elsewhere each has a limit of its own, for its
    address space (RLIMIT_AS, setrlimit(2)).
    """
    if os.getpriority(os.PRIO_PROCESS, 0) < nice:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    if not memory_max or is_limited():
        return None
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (memory_max, memory_max))


def out_of_memory(memory_max: int) -> str | None:
    """Return the sentence for a run that the kernel has killed at its limit; None if it has not, or not in a unit."""
    if is_limited() and _value_in(f"{_cgroup()}/memory.events", "oom_kill"):
        return f"killed by the kernel: it needed more memory than its memory_max of {memory_max // 1024**2} MiB."
    return None


def _cpu_s(folder: str) -> float | None:
    used = _value_in(f"{folder}/cpu.stat", "usage_usec")
    return None if used is None else used / 1_000_000


def _value_in(path: str, name: str) -> int | None:
    """Return the number after `name` in a file of a cgroup; None if there is none."""
    with contextlib.suppress(OSError, ValueError, KeyError), open(path, encoding="ascii") as file:
        return int(dict(line.split() for line in file)[name])
    return None


def _peak_bytes(folder: str) -> int | None:
    with contextlib.suppress(OSError, ValueError), open(f"{folder}/memory.peak", encoding="ascii") as file:
        return int(file.read())
    return None
