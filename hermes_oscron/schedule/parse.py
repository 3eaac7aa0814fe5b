"""Parse the schedules that people write. `display_schedule` is the inverse.

Nothing that runs a job imports this module: a record contains a schedule that is parsed already.
"""

import datetime
import re
from collections.abc import Iterable
from typing import NamedTuple
from zoneinfo import ZoneInfo

from . import cron, cron_text
from .combine import schedule_of
from .intervals import MAX_INTERVAL_MINUTES
from .model import CRON, MAX_YEAR, ONCE, Schedule, ScheduleError, cron_schedule, once_in_zone
from .nearest import halves, reason_for, rewritten
from .occurrences import first_instant_of, next_occurrence
from .phrase import Form, Refusal
from .rules import read_phrase
from .warn import warnings_of
from .words import MONTH_NAMES, spelled_plainly, unwrap
from .zones import MAX_OFFSET, in_zone, split_zone

__all__ = ["MAX_INTERVAL_MINUTES", "Reading", "examples", "parse_schedule", "read_schedule", "refuse_past"]

ONESHOT_GRACE = datetime.timedelta(seconds=120)
"""A one-shot may lie this far in the past; the agent's own ONESHOT_GRACE_SECONDS."""
MAX_NEAREST_CHARS = 200
"""The length of a text up to which other spellings of it are tried."""
MAX_NEAREST = 2
"""The number of forms that are offered for a text of a kind that has a reason of its own."""


class Reading(NamedTuple):
    """The schedule that a text means, and a sentence for each thing in it that may not be meant."""

    schedule: Schedule
    warnings: list[str]


def examples(now: datetime.datetime) -> dict[str, str]:
    """Return an example of each kind of schedule, with a date after `now` (aware)."""
    tomorrow = (now + datetime.timedelta(days=1)).date() if now.year < MAX_YEAR else now.date()
    return {"a cron expression": "0 9 * * 1-5", "an interval": "every 2h", "days and a time": "weekdays at 9:30",
            "a delay": "in 30m", "a time": f"{tomorrow}T09:00"}


def parse_schedule(text: str, zone: ZoneInfo, now: datetime.datetime) -> Schedule:
    """Return the schedule that `text` means. See `read_schedule`."""
    return read_schedule(text, zone, now).schedule


def read_schedule(text: str, zone: ZoneInfo, now: datetime.datetime) -> Reading:
    """Return the schedule that `text` means at `now` (aware), and warnings; times without a zone are in `zone`.

    Raises ScheduleError with one sentence: the reason, the nearest forms that are accepted, and an example of each
    form. A one-shot in the past is still a schedule here; `refuse_past` prevents it from being created.
    """
    words = ""
    try:
        words = unwrap(text)
        schedule, warnings = _read(words, zone, now)
        return Reading(schedule, warnings + warnings_of(schedule, now.astimezone(zone)))
    except Refusal as refused:
        refusal = refused
    except ScheduleError as error:
        reason = error.message.removesuffix(".")
        refusal = Refusal(f"is not a schedule: {reason[0].lower()}{reason[1:]}")
    except OverflowError:
        refusal = Refusal("is outside the years a clock can show")
    raise ScheduleError(_with_nearest(refusal, words, zone, now).sentence(" ".join(text.split()), examples(now)))


def refuse_past(schedule: Schedule, now: datetime.datetime) -> None:
    """Raise ScheduleError if `schedule` is a one-shot more than 120 s before `now`."""
    if schedule.kind != ONCE or schedule.run_at >= now - ONESHOT_GRACE:
        return
    wall = datetime.datetime.fromisoformat(schedule.expression)
    today = now.astimezone(wall.tzinfo)
    form = f"once at {wall:%H:%M}"
    if today - wall > datetime.timedelta(days=1):
        day = wall.replace(year=today.year, day=min(wall.day, 28) if wall.month == 2 else wall.day)
        form = f"{day if day > today else day.replace(year=today.year + 1):%Y-%m-%d %H:%M}"
    raise ScheduleError(Refusal(f"is more than {ONESHOT_GRACE.seconds} s in the past and would never run", form)
                        .sentence(schedule.expression, examples(now)))


def _with_nearest(refusal: Refusal, words: str, zone: ZoneInfo, now: datetime.datetime) -> Refusal:
    """Return `refusal` with those of its forms that are accepted, or with the nearest ones to `words`."""
    own = _accepted(refusal.forms, zone, now)
    if refusal.all_of:
        return Refusal(refusal.message, *(own if len(own) == len(refusal.forms) else []), all_of=True)
    if len(words) > MAX_NEAREST_CHARS:
        return Refusal(refusal.message, *own)
    lowered = spelled_plainly(words.lower())
    if reason := reason_for(lowered):
        message, forms = reason
        return Refusal(message, *(_accepted(forms or rewritten(lowered), zone, now)[:MAX_NEAREST]))
    joined = re.sub(r"\s+or\s+", " and ", words)
    if joined != words and _is_accepted(joined, zone, now):
        return Refusal(refusal.message, joined)
    for pair in halves(words):
        if all(_is_accepted(half, zone, now) for half in pair):
            return Refusal("is two schedules and needs two jobs", *pair, all_of=True)
    return Refusal(refusal.message, *(own or _accepted(rewritten(lowered), zone, now)[:1]))


def _accepted(forms: Iterable[Form], zone: ZoneInfo, now: datetime.datetime) -> list[Form]:
    return [form for form in dict.fromkeys(forms)
            if _is_accepted(form if isinstance(form, str) else form[0], zone, now)]


