"""Start a command of the agent in a fork of the agent worker of its profile (in_agent/worker.py has the protocol).

In a unit of systemd the fork is moved into the unit of the job, so that limits, stop, accounting and journal are the
job's. Elsewhere it stays with the worker, which is in the same cgroup, and the runner ends what it leaves behind.
Unless all is as it must be before the command begins, the caller starts it itself. After that, the command does not
need the worker; if the waiter of the fork is killed, the command is killed too.
"""

import contextlib
import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from ..errors import cause
from ..hermes.home import hermes_root, home_of
from ..runs.processes import cgroup_of, reap_adopted
from ..schedulers.systemd.systemctl import own_systemctl
from .log import log
from .worker_socket import NoWorker, connect, connection_to

if TYPE_CHECKING:
    from .process import Command

IMPORT_TIMEOUT_S = 60.0
"""The time for a worker that has just been started. The agent's imports take 2 s, on a busy machine up to a minute."""
ANSWER_TIMEOUT_S = 10.0
LOOK_INTERVAL_S = 0.1
KILL_TIMEOUT_S = 5.0
MAX_MESSAGE_BYTES = 65536
ATTEMPTS = 2
"""A worker that is stale ends, and the next connection starts another one."""
UNIT = re.compile(r"hermes-job@.+\.service")
SYSTEMD = "org.freedesktop.systemd1"
OWN_DROP_IN = "/hermes-job@.service.d/account.conf"
OWN_DROP_INS = re.compile(rf"{re.escape(OWN_DROP_IN)}$|^/run/(?:user/[0-9]+/)?systemd/(?:system|user)/"
                          r"hermes-job@[^/]+\.service\.d/policy\.conf$")
RESOURCE_CONTROL = re.compile(r"/(?:system|user)\.control/")
"""The folders of `systemctl set-property`, whose settings belong to a cgroup (systemd.resource-control(5))."""


class Unavailable(Exception):
    """The command has not begun in the worker and never will; the text gives the reason."""


class WorkerProcess:
    """A command that has begun in a fork of the worker.

    Its `waiter`, if it is not 0, is the parent of what it has left behind, until this process ends.
    """

    failure, used = None, None

    def __init__(self, connection: socket.socket, pid: int, pipes: list[IO[bytes]], waiter: int) -> None:
        self.pid = pid
        self.waiter = waiter
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = pipes
        self._connection = connection

    @property
    def ended(self) -> int:
        """A new descriptor that becomes readable at its end."""
        return os.dup(self._connection.fileno())

    def signal(self, number: int) -> None:
        """Send `number` to the rest of its process group."""
        from .process import signal_group

        signal_group(self.pid, number)

    def wait(self) -> int:
        """Wait for the end, and return the exit status, negative for a signal. Without its waiter, kill the command."""
        if self.returncode is None:
            try:
                self.returncode = int(json.loads(self._connection.recv(MAX_MESSAGE_BYTES))["ended"])
            except (OSError, ValueError):
                _kill(self.pid)
                self.returncode = -signal.SIGKILL
            if self.waiter:
                self._connection.detach()  # it stays open
            self._connection.close()
        return self.returncode


def start(command: "Command", stopped: Callable[[], bool]) -> WorkerProcess | None:
    """Begin `command` in a fork of its worker; return None if it has not begun, as if the run is `stopped` before."""
    try:
        if os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid()):  # systemd.exec(5)
            return _begun_in_unit(command, stopped)
        home = home_of(hermes_root(), command.worker)
        return begun(command, lambda: connection_to(home), stopped, None)
    except (FileNotFoundError, ConnectionRefusedError, NoWorker):
        return None  # there is no socket, as with many profiles or on a full disk, or no busctl
    except (Unavailable, OSError) as reason:
        log(f"The agent worker is not used: {cause(reason)}", sys.stderr)
        return None


def _begun_in_unit(command: "Command", stopped: Callable[[], bool]) -> WorkerProcess | None:
    """Return `command` after it has begun in the unit of this process; None if that is not of a job.

    Raises Unavailable or OSError if it has not begun.
    """
    unit = os.path.basename(cgroup_of("self"))
    if not UNIT.fullmatch(unit):
        return None
    systemctl = own_systemctl()
    busctl = ["busctl", "--user" if systemctl.user else "--system"]
    _require_common_sandbox(busctl)
    address = socket_path(systemctl.runtime_dir, command.worker)
    return begun(command, lambda: connect(address), stopped, lambda pid: _move(busctl, unit, pid))


def socket_path(runtime_dir: str, profile: str) -> str:
    """Return the path of the socket of the worker of `profile`."""
    return f"{runtime_dir}/hermes-oscron-agent@{profile}"


