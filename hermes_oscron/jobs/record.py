"""Read single fields of a job's record, in every form in which the agent writes them.

The module imports next to nothing: the runner reads a record before it starts the job, and every import delays that.
"""

import datetime
import re
from typing import Any, NamedTuple

Record = dict[str, Any]

SCHEDULED, PAUSED, COMPLETED, ERROR = "scheduled", "paused", "completed", "error"

RECURRING = ("cron", "interval")
"""The kinds of schedules that have more than one occurrence."""
OK, DELIVERY_FAILED, DELIVERY_QUEUED = "ok", "delivery_failed", "delivery_queued"
RAN = (OK, DELIVERY_FAILED, DELIVERY_QUEUED)
"""Each `last_status` of a run that went well, also if its output was not delivered; any other one is a failure."""
BLOCKED_MARK = r"^\[blocked_config(?::silent)?\]\s*"
"""The beginning of an error by which the agent's configuration blocks a run; `silent` if it sent no alert again."""
MAX_COUNT = 10**9
"""A larger number in a record is not a count of runs."""
COUNT = r"[+-]?[0-9]{1,10}"


QUOTA, UNREACHABLE = "quota", "model unreachable"
RETRY_FIELD = "policy_retry"
"""Our own field, of a job that waits for a retry by its policy."""
HOLD_FIELDS = ("quota_hold_until", "quota_hold_cron_expr", "unreachable_retry", RETRY_FIELD)
"""The fields that have the reason why a job waits; only the last is our own."""


class Hold(NamedTuple):
    """A job runs next at `until` instead of its schedule's next time, for a `reason`.

    It is the `retry` of that number, of the run that was due at `due`, or 0 and None for a hold of the agent.
    """

    until: datetime.datetime
    reason: str
    retry: int = 0
    due: datetime.datetime | None = None


class Repeat(NamedTuple):
    """The number of runs that a job should have (None: no limit) and the number that it has had."""

    times: int | None
    completed: int

    @property
    def is_last_run(self) -> bool:
        """True if the next run is the last."""
        return self.times is not None and self.times <= self.completed + 1


def state_of(record: Record) -> str:
    """Return `scheduled`, `paused`, `completed` or `error`, as the agent decides whether it runs the job.

    It runs none whose `enabled` is null, 0 or empty, or that has any mark of a pause; a one-shot in `error` neither.
    """
    state, schedule = record.get("state"), record.get("schedule")
    if state == COMPLETED:
        return COMPLETED
    if not record.get("enabled", True) or str(state).strip() == PAUSED or record.get("paused_at"):
        return PAUSED
    is_recurring = isinstance(schedule, dict) and schedule.get("kind") in RECURRING
    return ERROR if state == ERROR and not is_recurring else SCHEDULED


def hold_of(record: Record) -> Hold | None:
    """Return the hold of a scheduled job, which may have ended already; None if the job follows its schedule.

    A hold is in force as long as `next_run_at` is, as text, the time that the agent stored with it, and the expression
    is the one that it was stored for (`quota_hold.py` and `unreachable_retry.py` of the agent).
    """
    written = record.get("next_run_at")
    retry, schedule = record.get("unreachable_retry"), record.get("schedule")
    if not isinstance(written, str) or not isinstance(schedule, dict) or state_of(record) != SCHEDULED:
        return None
    expression = schedule.get("expr")
    until = instant(written)
    if until and record.get("quota_hold_until") == written:
        return Hold(until, QUOTA) if record.get("quota_hold_cron_expr") in (None, expression) else None
    if until and isinstance(retry, dict) and (retry.get("at"), retry.get("expr")) == (written, expression):
        return Hold(until, UNREACHABLE)
    ours = record.get(RETRY_FIELD)
    if until and isinstance(ours, dict) and (ours.get("at"), ours.get("expr")) == (written, expression):
        number, due = ours.get("retry"), instant(ours.get("due"))
        if isinstance(number, int) and due:
            return Hold(until, f"retry {number} of {ours.get('of')}", number, due)
    return None


def repeat_of(record: Record) -> Repeat:
    """Return the repeat count of `record`, which older clients stored as a number or a word.

    Anything that is not a positive count means no limit.
    """
    stored = record.get("repeat")
    repeat = stored if isinstance(stored, dict) else {"times": stored}
    times = _count(repeat.get("times"))
    return Repeat(times if times > 0 else None, max(_count(repeat.get("completed")), 0))


def is_used_up(record: Record) -> bool:
    """Return True if `record` is of a one-shot that has had all its runs; the agent does not run it again."""
    schedule, repeat = record.get("schedule"), repeat_of(record)
    return (isinstance(schedule, dict) and schedule.get("kind") not in RECURRING
            and repeat.times is not None and repeat.completed >= repeat.times)


def _count(value: object) -> int:
    """Return `value` as a count of runs, as the agent's `normalize_repeat_value` reads it; 0 for anything else."""
    if isinstance(value, str):
        word = value.strip().lower()
        value = 1 if word in ("once", "one", "1x") else int(word) if re.fullmatch(COUNT, word) else 0
    if not isinstance(value, int | float) or not abs(value) <= MAX_COUNT:  # NaN is not either
        return 0
    return int(value)


def instant(value: object) -> datetime.datetime | None:
    """Parse a date of a record, ISO text or unix seconds, to an aware UTC datetime; None for anything else.

    Dates in the years 1 and 9999 count as unusable, because not every zone can show them.
    """
    moment = None
    try:
        if isinstance(value, str):
            moment = datetime.datetime.fromisoformat(value).astimezone(datetime.UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            moment = datetime.datetime.fromtimestamp(value, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return moment if moment and datetime.MINYEAR < moment.year < datetime.MAXYEAR else None


def next_run_of(record: Record) -> datetime.datetime | None:
    """Return the `next_run_at` of `record`, in UTC. The agent ignores one that is not ISO text, as if it were unset."""
    written = record.get("next_run_at")
    return instant(written) if isinstance(written, str) else None


def iso(moment: datetime.datetime, zone: datetime.tzinfo) -> str:
    """Return `moment` as records store it, in `zone`."""
    return moment.astimezone(zone).isoformat()


def text_of(value: object) -> str:
    """Return the field `value`, which should be a text, as the agent reads it; empty for null."""
    return "" if value is None else str(value)


def skills_of(record: Record) -> list[str]:
    """Return the skills of `record`, which the agent stores as `skills` or, in older versions, as `skill`."""
    skills = record.get("skills")
    stored = skills if isinstance(skills, list) else [skills or record.get("skill")]
    return list(dict.fromkeys(filter(None, (str(skill or "").strip() for skill in stored))))


def deliver_of(record: Record) -> str:
    """Return the targets of the output, with commas between them. Older clients stored a list."""
    stored = record.get("deliver")
    if isinstance(stored, list):
        stored = ",".join(filter(None, (str(target).strip() for target in stored)))
    return str(stored or "local")


def readable_error(error: object) -> Any:
    """Return the `last_error` of a record without the marks that the agent uses."""
    return re.sub(BLOCKED_MARK, "", error) if isinstance(error, str) else error


def is_delivered(record: Record) -> bool:
    """Return True if the job's output goes anywhere but to its own output files."""
    return deliver_of(record) != "local"
