"""Preview the effect of the next sync on each job, without a change."""

import datetime
import reprlib
from typing import NamedTuple

from ..barrier import use_each
from ..clock import CLOCK, Clock
from ..hermes import job_store
from ..hermes.home import homes_of
from ..jobs.due import why_never_fires
from ..jobs.lifecycle import refresh_next_run
from ..jobs.model import Job
from .selection import Selection
from .verify import disagreement


class Preview(NamedTuple):
    """The effect on one job, in words.

    `problem` is a sentence if croniter disagrees about the schedule. Such a job is armed by our occurrences all the
    same: it exists and may have been armed for long, and must not stop because of a doubt.
    """

    instance: str
    name: str
    effect: str
    problem: str = ""


def preview(selection: Selection, clock: Clock = CLOCK) -> list[Preview]:
    """Return the effect of the next sync on each job of every profile. Raises StateFileError."""
    now, resolution = clock.now(), selection.active.resolution
    found = []
    for home in homes_of(selection.root):
        jobs = job_store.by_instance(home)
        effects, unusable = use_each(jobs, lambda job: _effect(job, refresh_next_run(job, now, resolution), now))
        opinions, _ = use_each(jobs, lambda job: disagreement(job, now))
        found += [Preview(instance, _name(job), effects.get(instance) or f"never fires: {unusable[instance]}",
                          opinions.get(instance) or "")
                  for instance, job in jobs.items()]
    return found


def unused_entries(selection: Selection) -> list[str]:
    """Return a sentence for each entry of a jobs.json that is not used. Raises StateFileError."""
    return [sentence for home in homes_of(selection.root) for sentence in job_store.unusable(home)]


def _name(job: Job) -> str:
    name = job.record.get("name") or job.id
    return name if isinstance(name, str) else reprlib.repr(name)


def _effect(job: Job, after: Job, now: datetime.datetime) -> str:
    if sentence := why_never_fires(after, now):
        return f"never fires: {sentence}"
    if not after.is_scheduled:
        return f"stays {after.state}" if after.state == job.state else f"is {after.state}"
    due = after.next_run_at
    if due is None:
        return "never fires: its schedule has no occurrence left"
    local = due.astimezone(job.zone)
    return f"fires at {local:%Y-%m-%d %H:%M:%S %Z}" if due > now else f"runs at once: due {local:%Y-%m-%d %H:%M %Z}"
