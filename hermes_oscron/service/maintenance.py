"""Start the agent's maintenance once an hour: what its own scheduler does beside firing jobs."""

import contextlib
import os
import time

from .. import config
from ..files import make_private_dir, touch
from ..hermes import agent, gateway
from ..hermes.home import homes_of
from ..runner.environment import job_environment
from ..schedulers import spawn
from ..schedulers.protocol import EndOfStart
from ..state import State

INTERVAL_S = 50 * 60.0
"""The hourly syncs are at least 55 minutes apart (hermes-oscron-sync.timer)."""
TIMEOUT_S = 20.0
"""The time for which a sync waits for the maintenance. A delivery that takes longer goes on by itself."""
LOOK_INTERVAL_S = 0.05


def start_if_due(root: str) -> list[EndOfStart]:
    """Start the maintenance of each profile of `root` that has jobs, if the last start was INTERVAL_S ago.

    A profile whose gateway looks for due jobs needs none. Raises ConfigError, SchedulerError, OSError.
    """
    marker = State(root).maintained
    with contextlib.suppress(FileNotFoundError):
        if 0 <= time.time() - os.stat(marker).st_mtime < INTERVAL_S:
            return []
    make_private_dir(State(root).folder)
    touch(marker)
    settings = config.load(root)
    python = agent.python_of(root, settings)
    if python is None:
        return []
    environment = job_environment(settings)
    return [spawn.start_detached(agent.maintain_command(python, home), environment=environment)
            for home in homes_of(root) if os.path.exists(home.jobs_file) and not gateway.is_alive(home)]


def run_if_due(root: str) -> None:
    """Start the maintenance as `start_if_due` does, and wait for its end. It raises the same errors."""
    deadline = time.monotonic() + TIMEOUT_S
    started = start_if_due(root)
    while any(end() is None for end in started) and time.monotonic() < deadline:
        time.sleep(LOOK_INTERVAL_S)
