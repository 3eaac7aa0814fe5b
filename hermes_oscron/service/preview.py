"""Preview the effect of the next sync on each job, without a change."""

import datetime
import reprlib
from typing import NamedTuple

from ..barrier import use_each
from ..clock import CLOCK, Clock
from ..hermes import job_store
from ..hermes.home import homes_of
from ..jobs.lifecycle import refresh_next_run
from ..jobs.model import Job
from .selection import Selection


class Preview(NamedTuple):
    """The effect on one job, in words."""

    instance: str
    name: str
    effect: str


def preview(selection: Selection, clock: Clock = CLOCK) -> list[Preview]:
    """Return the effect of the next sync on each job of every profile. Raises StateFileError."""
    now, resolution = clock.now(), selection.active.resolution
    found = []
    for home in homes_of(selection.root):
        jobs = job_store.by_instance(home)
        effects, unusable = use_each(jobs, lambda job: _effect(job, refresh_next_run(job, now, resolution), now))
        found += [Preview(instance, _name(job), effects.get(instance) or f"never fires: {unusable[instance]}")
                  for instance, job in jobs.items()]
    return found


def _name(job: Job) -> str:
    name = job.record.get("name") or job.id
    return name if isinstance(name, str) else reprlib.repr(name)


def _effect(job: Job, after: Job, now: datetime.datetime) -> str:
    if job.schedule is None:
        return f"never fires: {job.schedule_error}"
    if not after.is_scheduled:
        return f"stays {after.state}" if after.state == job.state else f"is {after.state}"
    due = after.next_run_at
    if due is None:
        return "never fires: its schedule has no occurrence left"
    local = due.astimezone(job.zone)
    return f"fires at {local:%Y-%m-%d %H:%M:%S %Z}" if due > now else f"runs at once: due {local:%Y-%m-%d %H:%M %Z}"
