"""OnCalendar= lines: they elapse, by systemd-analyze, when croniter and cronsim fire."""

import datetime
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_oscron.schedule import cron
from hermes_oscron.schedule.model import Schedule, ScheduleError, interval
from hermes_oscron.schedule.occurrences import changes, first_occurrences, occurrences
from hermes_oscron.schedule.parse import parse_schedule
from hermes_oscron.schedulers.systemd.calendar import on_calendar
from tests import judges, strategies

UTC = datetime.UTC
NOW = datetime.datetime(2026, 11, 23, 4, 0, 13, tzinfo=UTC)
DAYS = datetime.timedelta(days=1)


def lines_of(schedule: str, zone: str = "UTC", machine_zone: str = "UTC") -> list[str]:
    return on_calendar(parse_schedule(schedule, ZoneInfo(zone), NOW), ZoneInfo(zone), ZoneInfo(machine_zone), NOW, NOW)


@pytest.mark.parametrize(("expression", "lines"), [
    ("0 9 * * 1-5", ["Mon..Fri *-*-* 09:00:00"]),
    ("*/15 * * * *", ["*-*-* *:00/15:00"]),
    ("* * * * *", ["*-*-* *:*:00"]),
    ("30 8 * * MON,WED", ["Mon,Wed *-*-* 08:30:00"]),
    ("0 9-17/2 1,15 */3 *", ["*-01..10/3-01,15 09..17/2:00:00"]),
    ("0 0 * * 7", ["Sun *-*-* 00:00:00"]),
    ("0 0 L * *", ["*-*~01 00:00:00"]),
    ("0 0 * * 5#2", ["Fri *-*-08..14 00:00:00"]),
    ("0 0 * * L5", ["Fri *-*~01..07 00:00:00"]),
    ("0 0 1 * 1", ["*-*-01 00:00:00", "Mon *-*-* 00:00:00"]),
    ("@daily", ["*-*-* 00:00:00"]),
    ("every 30m", ["*-*-* *:00,30:13 UTC"]),
    ("every 45m", ["*-*-* 00..21/3:15:13 UTC", "*-*-* 01..22/3:00,45:13 UTC", "*-*-* 02..23/3:30:13 UTC"]),
    ("every 7d", ["Mon *-*-* 04:00:13 UTC"]),
    ("2027-03-15T09:00:00", ["2027-03-15 09:00:00 UTC"]),
])
def test_the_lines_are_few_and_readable(expression: str, lines: list[str]) -> None:
    assert lines_of(expression) == lines


def test_the_zone_is_named_if_it_differs_from_the_zone_of_the_machine() -> None:
    assert lines_of("0 9 * * *", "Europe/Berlin", "Europe/Berlin")[0] == "*-*-* 09:00:00"
    assert lines_of("0 9 * * *", "Europe/Berlin", "UTC")[0] == "*-*-* 09:00:00 Europe/Berlin"


def test_a_line_for_which_the_zone_does_not_matter_is_in_utc() -> None:
    assert lines_of("*/10 * * * *", "Australia/Lord_Howe", "Europe/Berlin") == ["*-*-* *:00/10:00 UTC"]


@pytest.mark.parametrize(("expression", "lines"), [
    ("0 9 * * *", ["*-*-* 03:30:00 UTC"]),
    ("0 9 * * 1-5", ["Mon..Fri *-*-* 03:30:00 UTC"]),
    ("0 3 * * 1-5", ["Mon..Thu,Sun *-*-* 21:30:00 UTC"]),
    ("0 9 1,15 */3 *", ["*-01..10/3-01,15 03:30:00 UTC"]),
    ("15,45 5 * * 1", ["Sun *-*-* 23:45:00 UTC", "Mon *-*-* 00:15:00 UTC"]),
    ("*/20 * * * *", ["*-*-* *:10,30,50:00 UTC"]),
    ("0 3 1 * *", ["*-*-01 03:00:00 Asia/Kolkata"]),  # on the last day of a month in UTC
])
def test_a_zone_without_clock_changes_is_not_named_if_the_days_can_be_given_in_utc(
        expression: str, lines: list[str]) -> None:
    """For each line with a zone systemd forks a process, at each elapse and each reload of the manager."""
    assert lines_of(expression, "Asia/Kolkata", "UTC") == lines
    assert not any("UTC" in line for line in lines_of(expression, "Asia/Kolkata", "Asia/Kolkata"))


