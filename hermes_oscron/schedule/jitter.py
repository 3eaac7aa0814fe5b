"""Jitter: a delay of whole minutes, always the same for a job, so that jobs with the same schedule spread out.

A delayed cron expression is a cron expression too. So timers, crontab lines and the audit need not know of it.
"""

from collections.abc import Iterator, Set
from functools import lru_cache
from zlib import crc32

from . import cron
from .model import CRON, Schedule, cron_schedule


def delayed(schedule: Schedule, job_id: str, span_s: int) -> Schedule:
    """Return the `schedule` of `job_id` delayed by at most `span_s` seconds.

    The delay follows from the id. Only those count that move the expression as a whole: `0 9 * * *` can move to any
    minute, `*/5 * * * *` by up to 4 minutes, `* * * * *` not at all. Intervals start at their creation, and one-shots
    have their time, so neither is delayed.
    """
    if schedule.kind != CRON:
        return schedule
    choices = _choices(schedule.expression, span_s // 60)
    return cron_schedule(choices[crc32(job_id.encode()) % len(choices)])


@lru_cache(maxsize=1024)
def _choices(expression: str, span: int) -> tuple[str, ...]:
    """Return `expression`, and each that is due later than it by the same time, of at most `span` minutes."""
    return tuple(dict.fromkeys((expression, *_later_ones(expression, span))))


def _later_ones(expression: str, span: int) -> Iterator[str]:
    minute, hour, day, month, weekday = expression.split()
    parsed = cron.parse(expression)
    is_daily = day == month == weekday == "*"
    by_weekday = day == month == "*" and parsed.days == cron.Days(weekdays=parsed.days.weekdays)
    for delay in range(1, span + 1):
        [hours_later, *others] = {(each + delay) // 60 for each in parsed.minutes}
        hours = {each + hours_later for each in parsed.hours}
        [days_later, *other_days] = {0} if is_daily else {each // 24 for each in hours}
        if not others and not other_days and (not days_later or by_weekday):
            yield " ".join((
                _text({(each + delay) % 60 for each in parsed.minutes}, parsed.minutes, minute),
                _text({each % 24 for each in hours}, parsed.hours, hour), day, month,
                _text({(each + days_later) % 7 for each in parsed.days.weekdays}, parsed.days.weekdays, weekday)))


def _text(numbers: Set[int], before: Set[int], text: str) -> str:
    """Return `numbers` as the text of a field that has been the `text` of those `before`."""
    if numbers == before:
        return text  # with its star, which counts at clock changes
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in cron.ranges(sorted(numbers)))
