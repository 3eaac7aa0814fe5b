"""The processes of a run: those that it leaves behind when it ends, and those that remain when its runner is gone.

systemd ends what remains in the cgroup of a unit. Elsewhere the runner does the same: as a child subreaper it is the
parent of every descendant whose own parent has ended (PR_SET_CHILD_SUBREAPER(2const)). For a fork of the agent worker,
which does not descend from the runner, its waiter is that (in_agent/worker.py).
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from .model import RUN_VARIABLE, Run

PR_SET_CHILD_SUBREAPER = 36
LEFTOVERS_TIMEOUT_S = 30.0
"""The time between SIGTERM and SIGKILL, TimeoutStopSec= of hermes-job@.service."""
KILL_TIMEOUT_S = 5.0
"""The time for which a killed process is waited for."""
POLL_INTERVAL_S = 0.01
MAX_CGROUP_CHARS = 1000

_is_subreaper = False
_spared = set[int]()
"""The children of this process that do not belong to its run."""


def with_process_group(run: Run, group: int, waiter: int = 0) -> Run:
    """Return `run` with the process group `group` of this machine, and the `waiter` of a fork of the agent worker."""
    return run._replace(group=group, boot=_boot_id(), uptime=time.clock_gettime(time.CLOCK_BOOTTIME),
                        cgroup=cgroup_of("self"), waiter=waiter)


@contextlib.contextmanager
def leftovers_ended(run: Run) -> Iterator[list[int]]:
    """After the block, end the processes that `run` has left behind.

    The block gets a list for the waiters of the run. Processes that have moved to another cgroup, as by `systemd-run
    --scope`, and runs that `run` has started stay.
    """
    global _is_subreaper
    _is_subreaper = _become_subreaper()
    if _is_subreaper:
        _spared.update(_children(os.getpid()))  # such as logger(1)
    waiters = list[int]()
    try:
        yield waiters
    finally:
        if _is_subreaper:
            _end_leftovers(run, waiters)
        if not all(os.path.exists(f"/proc/{waiter}") for waiter in waiters):  # what it had adopted is another's now
            kill_leftover_processes(with_process_group(run, 0))


def spare(child: int) -> None:
    """Do not end the process `child` with the run: it serves others too."""
    _spared.add(child)


def reap_adopted(job: int) -> None:
    """Reap the children that have ended, up to `job`, so that those of a long run do not accumulate as zombies."""
    if _is_subreaper:
        with contextlib.suppress(ChildProcessError):  # there is none if the job is a fork of the agent worker
            while (child := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and child.si_pid != job:
                os.waitpid(child.si_pid, 0)


def kill_leftover_processes(run: Run) -> None:
    """Kill the remaining processes of `run`, whose runner is gone. systemd has done so already, and cron never does."""
    if not run.boot or run.boot != _boot_id():
        return
    if run.group > 1 and not _was_reused(run.group, run):
        with contextlib.suppress(OSError):
            os.killpg(run.group, signal.SIGKILL)
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while _kill_marked(run) | _kill_adopted(run) and time.monotonic() < deadline:  # they may have started others
        time.sleep(POLL_INTERVAL_S)


def identity(pid: int) -> str:
    """Return a text that identifies the process `pid` among all of this machine, ever; empty if it is gone."""
    began = _began(pid)
    return f"{_boot_id()}:{pid}:{began}" if began is not None else ""


def is_alive(process: str) -> bool:
    """Return True if the process with that `identity` lives."""
    pid = process.split(":")[1] if process.count(":") == 2 else ""
    return pid.isdecimal() and identity(int(pid)) == process


def cgroup_of(pid: str) -> str:
    """Return the cgroup of `pid` in the hierarchy of systemd, the last in the file (cgroups(7)); empty if unknown."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n").rpartition("\n")[2][:MAX_CGROUP_CHARS]
    except OSError:
        return ""