@pytest.mark.parametrize(("expression", "zone", "lines"), [
    ("30 2 * * *", "Europe/Berlin", ["*-*-* 02:30:00 Europe/Berlin", "Sun 2026..2031-03-25..31 01:00:00 UTC"]),
    ("*/20 1-2 * * *", "America/New_York", [
        "*-*-* 01,02:00/20:00 America/New_York", "Sun 2026..2031-11-01..07 06:00/20:00 UTC"]),
])
def test_the_lines_for_clock_changes_that_follow_a_rule_are_few(expression: str, zone: str, lines: list[str]) -> None:
    assert lines_of(expression, zone) == lines


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Africa/Casablanca", "Asia/Kolkata", "Pacific/Chatham"])
def test_the_lines_are_the_same_all_year(zone: str) -> None:
    """Else a sync would rewrite all timers from time to time."""
    for expression in AROUND_CHANGES:
        schedule = Schedule("cron", expression)
        first, *others = (on_calendar(schedule, ZoneInfo(zone), ZoneInfo("UTC"), NOW.replace(month=month, day=2))
                          for month in range(1, 13))
        assert all(lines == first for lines in others), expression


MANY_DAYS = "0#1,0#4,L0,1#2,1#3,L1,2#1,2#3,3#2,3#5,4#1,4#2,4#4,5#3,L5,6#1,6#5"
"""Weekdays of the month, no two of which have the same weeks."""


@pytest.mark.parametrize(("expression", "zone", "most"), [
    (f"*/7 0-5 29W * {MANY_DAYS}", "Europe/Berlin", 13), (f"*/7 1-3 29W * {MANY_DAYS}", "Africa/Casablanca", 22),
    (f"* * 29W * {MANY_DAYS}", "Australia/Lord_Howe", 18), (f"*/7 */2 29W * {MANY_DAYS}", "Pacific/Chatham", 18),
    ("*/20 0-5 * * *", "Europe/Berlin", 4), ("0 9 * * 1-5", "Africa/El_Aaiun", 1),
])
def test_no_schedule_has_many_lines(expression: str, zone: str, most: int) -> None:
    lines = lines_of(expression, zone)
    assert len(lines) <= most, lines
    assert sum(line.endswith(zone) for line in lines) <= 11, lines


@pytest.mark.parametrize(("minutes", "most"), [(50, 15), (5 * 60, 8), (2 * 1440, 5), (7, 6), (25 * 60, 32)])
def test_the_next_times_of_an_interval_share_lines(minutes: int, most: int) -> None:
    assert len(lines_of(f"every {minutes}m")) <= most


def elapses(lines: list[str], count: int, base: datetime.datetime, machine_zone: str) -> list[datetime.datetime]:
    merged = {stamp for line in judges.next_elapses(lines, base, count, machine_zone) for stamp in line}
    return sorted(merged)[:count]


