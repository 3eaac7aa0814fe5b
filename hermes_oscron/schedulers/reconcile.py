"""Bring what is armed in line with the plans: the difference and the changes, the same for every scheduler."""

import datetime
from collections.abc import Callable, Mapping

from .protocol import Changes, Drift, Plan, Problem, Report, Scheduler

NOT_RUNNING = b""
"""The content of an armed instance that is installed but does not fire."""


def compare(wanted: Mapping[str, bytes], armed: Mapping[str, bytes], noun: str) -> dict[str, str]:
    """Return a sentence for each instance that is not `armed` as `wanted`; an empty one for a harmless leftover.

    The values are the contents that the system has, or should have. `noun` names it: "timer", "crontab line".
    """
    wrong = {}
    for instance, content in wanted.items():
        if instance not in armed:
            wrong[instance] = f"it has no {noun}, so it will not fire."
        elif armed[instance] != content:
            wrong[instance] = (f"its {noun} is not running or damaged, so it may not fire."
                               if armed[instance] == NOT_RUNNING else f"its {noun} differs from jobs.json.")
    for instance, content in armed.items():
        if instance not in wanted:
            wrong[instance] = "" if content == NOT_RUNNING else f"it has a {noun}, but no scheduled job in jobs.json."
    return wrong


def reconcile(scheduler: Scheduler, plans: Mapping[str, Plan], now: datetime.datetime,
              skip: Callable[[str], bool]) -> Report:
    """Make exactly `plans` armed; instances for which `skip` is true are not changed. Raises SchedulerError."""
    drift = scheduler.drift(plans, now)
    report = scheduler.apply(changes_for(drift, plans, skip), now)
    unusable = [Problem(instance, reason, needs_edit=True) for instance, reason in drift.unusable.items()]
    return report._replace(problems=unusable + report.problems)


def changes_for(drift: Drift, plans: Mapping[str, Plan], skip: Callable[[str], bool]) -> Changes:
    """Return the changes that remove `drift`."""
    wrong = [instance for instance in drift.wrong if not skip(instance)]
    arm = {instance: plans[instance] for instance in wrong if instance in plans and instance not in drift.unusable}
    return Changes(arm, [instance for instance in wrong if instance not in arm or instance in drift.disarm_first])
