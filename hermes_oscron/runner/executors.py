"""The protocol of executors: where the command of a run is executed. The trigger of the run is a scheduler's matter.

`LocalProcess` (runner/process.py) is a process of the runner, `WorkerProcess` (runner/agent_worker.py) a fork of the
agent worker, `SlurmProcess` (runner/slurm.py) a job of a cluster. Only type checkers import this module.
"""

from typing import IO, Protocol


class Execution(Protocol):
    """A command that has begun, and its standard input, output and error.

    `pid` is its process group on this machine. `ended` is a new descriptor, readable at its end. `waiter`, if it
    is not 0, is the process that adopts what the command leaves behind.
    """

    pid: int
    waiter: int

    @property
    def failure(self) -> str | None:
        """A sentence if something other than the command, or than the runner, has ended it; else None."""

    @property
    def used(self) -> tuple[float | None, int | None] | None:
        """The seconds of CPU time and the bytes of memory; None if they are counted on this machine."""

    @property
    def ended(self) -> int: ...

    @property
    def stdin(self) -> IO[bytes] | None: ...

    @property
    def stdout(self) -> IO[bytes] | None: ...

    @property
    def stderr(self) -> IO[bytes] | None: ...

    def signal(self, number: int) -> None:
        """Send the signal `number` to all its processes that are left."""

    def wait(self) -> int:
        """Wait for the end, and return the exit status, negative for a signal."""
