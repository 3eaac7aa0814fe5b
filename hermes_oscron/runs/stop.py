"""Stop a run in progress: its runner ends the processes of the job, and the run as failed."""

import contextlib
import json
import os
import signal
import time

from ..files import try_lock
from ..hermes.home import Home
from . import lock

STOP_TIMEOUT_S = 15.0
"""The runner kills what has not ended 10 s after SIGTERM."""
POLL_INTERVAL_S = 0.02


class RunInProgress:
    """A run in progress or `queued`. It is found by the open file of the run, so also after the file was removed."""

    def __init__(self, fd: int, elapsed_s: float, queued: bool) -> None:
        self._fd = fd
        self.elapsed_s = elapsed_s
        self.queued = queued

    def stop(self) -> bool:
        """Send SIGTERM to the runner, and wait for its end. Return False if it has not ended after STOP_TIMEOUT_S."""
        deadline = time.monotonic() + STOP_TIMEOUT_S
        with contextlib.suppress(ProcessLookupError):
            runner = os.pidfd_open(self._runner())
            try:
                if not self._has_ended():  # so the process is the runner, and no later one with its number
                    signal.pidfd_send_signal(runner, signal.SIGTERM)
            finally:
                os.close(runner)
        while not self._has_ended():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_INTERVAL_S)
        return True

    def close(self) -> None:
        os.close(self._fd)

    def _runner(self) -> int:
        """Return the process of the runner. Raises ProcessLookupError if the run has not begun."""
        try:
            return int(json.loads(os.pread(self._fd, lock.PART_BYTES, 0))["pid"])
        except (ValueError, KeyError, TypeError):
            raise ProcessLookupError from None

    def _has_ended(self) -> bool:
        """Return True if the runner no longer holds the lock of the run."""
        fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)  # a lock belongs to an open file
        try:
            return try_lock(fd, shared=True)
        finally:
            os.close(fd)


def find(home: Home, job_id: str) -> RunInProgress | None:
    """Return the run of `job_id` that is in progress or queued, or None."""
    try:
        fd = os.open(f"{home.state.runs}/{job_id}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    run = lock.find(home, job_id)
    if run is None:
        os.close(fd)
        return None
    return RunInProgress(fd, max(0.0, time.time() - run.started_at), run.queued)
