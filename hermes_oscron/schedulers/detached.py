"""Processes that outlive the one that starts them: in a session of their own, and nobody waits for them."""

import subprocess
import threading
from collections.abc import Callable, Sequence

from ..errors import cause
from .plan import SchedulerError


def start(command: Sequence[str], heard: bool = False) -> Callable[[], str | None]:
    """Start COMMAND; where HEARD, what it says goes where our own output goes. Raises SchedulerError.

    Returns a function that tells how it ended, in a sentence; None while it runs.
    """
    said = None if heard else subprocess.DEVNULL
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
    except OSError as error:
        raise SchedulerError(f"{command[0]} could not be started: {cause(error)}") from error
    threading.Thread(target=process.wait, daemon=True).start()  # reaps it, while we are there

    def ended() -> str | None:
        code = process.poll()
        return None if code is None else f"{command[0]} ended before the run began (exit status {code})."

    return ended
