"""The executor of a cluster: a command that runs on a node, at the other end of srun(1).

The streams of srun carry the protocol of on_node.py. Its exit status says little: it is 0 if the node is lost. A run
went well only if the node reports its end.
"""

import contextlib
import json
import math
import os
import re
import select
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..runs import slurm
from ..runs.slurm import SlurmError

if TYPE_CHECKING:
    from .process import Command

BEAT_S = 15.0
"""The interval of the signs of the runner; a node waits for SILENCE_S of runs/slurm.py."""
END_TIMEOUT_S = 60.0
"""The time for srun to end after the node has reported the end: it waits for the controller."""
STATE_TIMEOUT_S = 10.0
MAX_MESSAGE_BYTES = 8192
FRAME = re.compile(rb"(node|1|2|end) (\d{1,7})")
OF_THIS_MACHINE = ("DBUS_SESSION_BUS_ADDRESS", "JOURNAL_STREAM", "MANAGERPID", "SYSTEMD_EXEC_PID", "XDG_RUNTIME_DIR")
"""Variables that are wrong on another machine."""
UNFINISHED = ("", "PENDING", "RUNNING", "COMPLETING", "CONFIGURING")
FAILURES = {
    "CANCELLED": "stopped by scancel before it had ended.",
    "TIMEOUT": "timed out after the time limit of its job in Slurm.",
    "DEADLINE": "timed out after the deadline of its job in Slurm.",
    "PREEMPTED": "interrupted: Slurm has preempted its job.",
}
"""The errors of runs by the states of their jobs (squeue(1), JOB STATE CODES)."""


class Allocation(NamedTuple):
    """A place on a `node`, in which nothing runs yet. In Slurm it is `job`, with a `name` that no other run has."""

    srun: "subprocess.Popen[bytes]"
    name: str
    environment: dict[str, str]
    frames: "Frames"
    node: str
    job: str


class SlurmProcess:
    """A command that has begun on a node. A thread passes on its output, and sends the node signs of life."""

    waiter = 0

    def __init__(self, allocation: Allocation, command: "Command") -> None:
        self._allocation, self._srun = allocation, allocation.srun
        self.pid = self._srun.pid
        self.returncode: int | None = None
        self.failure: str | None = None
        self.used: tuple[float | None, int | None] | None = None
        self._report: dict[str, Any] | None = None
        self._messages = b""
        self._is_killed = False
        self._ended = os.eventfd(0)
        pipes = [os.pipe() for _ in range(4)]
        self._unused_input, self._orders = pipes[0][0], pipes[3][1]
        self.stdin, self.stdout, self.stderr = (
            os.fdopen(fd, mode, buffering=0) for fd, mode in ((pipes[0][1], "wb"), (pipes[1][0], "rb"),
                                                              (pipes[2][0], "rb")))
        outputs = {b"1": pipes[1][1], b"2": pipes[2][1]}
        self._thread = threading.Thread(target=self._serve, args=(_header(command), outputs, pipes[3][0]), daemon=True)
        self._thread.start()

    @property
    def ended(self) -> int:
        return os.dup(self._ended)

    def signal(self, number: int) -> None:
        """Send `number` to the command; a second SIGKILL is sent by Slurm, as the node does not answer."""
        if not self._thread.is_alive():
            return
        if number == signal.SIGKILL and self._is_killed:
            with contextlib.suppress(OSError):
                subprocess.Popen(["scancel", "--signal=KILL", "--full", f"--name={self._allocation.name}"],
                                 env=self._allocation.environment, stdin=subprocess.DEVNULL)
            self._srun.kill()
        self._is_killed |= number == signal.SIGKILL
        os.write(self._orders, b"%d\n" % number)

    def wait(self) -> int:
        """Wait for the end, and return the exit status, negative for a signal."""
        if self.returncode is None:
            self._thread.join()
            self.returncode = self._srun.wait()
            report = self._report or {}
            if report.get("code") is not None:
                self.returncode, self.used = report["code"], (report["cpu_s"], report["memory_bytes"])
            if not self._report or self._report.get("terminated"):
                self.failure = self._failure()
            elif "unstarted" in report:
                self.failure = report["unstarted"]
        return self.returncode

    def _serve(self, unsent: bytes, outputs: dict[bytes, int], orders: int) -> None:
        """Send `unsent`, `orders` and signs of life to the node, and pass its output on to `outputs`, until it ends."""
        assert self._srun.stdin and self._srun.stdout and self._srun.stderr
        to_node, from_node, messages = (file.fileno() for file in (self._srun.stdin, self._srun.stdout,
                                                                   self._srun.stderr))
        os.set_blocking(to_node, False)
        poll = select.poll()
        for fd in (from_node, messages, orders):
            poll.register(fd, select.POLLIN)
        next_beat, kill_at = time.monotonic() + BEAT_S, math.inf
        is_open = is_heard = True
        while is_open:
            if unsent and is_heard:
                poll.register(to_node, select.POLLOUT)
            for fd, _ in poll.poll(1000 * max(0.0, min(next_beat, kill_at) - time.monotonic())):
                if fd == from_node:
                    chunk = os.read(fd, 65536)
                    is_open = bool(chunk)
                    for kind, content in self._allocation.frames.split(chunk):
                        if kind == b"end":
                            self._report, kill_at = json.loads(content), time.monotonic() + END_TIMEOUT_S
                        elif kind in outputs:
                            _write_all(outputs[kind], content)
                elif fd == messages:
                    chunk = os.read(fd, 65536)
                    self._messages = (self._messages + chunk)[-MAX_MESSAGE_BYTES:]
                    if not chunk:
                        poll.unregister(fd)
                elif fd == orders:
                    unsent += os.read(fd, 4096)
                else:
                    try:
                        unsent = unsent[os.write(to_node, unsent):]
                    except OSError:  # srun has ended
                        is_heard = False
                    if not unsent or not is_heard:
                        poll.unregister(to_node)
            if time.monotonic() >= next_beat:
                unsent, next_beat = unsent or b"\n", time.monotonic() + BEAT_S
            if time.monotonic() >= kill_at:
                self._srun.kill()
        for fd in outputs.values():
            os.close(fd)
        self._messages += rest_of(messages)
        os.eventfd_write(self._ended, 1)

    def _failure(self) -> str:
        """Return why the job of Slurm has ended without a report, or was terminated."""
        state = _final_state(self._allocation)
        message = last_message(self._messages)
        if state in FAILURES:
            return FAILURES[state]
        if self._report:
            return "stopped by SIGTERM before it had ended."
        if state == "OUT_OF_MEMORY" or re.search("(?i)memory limit|oom", message):
            return f"killed by Slurm for its memory: {message}"
        node = self._allocation.node
        if state == "NODE_FAIL":
            return f"interrupted: the node {node} was lost."
        return (f"interrupted: {node} has not reported its end; the state of job {self._allocation.job} in Slurm is "
                f"{state or 'unknown'}. {message}").rstrip()


