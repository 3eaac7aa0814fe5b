"""A delayed expression is due later by the same time at each occurrence, at most by the span."""

import datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_oscron.schedule import cron
from hermes_oscron.schedule.jitter import _choices, delayed
from hermes_oscron.schedule.model import Schedule, ScheduleError, cron_schedule, interval, once
from hermes_oscron.schedule.occurrences import occurrences
from tests.strategies import expressions

START = datetime.datetime(2026, 12, 30, 0, 0, tzinfo=datetime.UTC)
UTC = ZoneInfo("UTC")


def first(schedule: Schedule, after: datetime.datetime = START) -> list[datetime.datetime]:
    return list(islice(occurrences(schedule, after, UTC), 40))


def delay(expression: str, later: str) -> datetime.timedelta | None:
    """Return by how much `later` is always later than `expression`; None if it is not."""
    due = first(cron_schedule(expression))
    if not due:
        return datetime.timedelta(0)
    candidates = (each - due[0] for each in [due[0], *islice(occurrences(cron_schedule(later), due[0], UTC), 1500)])
    return next((by for by in candidates
                 if [each + by for each in due] == first(cron_schedule(later), START + by)), None)


@pytest.mark.parametrize(("expression", "span", "number", "last"), [
    ("0 9 * * *", 30, 31, "30 9 * * *"),
    ("45 23 * * *", 30, 31, "15 0 * * *"),
    ("45 23 * * 1-5", 30, 31, "15 0 * * 2-6"),
    ("45 23 * * 6", 1440, 1441, "45 23 * * 0"),
    ("45 23 1 * *", 30, 15, "59 23 1 * *"),
    ("45 23 L * *", 30, 15, "59 23 L * *"),
    ("0 9 15W * *", 10, 11, "10 9 15W * *"),
    ("0 9 1 1 *", 10, 11, "10 9 1 1 *"),
    ("*/5 * * * *", 30, 5, "4,9,14,19,24,29,34,39,44,49,54,59 * * * *"),
    ("0 * * * *", 300, 60, "59 * * * *"),
    ("0 */2 * * *", 30, 31, "30 */2 * * *"),
    ("0,30 9-17 * * 1-5", 60, 31, "0,30 10-18 * * 1-5"),
    ("* * * * *", 1440, 1, "* * * * *"),
    ("0 9 1 * 1", 10, 11, "10 9 1 * 1"),
])
def test_the_choices_are_the_expressions_that_are_always_later(expression: str, span: int, number: int,
                                                               last: str) -> None:
    choices = _choices(expression, span)
    assert (len(choices), choices[0], choices[-1]) == (number, expression, last)


@settings(deadline=None)
@given(expressions(), st.integers(1, 1440), st.text("abcdef0123456789", min_size=12, max_size=12))
def test_each_occurrence_is_later_by_the_same_time(expression: str, span: int, job_id: str) -> None:
    try:
        schedule = cron_schedule(cron.canonical(expression))
    except ScheduleError:
        return
    later = delayed(schedule, job_id, span * 60)
    assert later == delayed(schedule, job_id, span * 60) and cron.canonical(later.expression) == later.expression
    by = delay(schedule.expression, later.expression)
    assert by is not None and by <= datetime.timedelta(minutes=span)


def test_jobs_spread_over_the_span() -> None:
    schedule = cron_schedule("0 9 * * *")
    minutes = {delayed(schedule, f"{number:012x}", 600).expression for number in range(1000)}
    assert minutes == {f"{minute} 9 * * *" for minute in range(11)}


def test_intervals_and_one_shots_are_not_delayed() -> None:
    for schedule in (interval(120), once(START)):
        assert delayed(schedule, "a", 600) == schedule
