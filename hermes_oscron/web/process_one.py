"""The duties of process 1, which `serve` is in a container without an init: to reap orphans, and to end on SIGTERM."""

import contextlib
import os
import signal
import time

ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
END_TIMEOUT_S = 35.0
"""The time for which runs may end after SIGTERM, with that of a runner for what its job has left behind."""
POLL_INTERVAL_S = 0.05


def continue_in_child() -> None:
    """Return in a child if this is process 1, which then ends with the child; else return at once.

    Process 1 gets no signal that it does not handle, and is the parent of every orphan (pid_namespaces(7)).
    """
    if os.getpid() != 1:
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING | {signal.SIGCHLD})
    server = os.fork()
    if server == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return
    os._exit(_wait(server))


def _wait(server: int) -> int:
    """Reap every process until `server` has ended, then end the others; return the exit status of this one."""
    stopped = False
    while True:
        if signal.sigwait(ENDING | {signal.SIGCHLD}) != signal.SIGCHLD:
            stopped = True
            os.kill(server, signal.SIGTERM)
        elif (status := _reap().get(server)) is not None:
            _end_others()
            code = os.waitstatus_to_exitcode(status)
            return 0 if stopped else code if code >= 0 else 128 - code


def _reap() -> dict[int, int]:
    """Reap the children that have ended; return the status of each."""
    reaped: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            reaped[ended[0]] = ended[1]
    return reaped


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _end_others() -> None:
    """Send SIGTERM to all other processes, and wait until the orphans have ended: runners record what they ran."""
    deadline = time.monotonic() + END_TIMEOUT_S
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGTERM)
    while _has_children() and time.monotonic() < deadline:
        _reap()
        time.sleep(POLL_INTERVAL_S)
