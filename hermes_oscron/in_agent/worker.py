"""worker.py FILE…: import the Hermes agent once, and run commands of its Python in forks of this process.

systemd starts it for a connection to its socket (sd_listen_fds(3)). It discards itself after IDLE_S without one, and
when a file of the agent or one of FILE… changes. The client is runner/agent_worker.py. Each message is a JSON object:

1. The client sends a command, `{argv, directory, environment, umask}`, with its standard descriptors.
2. The worker forks a waiter, which answers `{waiter: PID}`, `{refused: REASON}`, or `{stale: true}`: try once more.
3. The client moves the waiter into the unit of the job, and sends `{begin: true}`.
4. The waiter forks the command, which does nothing yet, and answers `{begun: PID}`. Only then does the command begin.
5. When it has ended, the waiter answers `{ended: STATUS}`, negative for a signal.

So a connection that ends without `begun` is a command that has not begun and never will. The worker itself reads no
request, so it has no secret of a run. After `{begin: true}` a waiter and its command do not need it. If it is killed
before, the command does not begin; if it ends by itself, it waits for the waiters that are still in its unit.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
from typing import Any

LISTEN_FD = 3  # SD_LISTEN_FDS_START
IDLE_S = 60.0
MAX_MESSAGE_BYTES = 1024 * 1024
MODULES = ("cron.scheduler", "cron.scheduler_provider", "cron.executions")
OF_MOST_RUNS = (
    "hermes_logging", "run_agent", "hermes_state", "cron.monitor", "openai.resources", "httpcore", "unittest.mock",
    "croniter", "edge_tts", "nemo_relay", "snowballstemmer", "agent.agent_init", "agent.agent_runtime_helpers",
    "agent.anthropic_adapter", "agent.chat_completion_helpers", "agent.conversation_loop", "agent.image_routing",
    "agent.models_dev", "agent.ssl_verify", "agent.system_prompt", "agent.transports.anthropic",
    "agent.transports.bedrock", "agent.transports.chat_completions", "agent.transports.codex", "agent.turn_finalizer",
    "hermes_cli.models", "hermes_cli.profiles", "hermes_cli.runtime_provider", "hermes_cli.tools_config",
    "plugins.plugin_loader", "tools.checkpoint_manager", "tools.computer_use.cua_backend", "tools.mcp_tool",
    "tools.schema_sanitizer", "tools.tool_search")
"""Modules that a run imports when it needs them, which takes it 0.4 to 1 s of CPU. Not every agent has all of them."""
NEGOTIATION_TIMEOUT_S = 15.0
"""The time from a connection to the begin of its run that a worker which ends waits for."""
THREADS_TIMEOUT_S = 20.0
"""The time for which a thread of the import may go on."""
OF_ONE_PROCESS = ("HERMES_JOB_", "SYSTEMD_EXEC_PID", "INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_", "MAINPID",
                  "MANAGERPID", "MEMORY_PRESSURE_", "MONITOR_", "NOTIFY_SOCKET", "TRIGGER_", "WATCHDOG_")
"""Prefixes of the variables that are different in each run or unit (systemd.exec(5))."""
Signature = tuple[int, int, int]


class Worker:
    """The imported agent, and all that must still be as it was at the import when a command begins."""

    def __init__(self, listener: socket.socket, files: list[str]) -> None:
        """Import the agent. Raises an exception if that fails, or if forks of this process would not be safe."""
        self._listener = listener
        self._environment = dict(os.environ)
        began = time.time_ns()
        _import_agent()
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
            ready, _, _ = select.select([self._listener.fileno(), self._stale], [], [], IDLE_S)
            if not ready or self._stale in ready:
                self._end()
            connection, _ = self._listener.accept()
            with connection, contextlib.suppress(OSError):  # a client whose fork fails finds its connection closed
                if os.fork() == 0:
                    return self._attend(connection)

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
        if refusal := self._refusal(request):
            _send(connection, **refusal)
            return None
        _send(connection, waiter=os.getpid())
        if not connection.recv(MAX_MESSAGE_BYTES):
            return None
        os.close(self._negotiating)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a stop of the unit is for the command
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        held, release = os.pipe()
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
        _, status = os.waitpid(pid, 0)
        _send(connection, ended=os.waitstatus_to_exitcode(status))
        return None

    def _refusal(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a `request` that this worker must not run; None if it may."""
        if self._has_changed():
            os.write(self._on_stale, b"!")
            return {"stale": True}
        if request["argv"][:2] != sys.orig_argv[:2]:
            return {"refused": f"it runs {sys.orig_argv[0]}"}
        ours, theirs = _shared(self._environment), _shared(request["environment"])
        if different := sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)):
            return {"refused": f"its environment has another {', '.join(different)}"}
        try:
            os.chdir(request["directory"])
        except OSError as error:
            return {"refused": str(error)}
        return None

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
    """Import the agent. Raises an exception if that fails, or if a thread that it started goes on."""
    for name in MODULES:
        importlib.import_module(name)
    for name in OF_MOST_RUNS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.suppress(ImportError, AttributeError):  # 1 s of CPU in a thread, of which each run has the answer
        importlib.import_module("tools.env_probe").get_environment_probe_line()
    deadline = time.monotonic() + THREADS_TIMEOUT_S
    while len(os.listdir("/proc/self/task")) > 1:
        if time.monotonic() > deadline:
            raise RuntimeError("the import of the agent has started a thread, so it cannot be forked")
        time.sleep(0.01)


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


def _send(connection: socket.socket, **message: Any) -> None:
    connection.send(json.dumps(message).encode())


def refuse_all(listener: socket.socket) -> None:
    """Close the connections that wait: systemd would start this process again for them at once."""
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()


def main(*files: str) -> None:
    """Serve, and in a fork run a command. Does not return in the worker."""
    listener = socket.socket(fileno=LISTEN_FD)
    listener.set_inheritable(False)
    try:
        worker = Worker(listener, list(files))
    except BaseException as error:
        print(f"The agent cannot be imported: {error!r}", file=sys.stderr, flush=True)
        refuse_all(listener)
        os._exit(1)
    request = worker.serve()
    worker.run(request)


if __name__ == "__main__":
    main(*sys.argv[1:])
