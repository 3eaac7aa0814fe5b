"""The CPU time and the memory that a run has used."""

import contextlib
import os
import resource

from ..runs.processes import cgroup_of

CGROUPS = "/sys/fs/cgroup"


def resources_used() -> tuple[float | None, int | None]:
    """Return the seconds of CPU time and the most bytes of memory of this run.

    In a unit of its own they are those of the unit's cgroup, also of a run in a fork of the agent worker (cgroup v2;
    `memory.peak` needs Linux 5.19). Elsewhere they are those of the processes that have ended, and the memory is that
    of the largest one (getrusage(2)).
    """
    if os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid()):
        folder = CGROUPS + cgroup_of("self").partition("::")[2]
        return _cpu_s(folder), _peak_bytes(folder)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(used.ru_utime + used.ru_stime, 6), used.ru_maxrss * 1024


def _cpu_s(folder: str) -> float | None:
    with contextlib.suppress(OSError, ValueError), open(f"{folder}/cpu.stat", encoding="ascii") as file:
        values = dict(line.split() for line in file)
        if "usage_usec" in values:
            return int(values["usage_usec"]) / 1_000_000
    return None


def _peak_bytes(folder: str) -> int | None:
    with contextlib.suppress(OSError, ValueError), open(f"{folder}/memory.peak", encoding="ascii") as file:
        return int(file.read())
    return None
