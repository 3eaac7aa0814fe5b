"""The retries of a run that failed: a hold of the job until the time of the next attempt.

A pure function from Job to Job. The hold is armed as a timer, as those of the agent are, and ends with the attempt.
"""

import datetime
from typing import NamedTuple

from ..schedule.model import ONCE
from ..schedule.occurrences import next_occurrence
from .model import Job
from .record import PAUSED, RETRY_FIELD, SCHEDULED, hold_of, iso

DEFAULT_DELAY_S, DEFAULT_BACKOFF, DEFAULT_ON = 60, 2, ("error", "timeout", "interrupted")
MAX_DELAY_S = 30 * 86400


class Failure(NamedTuple):
    """A run that did not go well, which answered the occurrence `due` as the retry `retry`, 0 for the first attempt."""

    outcome: str
    code: int | None
    due: datetime.datetime
    retry: int
    ended: datetime.datetime


def with_retry(before: Job, after: Job, failure: Failure) -> Job:
    """Return `after`, the job `before` with the run recorded, held until the next attempt if its policy has one.

    There is none if the agent has a retry of its own, or if the next occurrence is as soon. A run counts once, however
    many attempts it needs.
    """
    policy, schedule = after.policy, after.schedule
    retry_on = policy.get("retry_on", DEFAULT_ON)
    if (failure.retry >= policy.get("retries", 0) or schedule is None or hold_of(after.record)
            or not (failure.outcome in retry_on or failure.code in retry_on)
            or not before.is_scheduled or after.state == PAUSED or after.schedule != before.schedule):
        return after
    delay_s = policy.get("retry_delay", DEFAULT_DELAY_S) * policy.get("retry_backoff", DEFAULT_BACKOFF) ** failure.retry
    at = failure.ended.replace(microsecond=0) + datetime.timedelta(seconds=1 + min(delay_s, MAX_DELAY_S))
    following = None if schedule.kind == ONCE else next_occurrence(schedule, failure.ended, after.zone, before.phase)
    if following and following <= at:
        return after
    text = iso(at, after.zone)
    hold = {"at": text, "expr": (after.record.get("schedule") or {}).get("expr"), "retry": failure.retry + 1,
            "of": policy["retries"], "due": iso(failure.due, after.zone)}
    return after.with_repeat(*before.repeat).with_fields({
        "state": SCHEDULED, "enabled": True, "next_run_at": text, RETRY_FIELD: hold})
