"""The turn of a scheduled run: the limit on the runs in progress that holds for it, and the wait.

A queued run has imported no more than this, and what this imports.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from .. import config
from ..config import Config
from ..hermes import agent_settings, jobs_file
from ..hermes.home import Home, instance_name
from ..jobs.record import Record, next_run_of
from ..runs.lock import RunLock
from ..runs.model import SCHEDULE, Run
from ..state import State
from .environment import STATUS_SOCKET, NoExecutor, home_environment, runs_in_agent
from .log import log, subject


class Limit(NamedTuple):
    """At most `runs` of the runs in the folder `queue` are in progress at once, according to `source`."""

    runs: int
    queue: str
    source: str


def limit_of(home: Home, record: Record, settings: Config) -> Limit | None:
    """Return the limit that holds for scheduled runs of the job of `record`, if there is one. Raises NoExecutor.

    The profiles share one queue, since they share the machine. One with a limit of its own in the agent's configuration
    has a queue of its own, as its gateway has. Without any setting only runs by the agent are limited: each takes a
    core and 100 MB while it starts.
    """
    if settings.max_parallel == 0 or _policy_of(home, record, settings).get("run_on", "local") != "local":
        return None  # the queue of a cluster is its own
    if settings.max_parallel:
        return Limit(settings.max_parallel, State(home.root).shared_queue, "[exec] max_parallel")
    own = agent_settings.limit(home, agent_settings.MAX_PARALLEL_JOBS, home_environment(home, settings))
    if own:
        return Limit(own, home.state.queue, "the agent's cron.max_parallel_jobs")
    if runs_in_agent(record, home, settings):
        return Limit(2 * len(os.sched_getaffinity(0)), State(home.root).shared_queue, "twice the number of cores")
    return None


def group_limit_of(home: Home, record: Record, settings: Config) -> Limit | None:
    """Return the limit of the group of the job of `record`, if its policy names one. An unusable one fails the run."""
    wanted = _policy_of(home, record, settings)
    if group := wanted.get("group"):
        return Limit(wanted.get("max_parallel", 1), f"{State(home.root).groups}/{group}", f"the group {group}")
    return None


def _policy_of(home: Home, record: Record, settings: Config) -> Mapping[str, Any]:
    """Return the policy in force for the job of `record`; an unusable one is empty here."""
    defaults = settings.policy_of(home.profile)
    if not record.get("policy") and not defaults:
        return {}
    from ..jobs import policy

    with contextlib.suppress(policy.ValidationError):
        return policy.over(defaults, policy.stored(record))
    return {}


def wait(home: Home, record: Record, run_lock: RunLock) -> bool:
    """Wait until the job of `record` may run, if the runs in progress are limited; return True if it was queued.

    A job that waits has the lock of its run. Raises StateFileError, OSError.
    """
    try:
        settings = config.load(home.root)
        limits = [group_limit_of(home, record, settings), limit_of(home, record, settings)]
    except (NoExecutor, config.ConfigError):
        return False  # the run reports it and fails
    waited = [_wait_for_turn(home, record, run_lock, limit) for limit in limits if limit]
    return any(waited)


def _wait_for_turn(home: Home, record: Record, run_lock: RunLock, limit: Limit) -> bool:
    """Wait until fewer than `limit` runs are in progress; until then the run is shown as queued. Return True if it was.

    Raises StateFileError, OSError.
    """
    from ..runs import queue

    due, job_id = next_run_of(record), record["id"]
    due_s = due.timestamp() if due else time.time()

    def queued() -> None:
        jobs_file.forget(home)  # thousands of jobs would stay in memory for as long as the run waits
        run_lock.write(Run(job_id, time.time(), SCHEDULE, queued=True, due=due_s))
        log(f"{subject(record)}: queued; at most {limit.runs} run at once ({limit.source})")
        show_status(f"Queued since {time.strftime('%Y-%m-%d %H:%M:%S %Z')}; at most {limit.runs} run at once "
                    f"({limit.source})")

    waited = queue.wait(limit.queue, instance_name(home.profile, job_id), due_s, limit.runs, queued)
    if waited:
        show_status("Running")
    return waited


def show_status(text: str) -> None:
    """Show `text` as the status of the unit, for systemctl(1) (sd_notify(3))."""
    path = os.environ.get(STATUS_SOCKET)
    if not path:
        return
    import socket

    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(f"STATUS={text}".encode(), path.replace("@", "\0", 1) if path[0] == "@" else path)