class Frames:
    """The frames that come from a node. Lines that are not of the protocol, as of a TaskProlog, are left out."""

    def __init__(self) -> None:
        self._unread = b""

    def split(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """Return the kind and the content of each frame that is complete with `chunk`."""
        self._unread += chunk
        found = []
        while (end := self._unread.find(b"\n")) >= 0:
            length = -1
            if heading := FRAME.fullmatch(self._unread, 0, end):
                length = int(heading[2])
                if len(self._unread) < end + length + 2:
                    break
                found.append((heading[1], self._unread[end + 1:end + 1 + length]))
            self._unread = self._unread[end + length + 2:]
        return found


def _header(command: "Command") -> bytes:
    umask = os.umask(0o077)
    os.umask(umask)
    environment = {name: value for name, value in command.environment.items() if name not in OF_THIS_MACHINE}
    return json.dumps({"argv": command.argv, "directory": command.directory, "environment": environment,
                       "stdin": command.stdin.decode("utf-8", "surrogateescape"), "umask": umask}).encode() + b"\n"


def _final_state(allocation: Allocation) -> str:
    """Return the state of the job, which has ended or is about to end; empty if it cannot be found out."""
    deadline, state = time.monotonic() + STATE_TIMEOUT_S, ""
    with contextlib.suppress(SlurmError):
        while (state := slurm.state(allocation.name, allocation.environment)) in UNFINISHED:
            if time.monotonic() > deadline:
                break
            time.sleep(slurm.POLL_INTERVAL_S)
    return state


def last_message(messages: bytes) -> str:
    """Return the last line of the messages of srun, without its name."""
    last = messages.decode("utf-8", "replace").strip().rpartition("\n")[2][:500]
    return re.sub(r"^(?:srun: |error: |Unable to allocate resources: )*", "", last)


def rest_of(fd: int) -> bytes:
    """Return what can be read from `fd` without waiting."""
    found = b""
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(fd, 65536):
            found += chunk
    return found


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]
