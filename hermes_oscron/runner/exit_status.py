"""The sentence for a command that ended by itself. It is needed only when the job has ended."""

import signal


def failure(returncode: int, stderr: str, successes: tuple[int, ...]) -> str | None:
    """Return the sentence for a command that ended by itself with `returncode`; None for one of `successes`."""
    if returncode in successes:
        return None
    last = stderr.strip().rpartition("\n")[2][:500]
    how = f"killed by {_signal_name(-returncode)}" if returncode < 0 else f"exited with code {returncode}"
    return f"{how}: {last}" if last else f"{how}."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
