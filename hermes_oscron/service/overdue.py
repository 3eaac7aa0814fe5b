"""Find jobs that are due and do not run, and start them, once."""

import contextlib
import datetime
import math
from collections.abc import Set

from .. import config
from ..barrier import use_each, use_or_none
from ..clock import Clock
from ..files import StateFileError
from ..hermes import job_store
from ..hermes.emergency_stop import paused
from ..hermes.home import Home, ProfileNotFound, home_of, split_instance
from ..hermes.jobs_file import JobNotFound
from ..jobs.model import Job
from ..runner.command import why_unrunnable
from ..runs import interrupted, lock
from ..schedulers.plan import limits_of
from ..schedulers.protocol import Problem, Scheduler, SchedulerError
from . import late


def find(home: Home, now: datetime.datetime, resolution: datetime.timedelta) -> set[str]:
    """Return the instances of `home` that are due at `now`, also those that are starting.

    Starting them again is harmless: systemd takes it for the same start, and of two runners the second finds the
    lock, or that the job is no longer due. While Hermes is paused, there are none. Raises StateFileError.
    """
    if paused(home):
        return set()
    jobs = {job.instance: job for job in interrupted.with_unrecorded_runs(home, job_store.read(home))}
    due, _ = use_each(jobs, lambda job: late.due_at(job, resolution))
    return {instance for instance, moment in due.items() if moment and moment <= now}


def start_each(root: str, scheduler: Scheduler, instances: Set[str], clock: Clock,
               started: dict[str, str]) -> list[Problem]:
    """Start each of `instances` that is due and not running, oldest first, and add it to `started` with a sentence."""
    problems = []
    for instance in sorted(instances, key=lambda instance: (_due_since(root, instance), instance)):
        try:
            profile, job_id = split_instance(instance)
            home = home_of(root, profile)
            job = job_store.find(home, job_id)
            due = job.next_run_at
            if due is None or due > clock.now() or not job.is_scheduled or lock.find(home, job_id) or paused(home):
                continue
            local = f"{due.astimezone(job.zone):%Y-%m-%d %H:%M:%S %Z}"
            if reason := _why_unrunnable(home, job):
                problems.append(Problem(instance, f"It was due at {local} and stays due: {reason}", needs_edit=True))
                continue
            scheduler.start(instance, limits_of(job))
        except (JobNotFound, ProfileNotFound):
            continue  # deleted since; the next round disarms it
        except (SchedulerError, StateFileError, config.ConfigError) as error:
            problems.append(Problem(instance, str(error)))
            continue
        name = job.record.get("name") or job.id
        started[instance] = f"{name} ({job.id}): was due at {local}, had not run; started now."
    return problems


def _due_since(root: str, instance: str) -> float:
    """Return since when `instance` is due, as a unix time; infinite if that is unknown."""
    with contextlib.suppress(JobNotFound, ProfileNotFound, StateFileError):  # met again, and handled, at its start
        profile, job_id = split_instance(instance)
        if due := job_store.find(home_of(root, profile), job_id).next_run_at:
            return due.timestamp()
    return math.inf


def _why_unrunnable(home: Home, job: Job) -> str | None:
    """Return why every run of `job` fails on this machine; None if no reason is known. Raises ConfigError."""
    settings = config.load(home.root)
    return use_or_none(job.instance, job, lambda job: why_unrunnable(job.record, home, settings))
