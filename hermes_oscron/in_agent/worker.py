"""worker.py SOCKET FILE…: import the Hermes agent once, and run commands of its Python in forks of this process.

systemd starts it for a connection to its socket (sd_listen_fds(3)), or a run does; then SOCKET is the path of the
socket, and otherwise empty. It discards itself after IDLE_S without a connection, after MAX_AGE_S, and when a file of
the agent or one of FILE… changes. The client is runner/agent_worker.py. Each message is a JSON object:

1. The client sends a command, `{argv, directory, environment, umask}`, with its standard descriptors.
2. The worker forks a waiter, which answers `{waiter: PID}`, `{refused: REASON}`, or `{stale: true}`: try once more.
3. The client moves the waiter into the unit of the job, if there is one, and sends `{begin: true}`.
4. The waiter forks the command, which does nothing yet, and answers `{begun: PID}`. Only then does the command begin.
5. When it has ended, the waiter answers `{ended: STATUS}`, negative for a signal. It is the parent of what the
   command has left behind, until the client closes the connection.

So a connection that ends without `begun` is a command that has not begun and never will. The worker itself reads no
request, so it has no secret of a run. After `{begin: true}` a waiter and its command do not need it. If it is killed
before, the command does not begin; if it ends by itself, it waits for the waiters that are still in its unit.
"""

import contextlib
import ctypes
import gc
import json
import os
import runpy
import select
import signal
import socket
import stat
import sys
import time
from typing import Any

LISTEN_FD = 3  # SD_LISTEN_FDS_START
IDLE_S = 60.0
MAX_AGE_S = 600.0
"""A tool whose check fails at the import is missing in all runs of the worker, but not for longer than this."""
MAX_MESSAGE_BYTES = 1024 * 1024
PRELOAD = f"{os.path.dirname(os.path.abspath(__file__))}/preload.py"
NEGOTIATION_TIMEOUT_S = 15.0
"""The time from a connection to the begin of its run that a worker which ends waits for."""
REQUEST_TIMEOUT_S = 1.0
"""The time for the request on a connection that is then refused."""
PR_SET_CHILD_SUBREAPER = 36
THREADS_TIMEOUT_S = 20.0
"""The time for which a thread of the import may go on."""
OF_ONE_PROCESS = ("HERMES_JOB_", "SYSTEMD_EXEC_PID", "INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_", "MAINPID",
                  "MANAGERPID", "MEMORY_PRESSURE_", "MONITOR_", "NOTIFY_SOCKET", "TRIGGER_", "WATCHDOG_")
"""Prefixes of the variables that are different in each run or unit (systemd.exec(5))."""
PASSED_ON = ("Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed")
"""Prefixes of the lines of proc_pid_status(5) that a process passes on to its children."""
Signature = tuple[int, int, int]


