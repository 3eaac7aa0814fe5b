"""A job's record: its schedule, when it is due next, and what a run leaves in it.

The record is the agent's (`schedule: {kind, expr | minutes | run_at, display}`); Schedule is ours.
"""

import datetime
import os
from reprlib import repr as short_repr
from zoneinfo import ZoneInfo

from ..barrier import use_each, use_or_none
from ..schedule import cron, text
from ..schedule.errors import ScheduleError
from ..schedule.occurrences import latest_occurrence, next_occurrence
from ..schedule.types import CRON, INTERVAL, ONCE, Schedule, cron_schedule, interval
from .store import Record

LONGEST_STORED = 10_000_000
"""Minutes of an interval, 19 years: the agent has no limit of its own, and dates have."""

MAX_COUNT = 10**9
"""A number of runs in a record that is larger than this is ignored."""

CLAIM_AGE = datetime.timedelta(minutes=30)
"""For how long the agent takes a `run_claim` for a run that goes on; while it does, it renews it."""

SCHEDULED, PAUSED, COMPLETED, ERROR = "scheduled", "paused", "completed", "error"


def schedule_of(record: Record, zone: ZoneInfo) -> Schedule:
    """The schedule of RECORD. Raises ScheduleError where it holds none that can be kept."""
    stored = record.get("schedule")
    if not isinstance(stored, dict):
        raise ScheduleError("The record has no schedule.")
    kind = stored.get("kind")
    if kind == CRON and isinstance(stored.get("expr"), str):
        return cron_schedule(cron.canonical(stored["expr"]))
    minutes = stored.get("minutes")
    if kind == INTERVAL and type(minutes) is int and 0 < minutes <= LONGEST_STORED:
        return interval(minutes)
    if kind == ONCE and (run_at := instant(stored.get("run_at"))):
        return text.in_zone(run_at, zone)
    raise ScheduleError(f"The record's schedule is not one: {short_repr(stored)}")


