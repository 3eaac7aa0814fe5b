"""Run a job's command in a process group of its own; capture its output and how it ended.

The output goes to our own output as it comes, which is the journal under systemd, and is kept up to a limit.
"""

import contextlib
import math
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from types import FrameType
from typing import IO, TYPE_CHECKING, NamedTuple

from .environment import in_any_locale

if TYPE_CHECKING:
    from .executors import Execution
    from .redaction import Redactor
    from .slurm_process import Allocation

MAX_STREAM_BYTES = 5 * 1024 * 1024
"""The most of each stream that is kept."""
MAX_SELECT_S = 86400.0
"""The longest single wait: epoll(2) takes no more than 24 days."""
KILL_GRACE_S = 10.0
"""The time between SIGTERM and SIGKILL, unless the job's policy has another."""
SIGTERM_RACE_S = 0.1
"""A SIGTERM to the whole control group reaches the job and us within this time."""
DRAIN_TIMEOUT_S = 0.2
"""The wait for the rest of the output if another process holds the pipe open after the job has ended."""


class Command(NamedTuple):
    """The command of a job: `stdin` is its input, `environment` is its whole environment.

    A run `by_agent` is recorded by the agent itself. `timeout` is in seconds; so is `stop_timeout`, from SIGTERM to
    SIGKILL. A run with one of `success_exit_codes` went well. `memory_max` is in bytes, 0 for no limit. `redactor`, if
    there is one, is the command that removes secrets from the output. `worker`, if there is one, is the profile whose
    agent worker may run the command; see runner/agent_worker.py. `allocation` is its place on a cluster, if any.
    """

    argv: list[str]
    stdin: bytes
    directory: str
    environment: dict[str, str]
    by_agent: bool = False
    timeout: float = math.inf
    stop_timeout: float = KILL_GRACE_S
    success_exit_codes: tuple[int, ...] = ()
    nice: int = 0
    memory_max: int = 0
    redactor: tuple[str, ...] = ()
    worker: str = ""
    allocation: "Allocation | None" = None


class SpawnError(Exception):
    """The command could not be started; the text gives the reason."""


class ProcessResult(NamedTuple):
    """The output of a process and how it ended.

    `error` is a sentence, or None if it went well; `code` is None if we ended it. `used` is as a node has counted it.
    """

    stdout: str
    stderr: str
    error: str | None
    code: int | None = None
    used: tuple[float | None, int | None] | None = None


class _Stream:
    """One of the command's streams, passed on and kept, without secrets if there is a `redactor`."""

    def __init__(self, source: IO[bytes], passed_to: int, redactor: "Redactor | None") -> None:
        self.fd = source.fileno()
        os.set_blocking(self.fd, False)
        self._passed_to = passed_to
        self._redactor = redactor
        self.copy_to: Callable[[bytes], None] | None = None
        self._held = b""
        self._kept = bytearray()
        self._cut = 0
        self._ends_line = True

    def read(self) -> bool:
        """Read the available output; return False at the end of the stream."""
        try:
            chunk = os.read(self.fd, 65536)
        except BlockingIOError:
            return True
        if self._redactor:
            text, self._held = self._redactor.split(self._held + chunk)
            self._take(self._redactor.redact(text))
        else:
            self._take(chunk)
        return bool(chunk)

    def _take(self, chunk: bytes) -> None:
        _write_all(self._passed_to, chunk)
        if self.copy_to and chunk:
            self.copy_to(chunk)
        self._ends_line = chunk.endswith(b"\n") if chunk else self._ends_line
        room = MAX_STREAM_BYTES - len(self._kept)
        self._kept += chunk[:room]
        self._cut += len(chunk[room:])

    def text(self) -> str:
        """Return the output that was kept. The stream has ended."""
        if self._redactor and self._held:
            self._take(self._redactor.redact(self._held))
            self._held = b""
        if not self._ends_line:
            _write_all(self._passed_to, b"\n")  # the next line of the log is not part of the output
        text = self._kept.decode("utf-8", "replace")
        if self._cut:
            text += f"\n[cut here: {self._cut} bytes more than the {MAX_STREAM_BYTES // 1024**2} MiB that are kept]\n"
        return text


