"""The days on which a job does not run: before its first and after its last one, and those that are excluded.

A day is one in the zone of the job. It is looked up when the job is due, so that every scheduler skips the same days.
"""

import datetime
import re
from collections.abc import Iterable
from typing import Any

from ..errors import OscronError, shortened
from ..schedule.model import ONCE
from ..schedule.occurrences import next_occurrence
from .due import is_requested
from .model import Job
from .record import COMPLETED, HOLD_FIELDS, iso

KEYS = frozenset({"not_before", "not_after", "exclude"})
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
MAX_SKIPPED = 1000
"""The most occurrences that are looked at one by one, as of a minutely job on an excluded day that was missed."""

Days = tuple[datetime.date, datetime.date]
"""The first and the last of consecutive days."""


class NotADay(OscronError):
    """A text is neither a day nor a range of days."""

    status = 400


def days_in(text: str) -> Days:
    """Return the days that `text` means: `2026-12-24`, or `2026-12-24..2027-01-01`. Raises NotADay."""
    first, dots, last = text.partition("..")
    try:
        if re.fullmatch(DAY, first) and re.fullmatch(DAY, last or first) and bool(dots) == bool(last):
            days = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last or first)
            if days[0] <= days[1]:
                return days
    except ValueError:
        pass
    raise NotADay(f"{shortened(text)!a} is not a day like 2026-12-24, or a range like 2026-12-24..2027-01-01.")


def days_in_file(text: str) -> list[Days]:
    """Return the days in a file that has one entry on each line; the rest of a line after `#` is ignored."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [days_in(line) for line in lines if line]


def why_excluded(policy: dict[str, Any], day: datetime.date, excluded: Iterable[Days]) -> str:
    """Return why a job with `policy` does not run on `day`, in a sentence; "" if it does."""
    first, last = policy.get("not_before"), policy.get("not_after")
    if first and day < datetime.date.fromisoformat(first):
        return f"{day} is before {first}, the first day of the job by its policy."
    if last and day > datetime.date.fromisoformat(last):
        return f"{day} is after {last}, the last day of the job by its policy."
    if any(begin <= day <= end for begin, end in excluded):
        return f"{day} is excluded by the policy of the job."
    return ""


def skip_excluded(job: Job, now: datetime.datetime, excluded: Iterable[Days]) -> tuple[Job, str]:
    """Return `job` due at its first occurrence that is not excluded or after `now`, and why the present one is; or "".

    After its last day, and as a one-shot, it is completed.
    """
    due, schedule, policy = job.next_run_at, job.schedule, dict(job.policy)
    if due is None or schedule is None or due > now or not job.is_scheduled or is_requested(job):
        return job, ""
    reason = why_excluded(policy, due.astimezone(job.zone).date(), excluded)
    if not reason:
        return job, ""
    following = None if schedule.kind == ONCE else due
    for _ in range(MAX_SKIPPED):
        following = next_occurrence(schedule, following, job.zone, job.phase) if following else None
        day = following.astimezone(job.zone).date() if following else None
        if following is None or day is None or following > now or not why_excluded(policy, day, excluded):
            break
    else:
        following = next_occurrence(schedule, now, job.zone, job.phase)
    job = job.without_fields(*HOLD_FIELDS)
    last = policy.get("not_after")
    if following is None or (last and following.astimezone(job.zone).date() > datetime.date.fromisoformat(last)):
        return job.with_fields({"state": COMPLETED, "enabled": False, "next_run_at": None}), reason
    return job.with_fields({"next_run_at": iso(following, job.zone)}), reason
