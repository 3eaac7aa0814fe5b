"""The start of a manual run: the command waits until the runner has answered its request."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ..clock import Clock
from ..runs import requests
from ..runs.model import Run
from ..schedulers.protocol import EndOfStart

START_TIMEOUT_S, START_POLL_INTERVAL_S, UNIT_POLL_INTERVAL_S = 15.0, 0.01, 0.2
"""The time in which a requested run must begin, and the intervals at which its answer and its unit are read."""


class Progress(NamedTuple):
    """A run that began, or is `queued`, since `elapsed` seconds, with one decimal; on a cluster, where it is."""

    elapsed: float
    queued: bool
    node: str = ""
    cluster_job: str = ""

    @property
    def state(self) -> str:
        """The word for people: "queued" or "running"."""
        return "queued" if self.queued else "running"

    @property
    def place(self) -> str:
        """The words for people, such as " on n1 (job 7 of Slurm)"; empty for a run on this machine."""
        return f" on {self.node} (job {self.cluster_job} of Slurm)" if self.node else ""


def wait_until_started(request: requests.Request, end_of_start: EndOfStart, running: Callable[[], Run | None],
                       clock: Clock) -> dict[str, Any]:
    """Return the runner's answer to `request`, or `refused` with the reason. Raises SchedulerError.

    A run that `running` finds before the request is taken is an earlier run.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    next_look = time.monotonic() + UNIT_POLL_INTERVAL_S
    while (answer := request.answer()) is None:
        now = time.monotonic()
        if not request.is_taken():
            # if it cannot be withdrawn, a runner has just taken it, and this is the requested run
            if (run := running()) and request.withdraw():
                return {"elapsed": progress_of(run).elapsed}
            reason = None
            if now > next_look:
                reason, next_look = end_of_start(), now + UNIT_POLL_INTERVAL_S
            if now > deadline:
                reason = f"it did not begin within {START_TIMEOUT_S:.0f} s, and will not begin later."
            if reason and request.withdraw():
                return {"refused": reason}
        elif now > deadline + START_TIMEOUT_S:
            return {} if running() else {"refused": "its runner ended before the run began."}
        clock.sleep(START_POLL_INTERVAL_S)
    return answer


def progress_of(run: Run) -> Progress:
    """Return for how long `run` has been running or queued."""
    return Progress(round(max(0.0, time.time() - run.started_at), 1), run.queued, run.node, run.slurm_job)