def _become_subreaper() -> bool:
    """Become a child subreaper; return False if this system cannot do that, or does not show the children."""
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return False
    try:
        import _ctypes  # `ctypes` takes 1 to 5 ms more

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
        return bool(_ctypes.call_function(prctl, (PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0)
    except (ImportError, AttributeError, OSError):
        return False


def _end_leftovers(run: Run, waiters: list[int]) -> None:
    """Send SIGTERM to the leftovers of `run`, and SIGKILL after LEFTOVERS_TIMEOUT_S.

    Only to those that are found twice: a run that was started just now shows its own environment after execve(2).
    """
    kill_at = time.monotonic() + LEFTOVERS_TIMEOUT_S
    found, asked, foreign = set[int](), set[int](), set[int]()
    while left := _leftovers(run, waiters) - foreign:
        must_die = time.monotonic() >= kill_at
        for pid in left & found if must_die else (left & found) - asked:
            asked.add(pid)
            try:
                os.kill(pid, signal.SIGKILL if must_die else signal.SIGTERM)
            except ProcessLookupError:
                pass
            except PermissionError:  # of another account, as by sudo
                foreign.add(pid)
        found = left
        if time.monotonic() > kill_at + KILL_TIMEOUT_S:
            return
        time.sleep(POLL_INTERVAL_S)


def _leftovers(run: Run, waiters: list[int]) -> set[int]:
    """Return the descendants of this process and of `waiters` that belong to `run`, without those of spared ones."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    cgroup = cgroup_of("self")
    own = _descendants(set(_children(os.getpid())) - _spared, cgroup, {run.mark, None})
    return own.union(*(_adopted(waiter, cgroup, run) for waiter in waiters))


def _adopted(waiter: int, cgroup: str, run: Run) -> set[int]:
    """Return the descendants of `waiter` that belong to `run`; a fork without execve(2) shows the worker's mark."""
    return _descendants(set(_children(waiter)), cgroup, {run.mark, None, _mark_of(waiter)})


def _descendants(unseen: set[int], cgroup: str, marks: set[str | None]) -> set[int]:
    """Return those of `unseen`, and of their descendants, that are in `cgroup` and have one of `marks`."""
    found = set[int]()
    while unseen:
        pid = unseen.pop()
        if cgroup_of(str(pid)) == cgroup and _mark_of(pid) in marks:
            found.add(pid)
            unseen |= set(_children(pid)) - found
    return found


def _kill_adopted(run: Run) -> bool:
    """Kill the descendants of the waiter of `run`, if it is alive; return False if there are none."""
    if not run.waiter or _was_reused(run.waiter, run):
        return False
    found = _adopted(run.waiter, run.cgroup, run)
    for pid in found:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return bool(found)


def _kill_marked(run: Run) -> bool:
    """Kill the processes in the cgroup of `run` that have its variable; return False if there are none."""
    found = False
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):  # it has ended, or is not a process
            fd = os.pidfd_open(pid := int(name))  # so the process that is checked is the one that is killed
            try:
                if _mark_of(pid) == run.mark and cgroup_of(name) == run.cgroup:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                    found = True
            finally:
                os.close(fd)
    return found


def _children(pid: int) -> list[int]:
    """Return the children of `pid` (proc_tid_children(5)); none if it has ended. Some may be missing while one ends."""
    found = list[int]()
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found


def _mark_of(pid: int) -> str | None:
    """Return the mark of a run in the environment of `pid`; None if there is none, or if we may not read it."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return None
    prefix = f"{RUN_VARIABLE}=".encode()
    return next((each.removeprefix(prefix).decode("utf-8", "replace") for each in variables
                 if each.startswith(prefix)), None)


def _boot_id() -> str:
    """Return the id of this boot of the machine (random(4)); empty in a sandbox that does not show it."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _was_reused(pid: int, run: Run) -> bool:
    """Return True if the number `pid` belongs to a process that began after that of `run` (`starttime`, proc(5))."""
    began = _began(pid)  # without one its leader is gone, and the rest of the group is the job's
    return began is not None and began / os.sysconf("SC_CLK_TCK") > run.uptime + 0.1


def _began(pid: int) -> int | None:
    """Return when the process `pid` began, in clock ticks since the boot; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except OSError:
        return None
