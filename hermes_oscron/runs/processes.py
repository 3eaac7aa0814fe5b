"""The processes of a run, and those that remain when its runner is gone."""

import contextlib
import os
import signal
import time

from .model import Run


def with_process_group(run: Run, group: int) -> Run:
    """Return `run` with the process group `group` of this machine."""
    return run._replace(group=group, boot=_boot_id(), uptime=time.clock_gettime(time.CLOCK_BOOTTIME))


def kill_leftover_processes(run: Run) -> None:
    """Kill the remaining processes of `run`, whose runner is gone. systemd has done so already, and cron never does."""
    if run.group > 1 and run.boot == _boot_id() and not _pgid_was_reused(run):
        with contextlib.suppress(OSError):
            os.killpg(run.group, signal.SIGKILL)


def _boot_id() -> str:
    """Return the id of this boot of the machine (random(4))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _pgid_was_reused(run: Run) -> bool:
    """Return True if the number of the group belongs to a process that began after it (`starttime`, proc(5))."""
    try:
        with open(f"/proc/{run.group}/stat", "rb") as file:
            began = int(file.read().rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:  # its leader is gone; the rest of the group is the job's
        return False
    return began > run.uptime + 0.1
