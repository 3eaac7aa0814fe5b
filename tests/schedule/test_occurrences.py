"""When schedules are due: as in croniter away from clock changes, as in Debian's cron across them."""

import datetime
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hermes_oscron.schedule import cron
from hermes_oscron.schedule.model import Schedule, ScheduleError, interval, once
from hermes_oscron.schedule.occurrences import (
    Change,
    changes,
    first_instant_of,
    first_occurrences,
    instants_of,
    latest_occurrence,
    next_occurrence,
    occurrences,
)
from hermes_oscron.schedule.parse import MAX_INTERVAL_MINUTES, parse_schedule
from tests import judges, strategies

UTC = datetime.UTC
SECOND, MINUTE, HOUR, DAY = (datetime.timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime.datetime(2026, 11, 23, 4, 0, 13, tzinfo=UTC)
INSTANTS = st.datetimes(datetime.datetime(2011, 1, 1), datetime.datetime(2040, 1, 1), timezones=st.just(UTC))

CHANGES = [  # zone, a year in which its clocks change: by an hour, half, a quarter, two, a day; at midnight, in between
    ("Europe/Berlin", 2027), ("America/New_York", 2028), ("Australia/Lord_Howe", 2027), ("Africa/Casablanca", 2026),
    ("America/Nuuk", 2027), ("America/Havana", 2027), ("Africa/Cairo", 2027), ("Asia/Beirut", 2027),
    ("Europe/Dublin", 2027), ("Antarctica/Troll", 2027), ("America/St_Johns", 2010), ("Asia/Kathmandu", 1985),
    ("Pacific/Apia", 2011), ("Pacific/Kwajalein", 1993), ("Asia/Pyongyang", 2015), ("America/Caracas", 2016),
    ("Asia/Gaza", 2027), ("America/Scoresbysund", 2024), ("Antarctica/Casey", 2020),
]


def cron_schedule(expression: str) -> Schedule:
    return Schedule("cron", cron.canonical(expression))


def due_until(schedule: Schedule, after: datetime.datetime, until: datetime.datetime,
              zone: ZoneInfo) -> list[datetime.datetime]:
    return list(takewhile(lambda due: due <= until, occurrences(schedule, after, zone)))


def walls(schedule: Schedule, after: datetime.datetime, until: datetime.datetime, zone: ZoneInfo) -> list[str]:
    """Return the times that the clock in `zone` shows when `schedule` is due."""
    return [f"{due.astimezone(zone):%d %H:%M%z}" for due in due_until(schedule, after, until, zone)]


@settings(max_examples=600, deadline=None)
@given(strategies.expressions(), st.sampled_from(strategies.ZONES), INSTANTS)
def test_occurrences_are_later_than_asked_and_strictly_increasing(expression: str, zone: str,
                                                                  after: datetime.datetime) -> None:
    try:
        schedule = parse_schedule(expression, ZoneInfo(zone), after)
    except ScheduleError:
        assume(False)
    due = first_occurrences(schedule, 40, after.astimezone(ZoneInfo(zone)), ZoneInfo(zone))
    assert due[0] == next_occurrence(schedule, after, ZoneInfo(zone))
    assert due[0] > after
    assert all(earlier < later for earlier, later in pairwise(due))
    assert all(instant.tzinfo is UTC and not instant.second and not instant.microsecond for instant in due)


@settings(max_examples=800, deadline=None)
@given(strategies.expressions(days=strategies.fields(cron.DAY, st.just("L"))), INSTANTS,
       st.sampled_from(["UTC", "Asia/Kolkata", "Asia/Tokyo", "America/Bogota"]))
def test_croniter_agrees_if_the_clock_does_not_change(expression: str, after: datetime.datetime, zone: str) -> None:
    """If day-of-month meets `#` croniter drops the former, and the contract does not."""
    try:
        schedule = parse_schedule(expression, ZoneInfo(zone), after)
    except ScheduleError:
        assume(False)
    _, _, day, _, weekday = cron.fields_of(expression)
    assume(day in ("*", "?") or not ("#" in weekday or "l" in weekday))
    judge = croniter(expression, after.astimezone(ZoneInfo(zone)), ret_type=datetime.datetime)
    assert first_occurrences(schedule, 15, after, ZoneInfo(zone)) == [judge.get_next() for _ in range(15)]


def around(zone: str, year: int) -> list[Change]:
    found = changes(ZoneInfo(zone), year, year)
    assert found, f"the clocks of {zone} do not change in {year}"
    return found


NUMBERS = st.lists(st.integers(0, 59).map(str), min_size=1, max_size=3).map(",".join)
MINUTES = st.one_of(st.just("*"), st.sampled_from(["*/5", "*/7", "*/20", "*/30", "0-59", "0", "30"]), NUMBERS)
NIGHT = st.lists(st.sampled_from("0 1 2 3 4 20 21 22 23".split()), min_size=1, max_size=3).map(",".join)
HOURS = st.one_of(st.just("*"), st.sampled_from(["*/2", "*/3", "0-23", "1-3", "22-23", "0-5/2"]), NIGHT)
DAYS = st.sampled_from(["* * *", "* * *", "* * 0", "* * 1-5", "* * 5,6", "1-31/2 * *", "30 12 *", "* 3,4,10,11 *"])


@pytest.mark.parametrize(("zone", "year"), CHANGES)
@settings(max_examples=25, deadline=None)
@given(minutes=MINUTES, hours=HOURS, days=DAYS)
def test_debian_cron_agrees_when_the_clock_changes(zone: str, year: int, minutes: str, hours: str, days: str) -> None:
    expression, here = f"{minutes} {hours} {days}", ZoneInfo(zone)
    for change in around(zone, year)[:2]:
        start, end = change.at - 26 * HOUR, change.at + 30 * HOUR
        should = judges.debian_cron(expression, start, end, here)
        assert due_until(cron_schedule(expression), start, end, here) == should, (expression, change)


@pytest.mark.parametrize(("zone", "year"), CHANGES)
@settings(max_examples=25, deadline=None)
@given(minutes=MINUTES, hours=HOURS, days=DAYS, seconds=st.integers(-4 * 3600, 4 * 3600))
def test_occurrences_do_not_depend_on_the_start_of_the_search(zone: str, year: int, minutes: str, hours: str, days: str,
                                                              seconds: int) -> None:
    """Also from inside a gap's day or the repeated hour."""
    schedule, here = cron_schedule(f"{minutes} {hours} {days}"), ZoneInfo(zone)
    for change in around(zone, year)[:2]:
        start, end = change.at - 2 * DAY, change.at + DAY
        after = change.at + seconds * SECOND
        later = [due for due in due_until(schedule, start, end, here) if due > after]
        assert due_until(schedule, after, end, here) == later
        assert due_until(schedule, after.astimezone(here), end, here) == later


def test_a_fixed_time_in_the_gap_runs_right_after_it() -> None:
    day = datetime.datetime(2027, 3, 28, tzinfo=BERLIN)
    assert walls(cron_schedule("30 2 * * *"), day - DAY, day + 2 * DAY, BERLIN) == [
        "27 02:30+0100", "28 03:00+0200", "29 02:30+0200"]


def test_several_fixed_times_in_the_gap_run_once() -> None:
    day = datetime.datetime(2027, 3, 28, tzinfo=BERLIN)
    assert walls(cron_schedule("0,20,40 2,3 * * *"), day, day + 6 * HOUR, BERLIN) == [
        "28 03:00+0200", "28 03:20+0200", "28 03:40+0200"]


def test_a_fixed_time_in_a_repeated_hour_runs_the_first_time() -> None:
    day = datetime.datetime(2027, 10, 31, tzinfo=BERLIN)
    assert walls(cron_schedule("30 2 * * *"), day, day + DAY, BERLIN) == ["31 02:30+0200"]


def test_a_starred_hour_or_minute_runs_by_elapsed_time() -> None:
    spring, autumn = (datetime.datetime(2027, month, day, tzinfo=BERLIN) for month, day in [(3, 28), (10, 31)])
    assert walls(cron_schedule("30 * * * *"), spring + HOUR, spring + 4 * HOUR, BERLIN) == [
        "28 01:30+0100", "28 03:30+0200"]
    assert walls(cron_schedule("*/30 2 * * *"), spring, spring + 5 * HOUR, BERLIN) == []
    assert walls(cron_schedule("*/30 2 * * *"), autumn, autumn + 5 * HOUR, BERLIN) == [
        "31 02:00+0200", "31 02:30+0200", "31 02:00+0100", "31 02:30+0100"]


def test_a_fixed_time_that_ran_in_the_first_of_two_hours_runs_again_next_day() -> None:
    first, second = (datetime.datetime(2027, 10, 31, hour, 30, tzinfo=UTC) for hour in (0, 1))
    for after in (first, first + 10 * MINUTE, second - SECOND, second, second + HOUR):
        due = next_occurrence(cron_schedule("30 2 * * *"), after.astimezone(BERLIN), BERLIN)
        assert due == datetime.datetime(2027, 11, 1, 1, 30, tzinfo=UTC), after
    assert next_occurrence(cron_schedule("*/30 * * * *"), first, BERLIN) == second - 30 * MINUTE


def test_a_day_that_the_zone_skipped_is_caught_up_once() -> None:
    apia, start = ZoneInfo("Pacific/Apia"), datetime.datetime(2011, 12, 29, 12, tzinfo=UTC)
    assert walls(cron_schedule("0 9 * * *"), start, start + 2 * DAY, apia) == [
        "29 09:00-1000", "31 00:00+1400", "31 09:00+1400"]
    assert walls(cron_schedule("0 9 30 12 *"), start, start + 2 * DAY, apia) == ["31 00:00+1400"]
    assert walls(cron_schedule("0 */12 * * *"), start, start + 2 * DAY, apia) == [
        "29 12:00-1000", "31 00:00+1400", "31 12:00+1400", "01 00:00+1400"]
    assert walls(cron_schedule("* * 30 12 *"), start, start + 2 * DAY, apia) == []


def test_the_next_leap_day_is_found() -> None:
    after = datetime.datetime(2096, 2, 29, tzinfo=UTC)
    assert first_occurrences(cron_schedule("0 0 29 2 *"), 2, after, ZoneInfo("UTC")) == [
        datetime.datetime(2104, 2, 29, tzinfo=UTC), datetime.datetime(2108, 2, 29, tzinfo=UTC)]


def test_a_day_that_no_month_has_has_no_occurrence() -> None:
    assert next_occurrence(cron_schedule("0 0 30 2 *"), NOW, BERLIN) is None
    assert first_occurrences(cron_schedule("0 0 30 2 *"), 3, NOW, BERLIN) == []


def test_an_occurrence_at_the_given_instant_is_not_later_than_it() -> None:
    nine = datetime.datetime(2027, 1, 1, 9, tzinfo=UTC)
    schedule = cron_schedule("0 9 * * *")
    assert next_occurrence(schedule, nine - datetime.timedelta(microseconds=1), ZoneInfo("UTC")) == nine
    assert next_occurrence(schedule, nine, ZoneInfo("UTC")) == nine + DAY


@settings(max_examples=300, deadline=None)
@given(st.integers(1, MAX_INTERVAL_MINUTES), INSTANTS, st.integers(-10**7, 10**7), st.sampled_from(strategies.ZONES))
def test_an_interval_stays_on_its_phase(minutes: int, after: datetime.datetime, seconds: int, zone: str) -> None:
    schedule, phase = interval(minutes), after + seconds * SECOND
    due = first_occurrences(schedule, 10, after, ZoneInfo(zone), phase)
    assert due[0] - after <= schedule.period
    assert due[0] > after
    assert all(later - earlier == schedule.period for earlier, later in pairwise(due))
    assert not any((instant - phase.replace(microsecond=0)) % schedule.period for instant in due)
    assert due == first_occurrences(schedule, 10, after.astimezone(ZoneInfo(zone)), BERLIN, due[3])


@pytest.mark.parametrize("minutes", [1, 45, 120, 1440])
def test_an_interval_without_a_phase_counts_from_the_start_of_the_search(minutes: int) -> None:
    after = NOW.replace(microsecond=999_999)
    period = minutes * MINUTE
    assert first_occurrences(interval(minutes), 2, after, BERLIN) == [NOW + period, NOW + 2 * period]


def test_an_interval_is_not_affected_by_a_clock_change() -> None:
    before = datetime.datetime(2027, 3, 27, 9, tzinfo=BERLIN)
    due = first_occurrences(interval(1440), 2, before, BERLIN, before)
    assert [f"{moment.astimezone(BERLIN):%d %H:%M}" for moment in due] == [
        "28 10:00", "29 10:00"]


@given(INSTANTS, st.integers(-3, 3))
def test_a_one_shot_is_due_once_and_not_when_it_is_past(instant: datetime.datetime, microseconds: int) -> None:
    schedule = once(instant)
    after = schedule.run_at - datetime.timedelta(microseconds=microseconds)
    assert first_occurrences(schedule, 5, after, BERLIN) == ([schedule.run_at] if microseconds > 0 else [])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 */6 * * 1-5", "0 0 1 * *"]), st.integers(0, 3 * 86400),
       st.sampled_from(strategies.ZONES))
