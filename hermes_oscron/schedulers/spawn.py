"""Start processes in a session of their own, so that they outlive this one."""

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence

from ..errors import cause
from ..runs.model import RUN_VARIABLE
from .protocol import EndOfStart, SchedulerError


def start_detached(command: Sequence[str], inherit_output: bool = False,
                   environment: Mapping[str, str] | None = None) -> EndOfStart:
    """Start `command`, with this process's environment or `environment`. Raises SchedulerError.

    Its output is discarded unless `inherit_output`. If a run starts it, it does not end with that run.
    """
    output = None if inherit_output else subprocess.DEVNULL
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   start_new_session=True,
                                   env={**(os.environ if environment is None else environment), RUN_VARIABLE: ""})
    except OSError as error:
        raise SchedulerError(f"{command[0]} could not be started: {cause(error)}") from error
    threading.Thread(target=process.wait, daemon=True).start()  # reap it if it ends before we do

    def end_of_start() -> str | None:
        code = process.poll()
        return None if code is None else f"{command[0]} ended before the run began (exit status {code})."

    return end_of_start