class Worker:
    """The imported agent, and all that must still be as it was at the import when a command begins."""

    def __init__(self, listener: socket.socket, path: str, files: list[str]) -> None:
        """Import the agent. Raises an exception if that fails, or if forks of this process would not be safe."""
        self._listener = listener
        self._path, self._socket = path, _signature(path)
        self._environment = dict(os.environ)
        began = time.time_ns()
        _import_agent()
        self._ends_at = time.monotonic() + MAX_AGE_S
        self._files = {path: _signature(path) for path in {*files, *_sources()}}
        self._changed_early = any(changed > began for *_, changed in self._files.values())
        self._folders = {folder: _signature(folder)[1] for folder in map(os.path.dirname, _sources())}
        self._stale, self._on_stale = os.pipe()
        self._negotiated, self._negotiating = os.pipe()  # each waiter closes its copy of the second when a run begins
        gc.collect()
        gc.freeze()  # so that a collection in a fork does not copy these pages

    def serve(self) -> dict[str, Any]:
        """Serve connections. Returns only in a fork that is to run a command, with its request."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that waiters do not stay as zombies
        while True:
            if self._must_end():
                self._end()
            connection, _ = self._listener.accept()
            with connection, contextlib.suppress(OSError):  # a client whose fork fails finds its connection closed
                if os.fork() == 0:
                    return self._attend(connection)

    def _must_end(self) -> bool:
        """Return True if there has been no connection for IDLE_S, or if the worker is stale or old, and none waits."""
        left_s = max(0.0, self._ends_at - time.monotonic())
        ready, _, _ = select.select([self._listener.fileno(), self._stale], [], [], min(IDLE_S, left_s))
        if not ready or self._stale in ready:
            self.remove_name()
            return not (self._path and select.select([self._listener], [], [], 0)[0])
        return False

    def remove_name(self) -> None:
        """Remove the name of the socket, so that the next run starts another worker. A socket of systemd stays."""
        if self._path and _signature(self._path) == self._socket:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _end(self) -> None:
        """Exit when no waiter is left in the worker's unit, where systemd kills it. A connection starts another one."""
        os.close(self._negotiating)
        select.select([self._negotiated], [], [], NEGOTIATION_TIMEOUT_S)
        os._exit(0)

    def _attend(self, connection: socket.socket) -> dict[str, Any]:
        """Be the waiter of `connection`. Returns only in the fork that is to run the command."""
        request = None
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._listener.close()
            request = self._negotiate(connection)
        except Exception as error:
            print(f"A run could not be forked: {error!r}", file=sys.stderr, flush=True)
        finally:
            if request is None:
                os._exit(0)
        return request

    def _negotiate(self, connection: socket.socket) -> dict[str, Any] | None:
        """Return the request in the fork that is to run it; None in the waiter, when all is done."""
        text, descriptors, _, _ = socket.recv_fds(connection, MAX_MESSAGE_BYTES, 3, socket.MSG_CMSG_CLOEXEC)
        request: dict[str, Any] = json.loads(text)
        if refusal := self._refusal(request, connection):
            _send(connection, **refusal)
            return None
        _send(connection, waiter=os.getpid())
        if not connection.recv(MAX_MESSAGE_BYTES):
            return None
        os.close(self._negotiating)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a stop of the unit is for the command
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        held, release = os.pipe()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        pid = os.fork()
        if pid == 0:
            connection.close()
            os.close(release)
            os.setpgid(0, 0)
            if not os.read(held, 1):  # the waiter has ended, and may not have announced the begin
                return None
            os.close(held)
            return {**request, "descriptors": descriptors}
        os.setpgid(pid, pid)
        for each in (*descriptors, held):
            os.close(each)
        _send(connection, begun=pid)
        os.write(release, b"!")
        _wait(pid, connection)
        return None

    def _refusal(self, request: dict[str, Any], connection: socket.socket) -> dict[str, Any] | None:
        """Return the answer to a `request` that this worker must not run; None if it may."""
        try:
            different = self._difference(request, connection)
        except OSError as error:
            return {"refused": f"it cannot compare the run with itself: {error}"}
        if self._has_changed() or (different and self._path):  # a run starts another, which is as the run must be
            self.remove_name()
            os.write(self._on_stale, b"!")
            return {"stale": True}
        if different:
            return {"refused": different}
        try:
            os.chdir(request["directory"])
        except OSError as error:
            return {"refused": str(error)}
        return None

    def _difference(self, request: dict[str, Any], connection: socket.socket) -> str:
        """Return what would be different for the command of `request` in a process of its own; "" if nothing would."""
        if request["argv"][:2] != sys.orig_argv[:2]:
            return f"it runs {sys.orig_argv[0]}"
        ours, theirs = _shared(self._environment), _shared(request["environment"])
        if self._path:
            ours, theirs = ours | _passed_on(os.getpid()), theirs | _passed_on(_peer(connection))
        different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        return f"its environment has another {', '.join(different)}" if different else ""

    def _has_changed(self) -> bool:
        """Return True if a file of the agent or its configuration is not as it was before the import."""
        return (self._changed_early or any(_signature(path) != found for path, found in self._files.items())
                or any(_signature(folder)[1] != found for folder, found in self._folders.items()))

    def run(self, request: dict[str, Any]) -> None:
        """Run the command of `request` in this process, which becomes as a new one would be."""
        for number, descriptor in enumerate(request["descriptors"]):
            os.dup2(descriptor, number)
            os.close(descriptor)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.umask(request["umask"])
        before, after = self._environment, dict(os.environ)  # the import has read `.env`
        os.environ.clear()
        os.environ.update({**{name: value for name, value in request["environment"].items()
                              if name not in before or name in after},
                           **{name: value for name, value in after.items() if before.get(name) != value}})
        time.tzset()
        sys.argv = request["argv"][2:]
        runpy.run_path(sys.argv[0], run_name="__main__")


