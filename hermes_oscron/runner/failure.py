"""The sentence for a command that did not begin, or that ended by itself and did not go well."""

import os
import signal
from typing import TYPE_CHECKING

from .resources import out_of_memory

if TYPE_CHECKING:
    from .process import Command


def unstarted(command: "Command", error: OSError | ValueError) -> str:
    """Return the sentence for a `command` that could not be started because of `error`."""
    reason = error.strerror if isinstance(error, OSError) else error
    program, path = command.argv[0], command.environment.get("PATH", os.defpath)
    if isinstance(error, FileNotFoundError) and error.filename == program and "/" not in program:
        return f"Command '{program}' not found in PATH ({path}); set [exec] path or command in oscron.toml."
    return f"{program} could not be started in {command.directory}: {reason}."


def failure(early: str | None, returncode: int, stderr: str, memory_max: int) -> str:
    """Return the sentence for a command that ended with `returncode`, or `early` for the reason that this text gives.

    If it had at most `memory_max` bytes, and that is not 0, the kernel may have killed it.
    """
    if error := (memory_max and out_of_memory(memory_max)) or early:
        return error
    last = stderr.strip().rpartition("\n")[2][:500]
    how = f"killed by {_signal_name(-returncode)}" if returncode < 0 else f"exited with code {returncode}"
    return f"{how}: {last}" if last else f"{how}."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
