"""The budget of a job: how much its runs may use in a day or a month of its zone, before scheduled ones are skipped."""

import datetime
from typing import NamedTuple

from .due import is_requested
from .missed import due_after
from .model import Job

USAGE = {"USD": "estimated_cost_usd", "tokens": "total_tokens"}
"""The key of each unit in the usage of a run."""
EXHAUSTED = "The budget of the job is exhausted: "


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
    return due_after(job, now), (f"{EXHAUSTED}of {job.policy['budget']}, its runs have used "
                                 f"{round(used, 4):.15g} since {budget.since:%Y-%m-%d %H:%M:%S %Z}.")


def exhausted_since(reason: str) -> str:
    """Return when the day or month began whose budget is exhausted, by the `reason` of a skipped row; else ""."""
    return reason.rpartition(" since ")[2] if reason.startswith(EXHAUSTED) else ""


def used_words(job: Job, used: float) -> str:
    """Return how much of its budget `job` has `used`, like "1,240 of 5,000 tokens today"."""
    amount, unit, _, period = job.policy["budget"].split()
    return f"{round(used, 4):,.15g} of {float(amount):,.15g} {unit} {'today' if period == 'day' else 'this month'}"
