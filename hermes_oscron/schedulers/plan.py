"""Turn a job into the plan by which a scheduler arms it."""

import datetime
from collections.abc import Mapping
from typing import Any

from ..jobs.due import held_until, next_run
from ..jobs.model import Job
from ..jobs.placement import placement_of
from ..jobs.record import PAUSED
from ..schedule.model import INTERVAL, once_in_zone
from .protocol import NO_LIMITS, Limits, Plan


def plan_of(job: Job, now: datetime.datetime) -> Plan | None:
    """Return the plan of `job` at `now`; None if it has no occurrence to come. A job that is held fires once."""
    if held := held_until(job, now):
        return Plan(job.instance, once_in_zone(held, job.zone), job.zone, None, limits=limits_of(job))
    due = next_run(job, now)
    if job.schedule is None or (due is None and job.state != PAUSED):
        return None
    phase = (due or job.phase) if job.schedule.kind == INTERVAL else None
    return Plan(job.instance, job.schedule, job.zone, phase, job.state == PAUSED, limits_of(job))


def limits_of(job: Job) -> Limits:
    """Return the limits in the policy of `job`."""
    return limits_in(job.policy) if job.policy else NO_LIMITS


def limits_in(policy: Mapping[str, Any]) -> Limits:
    """Return the limits in `policy`."""
    if placement_of(policy):
        return Limits(policy.get("stop_timeout"), on_cluster=1)
    return Limits(**{name: policy[name] for name in Limits._fields if name in policy})


def without_paused(plans: Mapping[str, Plan]) -> dict[str, Plan]:
    """Return the plans that are not paused."""
    return {instance: plan for instance, plan in plans.items() if not plan.paused}