def stored_schedule(schedule: Schedule, zone: ZoneInfo) -> Record:
    """SCHEDULE as the agent stores it."""
    display = text.display(schedule, zone)
    if schedule.kind == CRON:
        return {"kind": CRON, "expr": schedule.expression, "display": display}
    if schedule.kind == INTERVAL:
        return {"kind": INTERVAL, "minutes": int(schedule.period.total_seconds()) // 60, "display": display}
    return {"kind": ONCE, "run_at": schedule.expression, "display": display}


def repeat_of(record: Record) -> tuple[int | None, int]:
    """How many times RECORD's job is to run, None for ever, and how many times it has."""
    stored = record.get("repeat")
    repeat = stored if isinstance(stored, dict) else {}
    times, completed = repeat.get("times"), repeat.get("completed")
    return (times if type(times) is int and 0 < times <= MAX_COUNT else None,
            completed if type(completed) is int and abs(completed) <= MAX_COUNT else 0)


def set_repeat(record: Record, times: int | None, completed: int) -> None:
    """Write into RECORD how many times its job is to run and has run; what else is kept there stays."""
    stored = record.get("repeat")
    record["repeat"] = {**(stored if isinstance(stored, dict) else {}), "times": times, "completed": completed}


def instant(value: object) -> datetime.datetime | None:
    """A date of a record, ISO text or unix seconds, as an aware instant; None for anything else.

    So are the years 1 and 9999, which not every zone can show.
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


def state(record: Record) -> str:
    """`scheduled`, `paused` or `completed`, whatever of the agent's fields says so."""
    if record.get("state") == COMPLETED:
        return COMPLETED
    if record.get("state") == PAUSED or record.get("enabled", True) is False:
        return PAUSED
    return SCHEDULED


def grid(record: Record) -> datetime.datetime | None:
    """An instant at which an interval job is due; the agent writes parts of seconds, a timer knows none."""
    known = instant(record.get("next_run_at")) or instant(record.get("created_at"))
    return known.replace(microsecond=0) if known else None


def next_run(record: Record, now: datetime.datetime, zone: ZoneInfo) -> datetime.datetime | None:
    """When the OS will run RECORD's job next, in ZONE; None when it will not.

    A one-shot that is due and has not run yet is due still. Raises ScheduleError.
    """
    if state(record) != SCHEDULED:
        return None
    schedule = schedule_of(record, zone)
    if schedule.kind == ONCE:
        return None if has_run(record, schedule, now) else schedule.run_at.astimezone(zone)
    due = next_occurrence(schedule, now, zone, grid(record))
    return due.astimezone(zone) if due else None


def has_run(record: Record, schedule: Schedule, now: datetime.datetime) -> bool:
    """Whether the one-shot SCHEDULE of RECORD has been answered by a run at its time or later, up to NOW.

    A run of the future is one of a clock that was ahead.
    """
    last_run = instant(record.get("last_run_at"))
    return bool(last_run and schedule.run_at <= last_run <= now)


def is_due(record: Record, now: datetime.datetime, zone: ZoneInfo) -> bool:
    """Whether RECORD's job has an occurrence, up to NOW, that no run has answered yet.

    `next_run_at` settles it: it moves when a run ends, and when anybody, the agent's own scheduler too, has claimed the
    occurrence. Only where it is not what follows NOW is the schedule asked: the clock may have been set back since, or
    the schedule been changed, and a job must not wait for a date that was never meant. Where nobody has written one,
    what fires is believed.
    """
    written = instant(record.get("next_run_at"))
    if written is None or written.replace(microsecond=0) <= now:
        return True
    written = written.replace(microsecond=0)
    schedule = schedule_of(record, zone)
    if next_occurrence(schedule, now, zone, written) == written:
        return False
    return latest_occurrence(schedule, now - datetime.timedelta(minutes=1), now, zone, written) is not None


def claim(record: Record, now: datetime.datetime, zone: ZoneInfo) -> None:
    """Let RECORD say, to the agent's own scheduler too, that the occurrence due at NOW is taken.

    By `next_run_at`, as the agent's scheduler does it (`advance_next_run`), and for a one-shot by `run_claim`.
    """
    schedule = schedule_of(record, zone)
    if schedule.kind == ONCE:
        record["run_claim"] = {"at": now.astimezone(zone).isoformat(), "by": f"hermes-cron-exec:{os.getpid()}"}
    elif following := next_occurrence(schedule, now, zone, grid(record)):
        record["next_run_at"] = following.astimezone(zone).isoformat()


def is_claimed(record: Record, now: datetime.datetime) -> bool:
    """Whether the agent's own scheduler is running RECORD's one-shot, as it says itself (`run_claim`)."""
    stored = record.get("run_claim")
    claimed = instant(stored.get("at")) if isinstance(stored, dict) else None
    return claimed is not None and datetime.timedelta(0) <= now - claimed < CLAIM_AGE


def drop_claims(record: Record) -> None:
    """Let RECORD say that nobody runs its job."""
    for key in ("fire_claim", "run_claim"):
        if record.get(key) is not None:
            record[key] = None


def finish(
    record: Record, started: datetime.datetime, ended: datetime.datetime, zone: ZoneInfo, error: str | None,
    delivery_error: str | None = None,
) -> None:
    """Write into RECORD that a run begun at STARTED ended at ENDED, with ERROR or well, delivered or not.

    A manual run counts as any other, as in the agent; a paused job stays paused. A job that was scheduled anew
    meanwhile has the new schedule before it still.
    """
    record["last_run_at"] = ended.astimezone(zone).isoformat()
    record["last_status"] = "error" if error else "ok"
    record["last_error"] = error
    record["last_delivery_error"] = delivery_error
    drop_claims(record)
    armed = instant(record.get("armed_at"))
    if armed and armed > started:
        return
    times, completed = repeat_of(record)
    set_repeat(record, times, completed + 1)
    if state(record) != SCHEDULED:
        return
    name = str(record.get("id"))
    found, errors = use_each({name: record}, lambda record: _following(record, ended, zone, grid(record)))
    if errors:
        record.update(state=ERROR, next_run_at=None, last_error=error or errors[name])
        return
    schedule, following = found[name]
    if schedule.kind == ONCE:
        set_repeat(record, times, min(completed + 1, times or completed + 1))  # the agent counts it when it begins
    used_up = times is not None and times <= completed + 1
    if schedule.kind == ONCE or used_up or following is None:
        record.update(state=COMPLETED, enabled=False, next_run_at=None)
    else:
        record.update(state=SCHEDULED, next_run_at=following.astimezone(zone).isoformat())


def correct_next_run(record: Record, before: Record, ended: datetime.datetime, zone: ZoneInfo) -> None:
    """Give RECORD, in which the agent has recorded a run that ENDED, the next run that follows by our arithmetic.

    The agent counts an interval from the end of the run, croniter knows no clock changes, and both give a paused job a
    next run. BEFORE is the record as it was when the run began; a job scheduled anew since keeps what it has.
    """
    if record.get("schedule") != before.get("schedule") or record.get("armed_at") != before.get("armed_at"):
        return
    if state(record) == PAUSED:
        record["next_run_at"] = None
    elif state(record) == SCHEDULED:
        found = use_or_none(str(record.get("id")), record, lambda record: _following(record, ended, zone, grid(before)))
        if found:  # else nothing can keep it, which doctor tells
            record["next_run_at"] = found[1].astimezone(zone).isoformat() if found[1] else None


def _following(record: Record, after: datetime.datetime, zone: ZoneInfo,
               grid: datetime.datetime | None) -> tuple[Schedule, datetime.datetime | None]:
    """The schedule of `record` and its first occurrence later than `after`. Raises ScheduleError."""
    schedule = schedule_of(record, zone)
    return schedule, next_occurrence(schedule, after, zone, grid)