def _is_accepted(text: str, zone: ZoneInfo, now: datetime.datetime) -> bool:
    try:
        schedule, _ = _read(unwrap(text), zone, now)
        refuse_past(schedule, now)
    except (ScheduleError, OverflowError):
        return False
    return True


def _read(words: str, zone: ZoneInfo, now: datetime.datetime) -> tuple[Schedule, list[str]]:
    if not words:
        raise Refusal("is empty")
    rest, name, named_zone = split_zone(words)
    if named_zone is None or name == zone.key:
        return _read_in_zone(rest, zone, now)
    try:
        if isinstance(named_zone, ZoneInfo):
            schedule, warnings = _read_in_zone(rest, named_zone, now)
        else:
            schedule, warnings = _read_in_zone(rest, ZoneInfo("UTC"), now)
    except Refusal as refused:
        forms: list[Form] = [f"{form if isinstance(form, str) else form[0]} {name}" for form in refused.forms]
        raise Refusal(refused.message, *forms, all_of=refused.all_of) from None
    if schedule.kind == ONCE and not isinstance(named_zone, ZoneInfo):
        wall = datetime.datetime.fromisoformat(schedule.expression).replace(tzinfo=named_zone)
        return once_in_zone(wall, zone), warnings
    if schedule.kind == CRON:
        moved = in_zone(schedule.expression, named_zone, zone, now)
        raise Refusal(
            f"names the zone {name}, and a repeating job has no zone of its own yet (no CRON_TZ): its times are in the "
            f"Hermes zone, {zone.key}", *([(moved, f"the same times in {zone.key}, until a clock changes")]
                                          if moved else []))
    return (once_in_zone(schedule.run_at, zone) if schedule.kind == ONCE else schedule), warnings


def _read_in_zone(words: str, zone: ZoneInfo, now: datetime.datetime) -> tuple[Schedule, list[str]]:
    if not words:
        raise Refusal("has a zone and no schedule")
    schedule, warnings = _read_form(words, zone, now)
    if schedule.kind == CRON and next_occurrence(schedule, now, zone) is None:
        minute, hour, _, month, _ = schedule.expression.split(" ")
        named = sorted(cron.parse(schedule.expression).months)
        lacking = f"{MONTH_NAMES[named[0] - 1]} does not have" if len(named) == 1 else "none of its months has"
        raise Refusal(f"never fires: {lacking} such a day", f"{minute} {hour} L {month} *")
    return schedule, warnings


def _read_form(words: str, zone: ZoneInfo, now: datetime.datetime) -> tuple[Schedule, list[str]]:
    lowered = words.lower()
    if lowered in cron.MACROS or cron_text.is_cron(lowered):
        return cron_schedule(_expression(words)), []
    if cron_text.is_systemd(lowered):
        raise cron_text.refuse_systemd(words)
    if moment := _instant(lowered, zone):
        return once_in_zone(moment, zone), []
    plain = spelled_plainly(re.sub(r"^@(?=every\b)", "", lowered))
    if plain.startswith("@"):
        macro, _, rest = plain.partition(" ")
        raise Refusal(f"is not a macro of cron, as {', '.join(cron.MACROS)} are", plain[1:].strip(),
                      *([macro] if "/" in rest else []))
    return schedule_of(read_phrase(plain), zone, now)


def _expression(words: str) -> str:
    """Return the canonical form of the cron expression `words`. Raises Refusal."""
    if doubt := cron_text.doubt(words):
        raise doubt
    near = filter(None, cron_text.nearest(words.lower()))
    count = len(words.split(" "))
    if words[0] != "@" and count != 5:
        raise Refusal(f"has {count} part{'s' if count > 1 else ''}, and a cron expression has five fields (minute hour "
                      "day-of-month month day-of-week)", *near)
    try:
        return cron.canonical(words)
    except ScheduleError as error:
        reason = error.message.removesuffix(".")
        raise Refusal(f"has a {reason[0].lower()}{reason[1:]}", *near) from None


def _instant(lowered: str, zone: ZoneInfo) -> datetime.datetime | None:
    """Return the instant of an ISO time or of unix seconds or milliseconds; None if `lowered` is something else."""
    if match := re.fullmatch(r"@?(\d{10})(\d{3})?", lowered, re.A):
        return datetime.datetime.fromtimestamp(int(match[1]), datetime.UTC) + datetime.timedelta(
            milliseconds=int(match[2] or 0))
    match = re.fullmatch(r"(?:once\s+)?(?:(?:at|on)\s+)?(\d{4}-?(?:\d\d|w\d\d)-?\d.*)", lowered, re.A)
    if not match:
        return None
    try:
        moment = datetime.datetime.fromisoformat(match[1].upper())
    except ValueError as error:
        if date := re.fullmatch(r"(\d{4}-\d\d)-\d\d(?:[t ]24:00|([t ]\d\d:\d\d(?::\d\d)?)?)", match[1], re.A):
            forms = _nearest_days(date[1], (date[2] or " 00:00")[1:], match[1])
            raise Refusal(f"is not a time: {error}", *forms) from None
        return None
    if abs(moment.utcoffset() or datetime.timedelta()) > MAX_OFFSET:
        return None  # rather the hours 9:00-17:00
    if moment.tzinfo is None:
        second = moment.replace(microsecond=0)
        return first_instant_of(second, zone) + (moment - second)
    return moment


def _nearest_days(month: str, time: str, written: str) -> list[Form]:
    """Return the midnight after a day that ends at 24:00; else the last days of `month`."""
    if written.endswith("24:00"):
        try:
            return [f"{datetime.date.fromisoformat(written[:10]) + datetime.timedelta(days=1)} 00:00"]
        except ValueError:
            pass
    return [(f"{month}-{day} {time}", "the last day of that month") for day in (30, 29, 28)]
