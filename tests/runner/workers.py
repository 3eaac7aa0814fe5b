"""Agent workers, started for a socket as systemd starts them."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hermes_oscron.hermes.agent import WORKER_SCRIPT
from hermes_oscron.runner.agent_worker import WorkerProcess, begun
from hermes_oscron.runner.process import Command
from hermes_oscron.runner.worker_socket import connect

SCHEDULER = "import os\nPID = os.getpid()\n"


class Listener:
    """The socket of a worker in the folder `place`, and the worker, which is `command` in `environment`."""

    def __init__(self, place: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.address = f"{place}/socket"
        self._command, self._environment = command, environment
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(self.address)
        self._socket.listen()
        self.start()

    def start(self) -> None:
        """Start the worker, as systemd does for a connection."""
        listener = self._socket.fileno()
        self.process = subprocess.Popen(self._command, env={**self._environment, "LISTEN_FDS": "1"}, pass_fds=(3,),
                                        preexec_fn=lambda: os.dup2(listener, 3))

    def begin(self, command: Command, move: Callable[[int], None] = lambda _pid: None) -> WorkerProcess:
        return begun(command, lambda: connect(self.address), lambda: False, move)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._socket.close()


class SmallAgent(Listener):
    """A worker of an agent whose module `cron.scheduler`, and other `modules` of `cron`, the test writes."""

    def __init__(self, place: Path, scheduler: str = SCHEDULER, **modules: str) -> None:
        self.place = place
        (place / "agent" / "cron").mkdir(parents=True)
        modules = {"scheduler_provider": "", "executions": "", "__init__": "", "scheduler": scheduler, **modules}
        for name, text in modules.items():
            (place / "agent" / "cron" / f"{name}.py").write_text(text)
        self.scheduler = place / "agent" / "cron" / "scheduler.py"
        self.settings = place / "config.yaml"
        self.settings.write_text("a: 1\n")
        self.environment = {**os.environ, "PYTHONPATH": f"{place}/agent", "PYTHONDONTWRITEBYTECODE": "1"}
        super().__init__(place, [sys.executable, "-P", WORKER_SCRIPT, "", str(self.settings)], self.environment)

    def command(self, script: str, **environment: str) -> Command:
        """Return a command of the agent's Python that runs `script`."""
        (self.place / "script.py").write_text(script)
        return Command([sys.executable, "-P", f"{self.place}/script.py", "an argument"], b"", str(self.place),
                       {**self.environment, "HERMES_JOB_RUN": "this@1", **environment}, by_agent=True)


def own_workers(root: Path) -> list[int]:
    """Return the workers of `root` that run without systemd, without their waiters and forks."""
    listed = subprocess.run(["ps", "-axww", "-o", "pid=,sid=,stat=,args="], capture_output=True, text=True,
                            check=True).stdout.splitlines()
    found = [line.split(None, 3) for line in listed if f" {root}/cron/oscron/agent-worker " in line]
    return [int(pid) for pid, session, state, _ in found if pid == session and state[0] != "Z"]


def result(process: WorkerProcess) -> tuple[int, str, str]:
    """Return the exit status, the output and the errors of `process`, which gets no input."""
    process.stdin.close()
    return process.wait(), process.stdout.read().decode(), process.stderr.read().decode()
