"""Read single fields of a job's record, in every form in which the agent writes them.

The module imports next to nothing: the runner reads a record before it starts the job, and every import delays that.
"""

import datetime
from typing import Any, NamedTuple

Record = dict[str, Any]

SCHEDULED, PAUSED, COMPLETED, ERROR = "scheduled", "paused", "completed", "error"

MAX_COUNT = 10**9
"""A larger number in a record is not a count of runs."""


class Repeat(NamedTuple):
    """The number of runs that a job should have (None: no limit) and the number that it has had."""

    times: int | None
    completed: int

    @property
    def is_last_run(self) -> bool:
        """True if the next run is the last."""
        return self.times is not None and self.times <= self.completed + 1


def state_of(record: Record) -> str:
    """Return `scheduled`, `paused` or `completed`, by whichever field the agent uses for it."""
    if record.get("state") == COMPLETED:
        return COMPLETED
    if record.get("state") == PAUSED or record.get("enabled", True) is False:
        return PAUSED
    return SCHEDULED


def repeat_of(record: Record) -> Repeat:
    """Return the repeat count of `record`; anything that is not a positive count means no limit."""
    stored = record.get("repeat")
    repeat = stored if isinstance(stored, dict) else {}
    times, completed = repeat.get("times"), repeat.get("completed")
    return Repeat(times if type(times) is int and 0 < times <= MAX_COUNT else None,
                  completed if type(completed) is int and abs(completed) <= MAX_COUNT else 0)


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


def skills_of(record: Record) -> list[Any]:
    """Return the skills of `record`, which the agent stores as `skills` or, in older versions, as `skill`."""
    skills = record.get("skills")
    if isinstance(skills, list):
        return skills
    single = skills or record.get("skill")
    return [single] if single else []


def is_delivered(record: Record) -> bool:
    """Return True if the job's output goes anywhere but to its own output files."""
    return record.get("deliver") not in (None, "", "local")
