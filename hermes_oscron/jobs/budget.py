"""The budget of a job: how much its runs may use in a day or a month of its zone, before scheduled ones are skipped."""

import datetime
from typing import NamedTuple

from .missed import due_after, is_requested
from .model import Job

USAGE = {"USD": "estimated_cost_usd", "tokens": "total_tokens"}
"""The key of each unit in the usage of a run."""


class Budget(NamedTuple):
    """An `amount` of a key of the usage of runs, for the runs that end from the time `since` on."""

    amount: float
    key: str
    since: datetime.datetime


def budget_of(job: Job, now: datetime.datetime) -> Budget | None:
    """Return the budget of `job` for the day or month of `now`; None if its policy has none."""
    words = job.policy.get("budget")
    if not words:
        return None
    amount, unit, _, period = words.split()
    since = now.astimezone(job.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return Budget(float(amount), USAGE[unit], since.replace(day=1) if period == "month" else since)


def skip_exhausted(job: Job, now: datetime.datetime, budget: Budget, used: float) -> tuple[Job, str]:
    """Return `job` due at its first occurrence after `now`, and why, if it has `used` its `budget`; else it and ""."""
    due = job.next_run_at
    is_due = due is not None and due <= now and job.is_scheduled and job.schedule is not None
    if not is_due or is_requested(job) or used < budget.amount:
        return job, ""
    return due_after(job, now), (f"The budget of the job is exhausted: of {job.policy['budget']}, its runs have used "
                                 f"{round(used, 4):.15g} since {budget.since:%Y-%m-%d %H:%M:%S %Z}.")