class _SignalPipe:
    """SIGTERM, SIGINT and the end of a child, as a descriptor that a selector can wait for."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.fd, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, self._receive)

    def wait(self, seconds: float) -> None:
        """Wait `seconds` for a signal, unless one has been received."""
        deadline = time.monotonic() + seconds
        while not self.received and time.monotonic() < deadline:
            time.sleep(0.005)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self.received = number
        with contextlib.suppress(BlockingIOError):  # it is full
            os.write(self._wake, b"!")


class JobProcess:
    """A command that has been started, and its output so far."""

    def __init__(self, command: Command) -> None:
        """Start `command` in a process group of its own. Raises SpawnError, also if a signal requests our end first."""
        command = in_any_locale(command)
        self._signals = _SignalPipe()
        self._command = command
        self._process = self._elsewhere(command) or self._spawned(command)
        assert self._process.stdout and self._process.stderr
        self._redactor = _redactor(command)
        self._out = _Stream(self._process.stdout, 1, self._redactor)
        self._err = _Stream(self._process.stderr, 2, self._redactor)

    @property
    def group(self) -> int:
        """Its process group."""
        return self._process.pid

    @property
    def waiter(self) -> int:
        """The parent of what a fork of the agent worker has left behind; 0 for other commands, and in a unit."""
        return self._process.waiter

    def _elsewhere(self, command: Command) -> "Execution | None":
        """Return `command` on its node, or in a fork of its worker, if it has one that can run it."""
        if command.allocation:
            from .slurm_process import SlurmProcess

            return SlurmProcess(command.allocation, command)
        if not command.worker:
            return None
        from .agent_worker import start  # 20 ms, in place of the second that the agent's imports take

        return start(command, self.is_stopped)

    def _spawned(self, command: Command) -> "Execution":
        """Start `command` in a process of its own. Raises SpawnError, also if a worker was waited for until a stop."""
        if number := self._signals.received:
            raise SpawnError(_stopped_by(number, "begun"))
        return _spawned(command)

    def is_stopped(self) -> bool:
        """Return True if a signal has requested our end, also after the command has ended."""
        return self._signals.received is not None

    def wait(self, timeout: float, reason: str = "", copy_to: Callable[[bytes], None] | None = None) -> ProcessResult:
        """Wait at most `timeout` seconds for the end, then end the whole process group; return how it ended.

        `reason` is the sentence for a run that is ended by us then; without it, the run has timed out. `copy_to` gets
        each part of the output as it comes.
        """
        self._out.copy_to = self._err.copy_to = copy_to
        ended_early = _pump(self._process, self._command.stdin, self._out, self._err, self._signals, timeout,
                            self._command.stop_timeout, reason or f"timed out after {timeout:g} s.")
        stdout, stderr = self._out.text(), self._err.text()
        if self._redactor:
            self._redactor.close()
        code = self._process.wait()
        early, error = ended_early or self._process.failure, None
        if early or code not in (0, *self._command.success_exit_codes):
            from .failure import failure

            error = failure(early, code, stderr, self._command.memory_max)
        return ProcessResult(stdout, stderr, error, None if early else code, self._process.used)


class LocalProcess(subprocess.Popen[bytes]):
    """A command in a process of this runner, in a process group of its own."""

    waiter, failure, used = 0, None, None

    @property
    def ended(self) -> int:
        return os.pidfd_open(self.pid)

    def signal(self, number: int) -> None:
        """Send `number` to the rest of the group. Processes of another account, of sudo for example, are waited for."""
        signal_group(self.pid, number)


def _spawned(command: Command) -> LocalProcess:
    """Start `command` in a process of its own. Raises SpawnError."""
    prepare = None
    if command.nice or command.memory_max:
        from .resources import apply_limits

        prepare = apply_limits(command.nice, command.memory_max)
    try:
        return LocalProcess(
            command.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=command.directory,
            env=command.environment, process_group=0, bufsize=0, preexec_fn=prepare)
    except (OSError, ValueError) as error:
        from .failure import unstarted

        raise SpawnError(unstarted(command, error)) from None


def _redactor(command: Command) -> "Redactor | None":
    if not command.redactor:
        return None
    from .redaction import Redactor  # only scripts of homes with an agent need it

    return Redactor(command.redactor, command.environment)


def _pump(process: "Execution", stdin: bytes, out: _Stream, err: _Stream,
          signals: _SignalPipe, timeout: float, stop_timeout: float, at_timeout: str) -> str | None:
    """Pass input to `process` and read its output until it ends; return the reason if we ended it, else None."""
    assert process.stdin
    ended = process.ended
    deadline = time.monotonic() + timeout
    killed_for: str | None = None
    unsent = memoryview(stdin)
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(ended, selectors.EVENT_READ)
        selector.register(signals.fd, selectors.EVENT_READ)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        for stream in (out, err):
            selector.register(stream.fd, selectors.EVENT_READ, stream)
        while True:
            events = selector.select(min(max(0.0, deadline - time.monotonic()), MAX_SELECT_S))
            ready = {key.fd for key, _ in events}
            for key, _ in events:
                if isinstance(key.data, _Stream) and not key.data.read():
                    selector.unregister(key.fd)
            if not process.stdin.closed and process.stdin.fileno() in ready:
                unsent = _feed(process.stdin, unsent)
                if not unsent:
                    selector.unregister(process.stdin)
                    process.stdin.close()
            if ended in ready:
                break
            if signals.fd in ready:
                os.read(signals.fd, 4096)
                from ..runs.processes import reap_adopted  # 2 ms, while the job runs

                reap_adopted(process.pid)
            if signals.received and not killed_for:
                killed_for = _stopped_by(signals.received)
                deadline = _terminate(process, stop_timeout)
            elif time.monotonic() >= deadline:
                if killed_for:
                    process.signal(signal.SIGKILL)
                    deadline += KILL_GRACE_S
                else:
                    killed_for = at_timeout
                    deadline = _terminate(process, stop_timeout)
    os.close(ended)
    if process.wait() == -signal.SIGTERM:
        signals.wait(SIGTERM_RACE_S)  # the same signal may be on its way to us
    if signals.received:
        killed_for = killed_for or _stopped_by(signals.received)
    if killed_for:
        process.signal(signal.SIGKILL)  # the processes that the ended leader left behind
    _drain(out, err)
    return killed_for


def _stopped_by(number: int, what: str = "ended") -> str:
    return f"stopped by {signal.Signals(number).name} before it had {what}."


def _terminate(process: "Execution", stop_timeout: float) -> float:
    """Send SIGTERM to the whole `process`; return the time for SIGKILL."""
    process.signal(signal.SIGTERM)
    return time.monotonic() + stop_timeout


def signal_group(group: int, number: int) -> None:
    """Send `number` to the rest of the process `group` of which this account may signal some process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _feed(stdin: IO[bytes], unsent: memoryview) -> memoryview:
    """Write as much of `unsent` as the pipe takes; return the rest, which is empty if the command has closed it."""
    try:
        return unsent[os.write(stdin.fileno(), unsent) :] if unsent else unsent
    except BlockingIOError:
        return unsent
    except BrokenPipeError:
        return unsent[len(unsent) :]


def _drain(*streams: _Stream) -> None:
    """Read the rest of the streams."""
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.fd, selectors.EVENT_READ, stream)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if not key.data.read():
                    selector.unregister(key.fd)


def _write_all(fd: int, data: bytes) -> None:
    """Pass `data` on. If our output is closed, the job goes on."""
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(fd, data) :]
