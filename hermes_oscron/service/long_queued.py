"""Find runs that have been queued for long, for example behind runs that do not end."""

import contextlib
import datetime
import time
from collections.abc import Mapping

from ..config import Config
from ..files import StateFileError
from ..hermes.home import Home, ProfileNotFound, home_of, split_instance
from ..jobs.model import Job
from ..runner.environment import NoExecutor
from ..runner.turn import Limit, group_limit_of, limit_of
from ..runs import lock, queue
from ..runs.model import Run
from ..state import State
from .findings import WARNING, Finding

LONG_S = 3600.0
MAX_NAMED = 3
"""The number of runs in progress that are named."""
TIME = "%Y-%m-%d %H:%M %Z"


def long_queued(home: Home, jobs: Mapping[str, Job], settings: Config) -> list[Finding]:
    """Return a finding for each queue in which runs of `home` have waited for longer than LONG_S."""
    waiting: dict[str, list[Run]] = {}
    for run in lock.running(home).values():
        if run.queued and time.time() - run.started_at > LONG_S and f"{home.profile}:{run.job_id}" in jobs:
            group = group_limit_of(home, jobs[f"{home.profile}:{run.job_id}"].record, settings)
            for folder in (home.state.queue, State(home.root).shared_queue, *([group.queue] if group else [])):
                if queue.has_ticket(folder, f"{home.profile}:{run.job_id}"):
                    waiting.setdefault(folder, []).append(run)
    return [_finding(home, jobs, settings, folder, runs) for folder, runs in waiting.items()]


def _finding(home: Home, jobs: Mapping[str, Job], settings: Config, folder: str, runs: list[Run]) -> Finding:
    first, *others = sorted(runs, key=lambda run: run.started_at)
    job = jobs[f"{home.profile}:{first.job_id}"]
    limit = _limit(home, job, settings, folder)
    at_most = (f"at most {limit.runs} run at once ({limit.source})" if limit else
               "another limit held for it than the present one")
    more = f", like {len(others)} other{'s' * (len(others) > 1)} of this profile for over an hour" if others else ""
    return Finding(WARNING, job.instance, f"{job.instance}: its run has been queued since {_time(first, job)}{more}: "
                                          f"{at_most}, and {_in_progress(home, job, folder)}")


def _limit(home: Home, job: Job, settings: Config, folder: str) -> Limit | None:
    """Return the limit of `job` for the queue `folder`, if it has one at present."""
    limits = [group_limit_of(home, job.record, settings)]
    with contextlib.suppress(NoExecutor):
        limits.append(limit_of(home, job.record, settings))
    return next((limit for limit in limits if limit and limit.queue == folder), None)


def _in_progress(home: Home, job: Job, folder: str) -> str:
    """Return which runs have their turn in the queue `folder`, since when, and what to do."""
    try:
        turns = queue.turns(folder)
    except (StateFileError, OSError) as error:
        return f"which ones have their turn is unknown: {error}"
    oldest = sorted((run.started_at, turn, run) for turn in turns if (run := _run_of(home.root, turn.instance)))
    if not oldest:
        return "no run has its turn; 'hermes-oscron list' shows whether that changes within a minute."
    named = [f"{turn.instance} has run since {_time(run, job)}" for _, turn, run in oldest[:MAX_NAMED]]
    named += [f"{len(oldest) - MAX_NAMED} more run"] * (len(oldest) > MAX_NAMED)
    _, turn, _ = oldest[0]
    return (f"{', '.join(named)}. If a run does not end by itself, end it: 'kill {turn.pid}' ends that of "
            f"{turn.instance}.")


def _run_of(root: str, instance: str) -> Run | None:
    profile, job_id = split_instance(instance)
    with contextlib.suppress(ProfileNotFound):  # it was removed during the run
        return lock.find(home_of(root, profile), job_id)
    return None


def _time(run: Run, job: Job) -> str:
    return f"{datetime.datetime.fromtimestamp(run.started_at, job.zone):{TIME}}"