def begun(command: "Command", connected: Callable[[], socket.socket], stopped: Callable[[], bool],
          move: Callable[[int], None] | None) -> WorkerProcess:
    """Return `command` after it has begun in a fork of the worker to which `connected` returns a connection.

    `move`, if it is given, moves a process to where the command belongs. Raises Unavailable or OSError if it has not
    begun, and what `connected` raises.
    """
    for _ in range(ATTEMPTS):
        with contextlib.ExitStack() as undo:
            connection = undo.enter_context(connected())
            pipes = [undo.enter_context(each) for each in _request(connection, command)]
            answer = _answer(connection, IMPORT_TIMEOUT_S, stopped)
            if "stale" in answer:
                continue
            if "waiter" not in answer:
                raise Unavailable(str(answer.get("refused")))
            waiter = os.pidfd_open(answer["waiter"])
            undo.callback(os.close, waiter)
            if command.nice:
                os.setpriority(os.PRIO_PROCESS, answer["waiter"], command.nice)  # its fork inherits it
            if move:
                move(answer["waiter"])
            _require_not_stopped(stopped)
            pid = _begin(connection, waiter)
            undo.pop_all()
            os.close(waiter)
            return WorkerProcess(connection, pid, pipes, 0 if move else answer["waiter"])
    raise Unavailable("the agent or its configuration has just changed")


def _request(connection: socket.socket, command: "Command") -> list[IO[bytes]]:
    """Send `command`, and return our ends of its standard input, output and error. Raises OSError."""
    umask = os.umask(0o077)
    os.umask(umask)
    message = {"argv": command.argv, "directory": command.directory, "environment": command.environment,
               "umask": umask}
    pipes = [os.pipe() for _ in range(3)]
    ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
    theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
    opened = [os.fdopen(fd, mode, buffering=0) for fd, mode in zip(ours, ("wb", "rb", "rb"), strict=True)]
    try:
        socket.send_fds(connection, [json.dumps(message).encode()], theirs)
    except OSError:
        for file in opened:
            file.close()
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    return opened


def _begin(connection: socket.socket, waiter: int) -> int:
    """Make the process of the `waiter`, a pidfd, begin the command; return the command's. Raises Unavailable, OSError.

    If there is no answer in time, the waiter is killed: then it has announced the begin, or the command never begins.
    """
    connection.send(b'{"begin": true}')
    if not select.select([connection], [], [], ANSWER_TIMEOUT_S)[0]:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(waiter, signal.SIGKILL)
    return int(_received(connection)["begun"])


def _answer(connection: socket.socket, timeout_s: float, stopped: Callable[[], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while not select.select([connection], [], [], LOOK_INTERVAL_S)[0]:
        _require_not_stopped(stopped)
        if time.monotonic() > deadline:
            raise Unavailable(f"it did not answer for {timeout_s:g} s")
    return _received(connection)


def _require_not_stopped(stopped: Callable[[], bool]) -> None:
    """Raise Unavailable if the run is `stopped`."""
    if stopped():
        raise Unavailable("the run is being stopped")


def _received(connection: socket.socket) -> dict[str, Any]:
    """Return the next message. Raises Unavailable, OSError if there is none."""
    message = connection.recv(MAX_MESSAGE_BYTES)
    if not message:
        raise Unavailable("it has ended without an answer")
    found: dict[str, Any] = json.loads(message)
    return found


def _kill(group: int) -> None:
    """Kill the process `group`, and wait until its leader is gone: until then its claim of the run counts."""
    deadline = time.monotonic() + KILL_TIMEOUT_S
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
        while time.monotonic() < deadline:
            reap_adopted(0)
            os.kill(group, 0)
            time.sleep(0.01)


def _move(busctl: list[str], unit: str, pid: int) -> None:
    """Move the process `pid` into `unit`, which is that of this process. Raises Unavailable, OSError."""
    _call([*busctl, "call", SYSTEMD, "/org/freedesktop/systemd1", f"{SYSTEMD}.Manager", "AttachProcessesToUnit",
           "ssau", unit, "", "1", str(pid)])
    if cgroup_of(str(pid)) != cgroup_of("self"):
        raise Unavailable(f"systemd has not moved its fork into {unit}")


def _require_common_sandbox(busctl: list[str]) -> None:
    """Raise Unavailable if a drop-in of the administrator is for the services of jobs, and so not for the worker's."""
    shown = _call([*busctl, "get-property", SYSTEMD, "/org/freedesktop/systemd1/unit/self", f"{SYSTEMD}.Unit",
                   "DropInPaths"])
    for path in shlex.split(shown)[2:]:
        if "/hermes-job@" in path and not OWN_DROP_INS.search(path) and not RESOURCE_CONTROL.search(path):
            raise Unavailable(f"{path} does not apply to it")


def _call(busctl: list[str]) -> str:
    """Return the output of `busctl`. Raises Unavailable, OSError."""
    try:
        done = subprocess.run(busctl, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=ANSWER_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"systemd did not answer for {ANSWER_TIMEOUT_S:g} s") from None
    if done.returncode:
        raise Unavailable(" ".join(done.stderr.split()))
    return done.stdout