def _import_agent() -> None:
    """Import the agent. Raises an exception if that fails, or if it leaves what forks of this process cannot share."""
    runpy.run_path(PRELOAD, run_name="preload")
    deadline = time.monotonic() + THREADS_TIMEOUT_S
    while len(os.listdir("/proc/self/task")) > 1:
        if time.monotonic() > deadline:
            raise RuntimeError("the import of the agent has started a thread, so it cannot be forked")
        time.sleep(0.01)
    gc.collect()
    if any(map(_is_connection, os.listdir("/proc/self/fd"))):
        raise RuntimeError("the import of the agent has left a connection open, so it cannot be forked")


def _is_connection(descriptor: str) -> bool:
    """Return True if `descriptor` of this process is a socket of the network."""
    with contextlib.suppress(OSError):  # it is closed by now
        if stat.S_ISSOCK(os.fstat(int(descriptor)).st_mode):
            with socket.socket(fileno=os.dup(int(descriptor))) as found:
                return found.family in (socket.AF_INET, socket.AF_INET6)
    return False


def _sources() -> set[str]:
    """Return the files of the imported modules, of this Python, and of its environment."""
    modules = {str(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)}
    return {*modules, os.path.realpath(sys.executable), f"{sys.prefix}/pyvenv.cfg"}


def _signature(path: str) -> Signature:
    """Return the size of `path`, and the times in ns of the last change of its content and of any kind.

    Not its inode number: a folder of an overlay file system has another one when the kernel has dropped it from memory.
    """
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _shared(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(OF_ONE_PROCESS)}


def _passed_on(pid: int) -> dict[str, str]:
    """Return all that the process `pid` passes on to its children beside its environment, by a name for each.

    It is empty if `pid` is 0, a process that the namespace of this one does not show. Raises OSError.
    """
    if not pid:
        return {}
    found = {"nice": str(os.getpriority(os.PRIO_PROCESS, pid)), "root": os.readlink(f"/proc/{pid}/root")}
    for name in os.listdir(f"/proc/{pid}/ns"):
        if not name.endswith("_for_children"):
            found[f"{name} namespace"] = os.readlink(f"/proc/{pid}/ns/{name}")
    for name in ("cgroup", "limits", "oom_score_adj", "status"):
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
            found[name] = "".join(line for line in file if name != "status" or line.startswith(PASSED_ON))
    return found


def _peer(connection: socket.socket) -> int:
    """Return the process at the other end of `connection` (SO_PEERCRED, unix(7))."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], sys.byteorder)


def _wait(pid: int, connection: socket.socket) -> None:
    """Announce the end of `pid`, and stay the parent of what it has left behind until the client has ended that.

    If the client is gone, stay until nothing is left: the next run of the job, or the next sync, ends it.
    """
    while (ended := os.wait())[0] != pid:
        pass
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # from here on the kernel reaps those that end
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    try:
        _send(connection, ended=os.waitstatus_to_exitcode(ended[1]))
        connection.recv(MAX_MESSAGE_BYTES)
    except OSError:
        with contextlib.suppress(ChildProcessError):
            os.wait()  # returns when there is no child


def _send(connection: socket.socket, **message: Any) -> None:
    connection.send(json.dumps(message).encode())


def refuse_all(listener: socket.socket, reason: str) -> None:
    """Refuse the connections that wait: systemd would start this process again for them at once."""
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(REQUEST_TIMEOUT_S)
                connection.recv(MAX_MESSAGE_BYTES)  # a request that is not read would discard the answer
                _send(connection, refused=reason)


def main(path: str, *files: str) -> None:
    """Serve, and in a fork run a command. Does not return in the worker."""
    listener = socket.socket(fileno=LISTEN_FD)
    listener.set_inheritable(False)
    try:
        worker = Worker(listener, path, list(files))
    except BaseException as error:
        reason = f"The agent cannot be imported: {error!r}"
        print(reason, file=sys.stderr, flush=True)
        if path:
            with contextlib.suppress(OSError):
                os.unlink(path)
        refuse_all(listener, reason)
        os._exit(1)
    request = worker.serve()
    worker.run(request)


if __name__ == "__main__":
    main(*sys.argv[1:])
