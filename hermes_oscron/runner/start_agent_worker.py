"""python -m hermes_oscron.runner.start_agent_worker PROFILE: become the agent worker of a profile.

The worker is in_agent/worker.py, in the agent's own Python, and in the environment that the runs of the profile have.
systemd starts this; elsewhere a run calls `execute` in a fork (runner/worker_socket.py).
"""

import contextlib
import os
import socket
import sys

from .. import config
from ..errors import OscronError
from ..hermes import agent
from ..hermes.home import Home, hermes_root, home_of
from .environment import job_environment

LISTEN_FD = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""


def execute(home: Home, path: str, **variables: str) -> None:
    """Execute the worker of `home`, whose socket is LISTEN_FD, with `variables`. Raises OscronError, OSError.

    `path` is that of the socket; "" if the socket is systemd's.
    """
    settings = config.load(home.root)
    python = agent.python_of(home.root, settings)
    if not python:
        raise agent.AgentNotFound("The Hermes agent was not found.")
    os.set_inheritable(LISTEN_FD, True)
    os.execve(python, agent.worker_command(python, home, path),
              {**job_environment(settings), "HERMES_HOME": home.path, **variables})


def main(profile: str) -> None:
    """Execute the worker. If there is no agent, close the connections that wait for it, and exit with status 1."""
    try:
        execute(home_of(hermes_root(), profile), "")
    except (OscronError, OSError) as error:
        print(error, file=sys.stderr, flush=True)
    with socket.socket(fileno=LISTEN_FD) as listener, contextlib.suppress(BlockingIOError):
        listener.setblocking(False)
        while True:
            listener.accept()[0].close()


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.exit(1)
