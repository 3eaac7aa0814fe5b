"""A job's command, run in a process group of its own: what it said, and how it ended.

What it says goes to our own output as it comes, which is the journal under systemd, and is kept up to a limit.
"""

import os
import selectors
import signal
import subprocess
import time
from types import FrameType
from typing import IO, NamedTuple

MAX_STREAM_BYTES = 5 * 1024 * 1024
"""Bytes of each stream that are kept."""
MAX_SELECT_S = 86400.0
"""Seconds at a time; epoll(2) takes no more than 24 days."""
KILL_GRACE_S = 10.0
"""Seconds between SIGTERM and SIGKILL."""
SIGTERM_RACE_S = 0.1
"""Seconds in which a SIGTERM to the whole control group reaches the job and us."""
DRAIN_TIMEOUT_S = 0.2
"""Seconds to wait for the rest of the output when something else holds the pipe open after the job has ended."""


class Command(NamedTuple):
    """What to run: `stdin` is given to it, `environment` is all it gets. The agent records its runs itself."""

    argv: list[str]
    stdin: bytes
    directory: str
    environment: dict[str, str]
    by_agent: bool = False


class SpawnError(Exception):
    """The command could not be started; the text says why."""


class ProcessResult(NamedTuple):
    """How it ended: `error` is None when it went well, else a sentence; `code` is None where we ended it."""

    stdout: str
    stderr: str
    error: str | None
    code: int | None = None


class _Stream:
    """One of the command's streams, passed on and kept."""

    def __init__(self, source: IO[bytes], passed_to: int) -> None:
        self.fd = source.fileno()
        os.set_blocking(self.fd, False)
        self._passed_to = passed_to
        self._kept = bytearray()
        self._cut = 0

    def read(self) -> bool:
        """Take what is there; False at the end of the stream."""
        try:
            chunk = os.read(self.fd, 65536)
        except BlockingIOError:
            return True
        _write_all(self._passed_to, chunk)
        room = MAX_STREAM_BYTES - len(self._kept)
        self._kept += chunk[:room]
        self._cut += len(chunk[room:])
        return bool(chunk)

    def text(self) -> str:
        text = self._kept.decode("utf-8", "replace")
        if self._cut:
            text += f"\n[cut here: {self._cut} bytes more than the {MAX_STREAM_BYTES // 1024**2} MiB that are kept]\n"
        return text


class _SignalPipe:
    """SIGTERM and SIGINT, as something a selector can wait for."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.fd, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)

    def wait(self, seconds: float) -> None:
        """Wait SECONDS for a signal, unless one has been received."""
        deadline = time.monotonic() + seconds
        while not self.received and time.monotonic() < deadline:
            time.sleep(0.005)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        os.write(self._wake, b"!")


class JobProcess:
    """A command that has been started, and what it has said so far."""

    def __init__(self, command: Command) -> None:
        """Start COMMAND in a process group of its own. Raises SpawnError."""
        self._signals = _SignalPipe()
        self._stdin = command.stdin
        try:
            self._process = subprocess.Popen(
                command.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd=command.directory, env=command.environment, process_group=0, bufsize=0,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise SpawnError(f"{command.argv[0]} could not be started in {command.directory}: {reason}.") from None
        assert self._process.stdout and self._process.stderr
        self._out, self._err = _Stream(self._process.stdout, 1), _Stream(self._process.stderr, 2)

    @property
    def group(self) -> int:
        """Its process group."""
        return self._process.pid

    def is_stopped(self) -> bool:
        """Return True if somebody has asked us to end, also after the command has ended."""
        return self._signals.received is not None

    def wait(self, timeout: float) -> ProcessResult:
        """Let it run for at most TIMEOUT seconds, then end its whole process group; how it ended."""
        ended_early = _pump(self._process, self._stdin, self._out, self._err, self._signals, timeout)
        stderr = self._err.text()
        code = self._process.returncode
        return ProcessResult(self._out.text(), stderr, ended_early or _failure(code, stderr), None if ended_early
                             else code)


def _pump(process: "subprocess.Popen[bytes]", stdin: bytes, out: _Stream, err: _Stream, signals: _SignalPipe,
          timeout: float) -> str | None:
    """Feed and hear PROCESS until it ends; the sentence that says why, where it was we who ended it."""
    assert process.stdin
    deadline = time.monotonic() + timeout
    killed_for: str | None = None
    unsent = memoryview(stdin)
    os.set_blocking(process.stdin.fileno(), False)
    ended = os.pidfd_open(process.pid)
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
            if signals.fd in ready and signals.received:
                os.read(signals.fd, 16)
                if not killed_for:
                    killed_for = _stopped_by(signals.received)
                    deadline = _terminate(process)
            elif time.monotonic() >= deadline:
                if killed_for:
                    _signal_group(process.pid, signal.SIGKILL)
                    deadline += KILL_GRACE_S
                else:
                    killed_for = f"timed out after {timeout:g} s."
                    deadline = _terminate(process)
    os.close(ended)
    if process.wait() == -signal.SIGTERM:
        signals.wait(SIGTERM_RACE_S)  # whoever ended the job may be about to end us
    if signals.received:
        killed_for = killed_for or _stopped_by(signals.received)
    if killed_for:
        _signal_group(process.pid, signal.SIGKILL)  # what the ended leader left of it
    _drain(out, err)
    return killed_for


def _stopped_by(number: int) -> str:
    return f"stopped by {signal.Signals(number).name} before it had ended."


def _terminate(process: "subprocess.Popen[bytes]") -> float:
    """Ask the whole group to end; when to stop asking."""
    _signal_group(process.pid, signal.SIGTERM)
    return time.monotonic() + KILL_GRACE_S


def _signal_group(group: int, number: int) -> None:
    """Send NUMBER to what is left of GROUP; what is another account's there, sudo's say, is left, and waited for."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def _feed(stdin: IO[bytes], unsent: memoryview) -> memoryview:
    """Write what the pipe takes of UNSENT; what is left of it. A command that does not read its input may."""
    try:
        return unsent[os.write(stdin.fileno(), unsent) :] if unsent else unsent
    except BlockingIOError:
        return unsent
    except BrokenPipeError:
        return unsent[len(unsent) :]


def _drain(*streams: _Stream) -> None:
    """Hear what the streams still hold."""
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.fd, selectors.EVENT_READ, stream)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if not key.data.read():
                    selector.unregister(key.fd)


def _failure(returncode: int, stderr: str) -> str | None:
    """The sentence for a command that ended by itself with RETURNCODE."""
    if returncode == 0:
        return None
    last = stderr.strip().rpartition("\n")[2][:500]
    how = f"killed by {_signal_name(-returncode)}" if returncode < 0 else f"exited with code {returncode}"
    return f"{how}: {last}" if last else f"{how}."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _write_all(fd: int, data: bytes) -> None:
    """Pass DATA on; whoever closed our output does not end the job."""
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        pass