def test_the_latest_occurrence_is_the_last_one_up_to_the_given_time(expression: str, seconds: int, zone: str) -> None:
    since = datetime.datetime(2027, 10, 30, tzinfo=UTC)
    until = since + seconds * SECOND
    due = due_until(cron_schedule(expression), since, until, ZoneInfo(zone))
    assert latest_occurrence(cron_schedule(expression), since, until, ZoneInfo(zone)) == (due[-1] if due else None)


def test_the_latest_occurrence_counts_the_end_and_not_the_start() -> None:
    nine, daily = datetime.datetime(2027, 1, 1, 9, tzinfo=UTC), cron_schedule("0 9 * * *")
    assert latest_occurrence(daily, nine - DAY, nine, ZoneInfo("UTC")) == nine
    assert latest_occurrence(daily, nine - DAY, nine - SECOND, ZoneInfo("UTC")) is None
    assert latest_occurrence(interval(60), nine, nine + 150 * MINUTE, BERLIN, nine + 7 * MINUTE) == nine + 127 * MINUTE
    assert latest_occurrence(once(nine), nine - DAY, nine + DAY, BERLIN) == nine
    assert latest_occurrence(once(nine), nine, nine + DAY, BERLIN) is None


def test_clock_changes_are_found_to_the_second() -> None:
    hour, two = datetime.timedelta(hours=1), datetime.timedelta(hours=2)
    assert changes(BERLIN, 2027, 2027) == [
        Change(datetime.datetime(2027, 3, 28, 1, tzinfo=UTC), hour, two),
        Change(datetime.datetime(2027, 10, 31, 1, tzinfo=UTC), two, hour),
    ]
    assert [change.at for change in changes(ZoneInfo("Pacific/Apia"), 2011, 2011)][-1] == datetime.datetime(
        2011, 12, 30, 10, tzinfo=UTC)
    assert changes(ZoneInfo("Asia/Kolkata"), 2020, 2040) == []


def test_a_wall_time_has_no_instant_or_one_or_two() -> None:
    never, twice = datetime.datetime(2027, 3, 28, 2, 30), datetime.datetime(2027, 10, 31, 2, 30)
    assert instants_of(never, BERLIN) == []
    assert first_instant_of(never, BERLIN) == datetime.datetime(2027, 3, 28, 1, tzinfo=UTC)
    assert instants_of(twice, BERLIN) == [datetime.datetime(2027, 10, 31, hour, 30, tzinfo=UTC) for hour in (0, 1)]
    assert instants_of(twice + DAY, BERLIN) == [datetime.datetime(2027, 11, 1, 1, 30, tzinfo=UTC)]