@settings(max_examples=1500, deadline=None)
@given(strategies.expressions(days=strategies.fields(cron.DAY, st.just("L"))), st.sampled_from(strategies.ZONES),
       st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_systemd_elapses_at_the_times_of_croniter(expression: str, zone: str, machine_zone: str) -> None:
    """Away from clock changes; where day-of-month meets `#` croniter drops the former, and the contract does not."""
    try:
        schedule = parse_schedule(expression, ZoneInfo(zone), NOW)
        lines = on_calendar(schedule, ZoneInfo(zone), ZoneInfo(machine_zone), NOW)
    except ScheduleError:
        return
    fields = cron.fields_of(expression)
    if fields[2] not in ("*", "?") and ("#" in fields[4] or "l" in fields[4]):
        return
    naive = croniter(expression, NOW.astimezone(ZoneInfo(zone)).replace(tzinfo=None), ret_type=datetime.datetime)
    due = [naive.get_next().replace(tzinfo=ZoneInfo(zone)) for _ in range(12)]
    near_a_change = {day for change in changes(ZoneInfo(zone), NOW.year, due[-1].year)
                     for day in (change.at.date() - DAYS, change.at.date(), change.at.date() + DAYS)}
    due = [stamp.astimezone(UTC) for stamp in takewhile(lambda d: d.date() not in near_a_change, due)]
    assert elapses(lines, 12, NOW, machine_zone)[:len(due)] == due, lines


@settings(max_examples=500, deadline=None)
@given(strategies.expressions(), st.sampled_from(strategies.ZONES))
def test_systemd_elapses_at_next_run_at(expression: str, zone: str) -> None:
    """Every form, `W` and days-or-weekdays with `#` included, against our own occurrences."""
    try:
        schedule = parse_schedule(expression, ZoneInfo(zone), NOW)
    except ScheduleError:
        return
    due = first_occurrences(schedule, 15, NOW, ZoneInfo(zone))
    if due[-1].year > NOW.year + 5:
        due = [stamp for stamp in due if stamp.year <= NOW.year + 5]
    lines = on_calendar(schedule, ZoneInfo(zone), ZoneInfo("UTC"), NOW)
    assert elapses(lines, 15, NOW, "UTC")[:len(due)] == due, lines


@settings(max_examples=300, deadline=None)
@given(strategies.expressions(), st.sampled_from([
    "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Marquesas", "Pacific/Pago_Pago", "Asia/Tokyo"]))
def test_systemd_elapses_at_next_run_at_in_a_zone_without_clock_changes(expression: str, zone: str) -> None:
    try:
        schedule = parse_schedule(expression, ZoneInfo(zone), NOW)
    except ScheduleError:
        return
    due = first_occurrences(schedule, 20, NOW, ZoneInfo(zone))
    lines = on_calendar(schedule, ZoneInfo(zone), ZoneInfo("UTC"), NOW)
    assert elapses(lines, 20, NOW, "UTC") == due, lines


AROUND_CHANGES = [
    "30 2 * * *", "30 1 * * *", "15 2 * * *", "0 2,3 * * *", "0,30 1-3 * * *", "30 23 * * *", "0 0 * * *",
    "5,35 0 * * *", "*/15 * * * *", "*/7 * * * *", "30 * * * *", "*/20 0-5 * * *", "17 */2 * * *", "*/10 1 * * *",
    "45 0-23 * * *", "30 2 * * 0", "*/30 1-3 * * 0", "0 * * * 0,6", "59 22,23 * * *",
]


def test_cronsim_agrees_if_clock_changes_are_whole_hours_and_by_day() -> None:
    here = ZoneInfo("Europe/Berlin")
    for change in changes(here, NOW.year + 1, NOW.year + 5):
        start, end = change.at - datetime.timedelta(hours=3, minutes=1), change.at + datetime.timedelta(hours=5)
        for expression in AROUND_CHANGES:
            walked = judges.debian_cron(expression, start, end, here)
            simulated = (due.astimezone(UTC) for due in CronSim(expression, start.astimezone(here)))
            assert walked == list(takewhile(lambda due, end=end: due <= end, simulated))


@pytest.mark.parametrize("minutes", range(1, 60))
def test_no_step_of_minutes_loses_the_fire_at_midnight(minutes: int) -> None:
    before_midnight = NOW.replace(hour=22, minute=58)
    due = first_occurrences(Schedule("cron", f"*/{minutes} * * * *"), 150 // minutes, before_midnight, ZoneInfo("UTC"))
    assert elapses(lines_of(f"*/{minutes} * * * *"), len(due), before_midnight, "UTC") == due


@pytest.mark.parametrize("zone", [
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/Nuuk",
    "Africa/Cairo", "America/Havana", "America/Santiago", "Africa/El_Aaiun",
])
@pytest.mark.parametrize("machine_zone", ["UTC", "same"])
def test_clock_changes_lose_and_double_no_occurrence(zone: str, machine_zone: str) -> None:
    """systemd with our lines, next_run_at and cron's rule agree over every change of the coming years."""
    here = ZoneInfo(zone)
    machine = zone if machine_zone == "same" else machine_zone
    for change in changes(here, NOW.year + 1, NOW.year + 3):
        start, end = change.at - datetime.timedelta(hours=3, minutes=1), change.at + datetime.timedelta(hours=5)
        for expression in AROUND_CHANGES:
            schedule = Schedule("cron", expression)
            should = judges.debian_cron(expression, start, end, here)
            ours = list(takewhile(lambda due, end=end: due <= end, occurrences(schedule, start, here)))
            assert ours == should, (expression, change)
            lines = on_calendar(schedule, here, ZoneInfo(machine), NOW)
            assert judges.timer_elapses(lines, start, end, machine) == should, (expression, change, lines)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 20000), st.integers(0, 10**7))
def test_an_interval_elapses_on_its_grid(minutes: int, since: int) -> None:
    schedule, passed = interval(minutes), NOW - datetime.timedelta(seconds=since)
    phase = first_occurrences(schedule, 1, NOW, ZoneInfo("UTC"), passed)[0]
    lines = on_calendar(schedule, ZoneInfo("UTC"), ZoneInfo("UTC"), NOW, phase)
    due = list(islice(occurrences(schedule, NOW, ZoneInfo("UTC"), phase), 20))
    assert elapses(lines, 20, NOW, "UTC") == due
    assert schedule.is_perpetual == any("*" in line for line in lines)
