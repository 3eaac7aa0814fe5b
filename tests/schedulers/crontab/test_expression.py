"""crontab lines, held against Debian's cron daemon: with the runner's gate they run due jobs, and nothing else."""

import datetime
import re
import shutil
import subprocess
from collections.abc import Callable
from itertools import islice, takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hermes_oscron.jobs import lifecycle
from hermes_oscron.jobs.due import ceil_to, floor_to, is_due, next_run
from hermes_oscron.jobs.model import Job, stored_schedule
from hermes_oscron.schedule import cron
from hermes_oscron.schedule.model import INTERVAL, ONCE, Schedule, ScheduleError, interval, once
from hermes_oscron.schedule.occurrences import changes, first_occurrences, next_occurrence, occurrences
from hermes_oscron.schedule.parse import parse_schedule
from hermes_oscron.schedulers.crontab.expression import CronExpression, expression_of, starts_per_day
from tests import judges, strategies

UTC = datetime.UTC
SECOND, MINUTE, HOUR, DAY = (datetime.timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
NOW = datetime.datetime(2026, 11, 23, 4, 0, 13, tzinfo=UTC)
NEW_YEAR = datetime.datetime(2026, 1, 1, tzinfo=UTC)
STARTS = 60
"""The number of checked starts of a line; of one that starts every minute, those of the hour around a change."""
CYCLE = range(11323, 11323 + 28 * 365 + 7)
"""The days since 1970 of 2001 to 2028, in which every date falls on every weekday."""


def line(schedule: str, zone: str = "UTC", machine_zone: str = "UTC") -> CronExpression:
    parsed = parse_schedule(schedule, ZoneInfo(zone), NOW)
    phase = NOW + parsed.period if parsed.kind == INTERVAL else None
    return expression_of(parsed, ZoneInfo(zone), ZoneInfo(machine_zone), NOW, phase)


@pytest.mark.parametrize(("expression", "fields"), [
    ("0 9 * * 1-5", "0 9 * * 1-5"),
    ("* * * * *", "* * * * *"),
    ("*/5 9-17/2 1,15 */3 *", "*/5 9-17/2 1,15 */3 *"),
    ("30 8 * JAN,JUL MON-WED", "30 8 * 1,7 1-3"),
    ("@weekly", "0 0 * * 0"),
    ("0 9 * * 7", "0 9 * * 0"),
    ("0 22 * * 5-7", "0 22 * * 0,5,6"),
    ("0 9 */2 * *", "0 9 1-31/2 * *"),
    ("0 9 2,*/10 * *", "0 9 1,2,11,21,31 * *"),
    ("0 9 ? * 1", "0 9 * * 1"),
    ("*/70 9 * * *", "*/70 9 * * *"),
    ("0 9 13 * 5", "0 9 13 * 5"),
    ("0 9 */2 * 1", "0 9 1-31/2 * 1"),
    ("0 9 1,15 * */2", "0 9 1,15 * 0-6/2"),
    ("0 9 */1 * 5", "0 9 * * *"),
    ("5/10 * * * *", "5-55/10 * * * *"),
    ("*/20,5/30 * * * *", "*/60,5,20,35,40 * * * *"),
    ("50-10 22-2 * * 6-1", "0-10,50-59 0-2,22,23 * * 0,1,6"),
    ("0 */4,22-2 * * *", "0 */24,1,2,4,8,12,16,20,22,23 * * *"),
    ("0 9 * * 1#1,3#1", "0 9 */32,2-7 * 1,3"),
    ("0 9 * * 0#2", "0 9 8-14 * */7"),
    ("0 9 * * 0#5,5#5", "0 9 29-31 * */7,5"),
])
def test_a_line_in_the_zone_of_cron_is_the_expression_or_an_equivalent_one(expression: str, fields: str) -> None:
    for zone in ("UTC", "Europe/Berlin"):
        assert line(expression, zone, zone) == CronExpression(fields, exact=True)


@pytest.mark.parametrize(("expression", "fields", "starts"), [
    ("0 9 L * *", "0 9 28-31 * *", 7 * 4 + 4 * 3 + 1),
    ("0 9 10,L * *", "0 9 10,28-31 * *", 12 + 41),
    ("0 9 L 2 *", "0 9 28,29 2 *", 1),
    ("0 9 * * 5#2", "0 9 */32,8-14 * 5", 12 + 2),
    ("0 9 * * L5", "0 9 */32,22-31 * 5", 17 + 2),
    ("0 9 15W * *", "0 9 14-16 * */7,1-5", 32),
    ("0 9 1 * 5#2", "0 9 1 * 5", 12 + 52 - 1),
])
def test_an_unsupported_expression_is_covered_by_the_fewest_days(expression: str, fields: str, starts: int) -> None:
    assert line(expression) == CronExpression(fields, exact=False)
    year = [datetime.datetime(2027, 1, 1, tzinfo=UTC), datetime.datetime(2028, 1, 1, tzinfo=UTC)]
    assert len(list(judges.debian_cron_daemon(fields, year[0], year[1], ZoneInfo("UTC")))) == starts


BERLIN, KOLKATA, LORD_HOWE = "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"


@pytest.mark.parametrize(("expression", "zone", "machine_zone", "fields", "exact"), [
    ("0 9 * * 1-5", BERLIN, "UTC", "0 7,8 * * 1-5", False),
    ("0 9 * * 1-5", "UTC", BERLIN, "*/60 10,11 * * 1-5", False),
    ("0 9 * * 1-5", BERLIN, "America/New_York", "*/60 3,4 * * 1-5", False),
    ("0 9 * * 1-5", BERLIN, "Europe/Paris", "0 9 * * 1-5", True),
    ("0 9 * * *", "America/New_York", "America/Chicago", "*/60 8 * * *", False),
    ("0 9 * * 1-5", KOLKATA, "UTC", "30 3 * * 1-5", True),
    ("0 20 * * 5", "UTC", KOLKATA, "30 1 * * 6", True),
    ("0 20 1 * *", "UTC", KOLKATA, "30 1 2 * *", True),
    ("0 20 L * *", "UTC", KOLKATA, "30 1 1 * *", True),
    ("0 20 * * 5#2", "UTC", KOLKATA, "30 1 */32,9-15 * 6", False),
    ("0 20 * * 5", BERLIN, KOLKATA, "30 0,23 * * 5,6", False),
    ("30 8 * * *", "UTC", BERLIN, "30 */24,9,10 * * *", False),
    ("30 8 * * *", "UTC", LORD_HOWE, "*/60,30 19 * * *", False),
    ("30 2 * * *", BERLIN, "UTC", "0,30 0,1 * * *", False),
    ("*/15 * * * *", BERLIN, KOLKATA, "0-45/15 * * * *", True),
    ("* * * * *", LORD_HOWE, BERLIN, "* * * * *", True),
    ("*/10 9-17 * * *", KOLKATA, "UTC", "0-50/10 3-12 * * *", False),
    ("* */3 * 3 *", "America/Havana", "America/New_York", "* 0-21/3 * 3 *", False),
])
def test_a_line_for_another_zone_names_all_its_hours_on_the_machine_s_clock(
        expression: str, zone: str, machine_zone: str, fields: str, exact: bool) -> None:
    assert line(expression, zone, machine_zone) == CronExpression(fields, exact)


@pytest.mark.parametrize(("schedule", "machine_zone", "fields", "exact"), [
    ("every 1m", BERLIN, "* * * * *", True),
    ("every 30m", BERLIN, "1,31 * * * *", True),
    ("every 45m", "UTC", "1-46/15 * * * *", False),
    ("every 7m", "UTC", "* * * * *", False),
    ("every 2h", "UTC", "1 0-22/2 * * *", True),
    ("every 2h", KOLKATA, "31 1-23/2 * * *", True),
    ("every 2h", BERLIN, "1 * * * *", False),
    ("every 1d", "UTC", "1 4 * * *", True),
    ("every 1d", BERLIN, "1 */24,5,6 * * *", False),
    ("every 2d", "UTC", "1 4 * * *", False),
    ("every 7d", KOLKATA, "31 9 * * 1", True),
    ("every 7d", BERLIN, "1 */24,5,6 * * 1", False),
    ("every 14d", "UTC", "1 4 * * 1", False),
])
def test_the_line_of_an_interval_names_its_minutes_of_every_day(
        schedule: str, machine_zone: str, fields: str, exact: bool) -> None:
    """Made at 04:00:13 UTC, on a Monday: due at 13 seconds past, started with the next minute."""
    assert line(schedule, "UTC", machine_zone) == CronExpression(fields, exact)


@pytest.mark.parametrize(("schedule", "machine_zone", "fields", "exact"), [
    ("2027-03-15T09:00", BERLIN, "0 9 15 3 *", True),
    ("2027-03-15T09:00", KOLKATA, "30 13 15 3 *", True),
    ("2027-03-15T09:00:30", BERLIN, "1 9 15 3 *", True),
    ("2027-12-31T23:59:01", BERLIN, "0 0 1 1 *", True),
    ("2027-10-31T02:30", BERLIN, "30 2 31 10 *", True),
    ("2027-10-31T02:30+01:00", BERLIN, "30 */24,2 31 10 *", False),
    ("2027-10-31T02:30+01:00", "UTC", "30 1 31 10 *", True),
    ("in 30m", BERLIN, "31 5 23 11 *", True),
])
def test_the_line_of_a_one_shot_names_its_minute_and_day(
        schedule: str, machine_zone: str, fields: str, exact: bool) -> None:
    assert line(schedule, BERLIN, machine_zone) == CronExpression(fields, exact)


def test_starts_a_day_are_counted() -> None:
    schedules = ("0 9 * * 1", "*/15 9-17 * * *", "every 7m")
    assert [starts_per_day(line(schedule)) for schedule in schedules] == [1, 36, 1440]


@pytest.mark.parametrize(("zone", "year"), [("Europe/Berlin", 2027), (LORD_HOWE, 2027), ("America/Nuuk", 2027),
                                            ("Africa/Cairo", 2027), ("Antarctica/Troll", 2027)])
@pytest.mark.parametrize("fields", [
    "30 2 * * *", "0,20 1-3 * * *", "*/20 1-3 * * *", "*/7 * * * *", "30 * * * *", "45 23 * * *", "0 0 * * 0",
    "17 */2 * * *", "0 0-4/2 * * *"])
def test_the_cron_daemon_of_these_tests_agrees_with_cronsim(zone: str, year: int, fields: str) -> None:
    here = ZoneInfo(zone)
    for change in changes(here, year, year):
        start, end = change.at - 26 * HOUR, change.at + 26 * HOUR
        started = judges.debian_cron_daemon(fields, start, end, here)
        minutes = dict.fromkeys(instant.replace(second=0) for instant in started)
        assert list(minutes) == judges.debian_cron(fields, start, end, here), change


ZONES = [*strategies.ZONES, "America/Chicago", "Antarctica/Troll", "Europe/Dublin", "Asia/Gaza"]
INSTANTS = st.datetimes(datetime.datetime(2026, 1, 1), datetime.datetime(2029, 1, 1), timezones=st.just(UTC))
EXPRESSIONS = strategies.expressions()
LATE_S = st.one_of(st.just(0), st.integers(0, 49))
"""The time by which a start may be later than the first of its minute."""
TOOK = st.integers(0, 8)


@st.composite
def places(draw: st.DrawFn, zones: list[str] = ZONES) -> tuple[ZoneInfo, ZoneInfo]:
    """The zone of a job and the one of the machine, as often as not the same."""
    zone = draw(st.sampled_from(zones))
    return ZoneInfo(zone), ZoneInfo(draw(st.just(zone) | st.sampled_from(ZONES)))


def near_a_change(*zones: ZoneInfo) -> st.SearchStrategy[datetime.datetime]:
    """Instants, most of them within hours or a day of a clock change."""
    clocks = [change.at for zone in zones for change in changes(zone, 2026, 2028)]
    if not clocks:
        return INSTANTS
    seconds = st.one_of(st.integers(-2700, 1800), st.integers(-7200, 5400), st.integers(-30 * 3600, 3 * 3600))
    return st.builds(lambda at, after: at + after * SECOND, st.sampled_from(clocks), seconds) | INSTANTS


def new_job(schedule: Schedule, zone: ZoneInfo, now: datetime.datetime, to_the_second: bool = False) -> Job:
    """Return a job made at `now` for cron; if an interval is due `to_the_second`, the agent has made it."""
    due = schedule.run_at if schedule.kind == ONCE else next_occurrence(schedule, now, zone)
    if due and schedule.kind == INTERVAL and not to_the_second:
        due = floor_to(due, MINUTE)
    made = now.astimezone(zone).isoformat()
    return Job.from_record("default", {
        "id": "a", "schedule": stored_schedule(schedule, zone), "state": "scheduled", "enabled": True,
        "repeat": {"times": 1 if schedule.kind == ONCE else None, "completed": 0}, "created_at": made,
        "armed_at": made, "next_run_at": due.astimezone(zone).isoformat() if due else None}, zone)


def run_by_cron(job: Job, machine_zone: ZoneInfo, begin: datetime.datetime, end: datetime.datetime, late: float = 0,
                took: float = 0) -> tuple[list[datetime.datetime], datetime.datetime, Job]:
    """Return when cron and the runner run `job` from `begin` on, until when that was looked at, and the job then."""
    assert job.schedule
    fields = expression_of(job.schedule, job.zone, machine_zone, begin, next_run(job, begin)).fields
    starts = list(islice(judges.debian_cron_daemon(fields, begin, end, machine_zone), STARTS))
    if len(starts) == STARTS:
        end = starts[-1].replace(second=0)
    runs, free = [], begin
    for start in (start + late * SECOND for start in starts):
        if start >= free and job.is_scheduled and is_due(job, start):
            runs.append(start)
            free = start + took * SECOND
            job = lifecycle.record_run(job, start, free, error=None)
    return runs, end, job


def minutes_due(schedule: Schedule, after: datetime.datetime, until: datetime.datetime, zone: ZoneInfo,
                phase: datetime.datetime | None = None) -> list[datetime.datetime]:
    """Return the minutes in which cron can start jobs that are due later than `after`, up to `until`."""
    due = occurrences(schedule, after, zone, phase)
    minutes = takewhile(lambda minute: minute <= until, (ceil_to(moment, MINUTE) for moment in due))
    return list(dict.fromkeys(minutes))


def minutes_of(instants: list[datetime.datetime]) -> list[datetime.datetime]:
    return [instant.replace(second=0, microsecond=0) for instant in instants]


def parsed(expression: str, zone: ZoneInfo, now: datetime.datetime) -> Schedule:
    try:
        return parse_schedule(expression, zone, now)
    except ScheduleError:
        assume(False)
        raise


@settings(max_examples=500, deadline=None)
@given(st.data(), places(), LATE_S, TOOK)
def test_an_expression_runs_only_and_always_when_it_is_due(
        data: st.DataObject, zones: tuple[ZoneInfo, ZoneInfo], late: int, took: int) -> None:
    zone, machine_zone = zones
    now = data.draw(near_a_change(zone, machine_zone))
    schedule = parsed(data.draw(EXPRESSIONS), zone, now)
    first = next_occurrence(schedule, now, zone)
    assert first
    begin = max(now, first - data.draw(st.integers(1, 2000)) * MINUTE)
    runs, end, _ = run_by_cron(new_job(schedule, zone, now), machine_zone, begin, begin + 300 * DAY, late, took)
    assert minutes_of(runs) == minutes_due(schedule, now, end, zone)


CRONS_OF_ONE_CLOCK = ["UTC", "Asia/Kolkata", "Asia/Tokyo", "America/Bogota"]


@settings(max_examples=300, deadline=None)
@given(st.data(), places(CRONS_OF_ONE_CLOCK), EXPRESSIONS | strategies.expressions(days=strategies.fields(
    cron.DAY, st.sampled_from(["*/2", "*/7", "*/31", "2,*/10"]))))
def test_busybox_starts_an_expression_whenever_it_is_due(
        data: st.DataObject, zones: tuple[ZoneInfo, ZoneInfo], expression: str) -> None:
    zone, machine_zone = zones
    assume(machine_zone.key in CRONS_OF_ONE_CLOCK)
    now = data.draw(near_a_change(zone, machine_zone))
    schedule = parsed(expression, zone, now)
    first = next_occurrence(schedule, now, zone)
    assert first
    begin = max(now, first - data.draw(st.integers(1, 2000)) * MINUTE)
    fields = expression_of(schedule, zone, machine_zone, begin, first).fields
    starts = list(islice(judges.busybox_crond(fields, begin, begin + 100 * DAY, machine_zone), STARTS))
    due = minutes_due(schedule, begin, starts[-1] if starts else begin + 100 * DAY, zone)
    assert set(due) <= set(starts), fields


NUMBERS = st.lists(st.integers(0, 59).map(str), min_size=1, max_size=3).map(",".join)
NIGHT = st.lists(st.sampled_from("0 1 2 3 4 20 21 22 23".split()), min_size=1, max_size=3).map(",".join)
AROUND_CHANGES = st.builds(
    "{} {} {}".format,
    NUMBERS | st.sampled_from(["*", "*/5", "*/7", "*/20", "*/30", "0-59", "0", "30"]),
    NIGHT | st.sampled_from(["*", "*/2", "*/3", "0-23", "1-3", "22-23", "0-5/2"]),
    st.sampled_from(["* * *", "* * 0", "* * 1-5", "* * 5,6", "1-31/2 * *", "1 * 0", "* 3,4,9,10,11 *"]))


@settings(max_examples=400, deadline=None)
@given(st.data(), places(), AROUND_CHANGES, LATE_S, TOOK)
def test_across_clock_changes_runs_match_debian_cron_in_the_zone_of_the_job(
        data: st.DataObject, zones: tuple[ZoneInfo, ZoneInfo], expression: str, late: int, took: int) -> None:
    zone, machine_zone = zones
    now = data.draw(near_a_change(zone, machine_zone)).replace(second=0, microsecond=0)
    job = new_job(Schedule("cron", expression), zone, now)
    runs, end, _ = run_by_cron(job, machine_zone, now, now + 3 * DAY, late, took)
    should = judges.debian_cron(expression, now - DAY, end, zone)  # cronsim errs where it begins in a repeated hour
    assert minutes_of(runs) == [minute for minute in should if minute > now]


@settings(max_examples=300, deadline=None)
@given(st.data(), places(["UTC", "Asia/Kolkata", "Asia/Tokyo", "America/Bogota"]),
       strategies.expressions(days=strategies.fields(cron.DAY, st.just("L"))))
def test_runs_match_croniter_if_the_clock_of_the_job_does_not_change(
        data: st.DataObject, zones: tuple[ZoneInfo, ZoneInfo], expression: str) -> None:
    """If day-of-month meets `#` croniter drops the former, and the contract does not."""
    _, _, day, _, weekday = cron.fields_of(expression)
    assume(day in ("*", "?") or not ("#" in weekday or "l" in weekday.lower()))
    zone, machine_zone = zones
    now = data.draw(near_a_change(machine_zone))
    schedule = parsed(expression, zone, now)
    judge = croniter(expression, now.astimezone(zone), ret_type=datetime.datetime)
    due = [judge.get_next().astimezone(UTC) for _ in range(10)]
    begin = max(now, due[0] - DAY)
    runs, end, _ = run_by_cron(new_job(schedule, zone, now), machine_zone, begin, min(due[-1], begin + 900 * DAY))
    assert minutes_of(runs[:10]) == [minute for minute in due if minute <= end]


PERIODS = st.one_of(st.integers(1, 20000), st.integers(1, 180),
                    st.sampled_from([1, 2, 5, 15, 30, 45, 60, 90, 120, 720, 1440, 2880, 10080, 20160]))


@settings(max_examples=600, deadline=None)
@given(st.data(), places(), PERIODS, LATE_S, TOOK, st.booleans())
def test_an_interval_runs_only_and_always_when_it_is_due(
        data: st.DataObject, zones: tuple[ZoneInfo, ZoneInfo], minutes: int, late: int, took: int,
        to_the_second: bool) -> None:
    """The starts in the minutes around a fire stand for those in between."""
    zone, machine_zone = zones
    schedule, now = interval(minutes), data.draw(near_a_change(zone, machine_zone))
    job = new_job(schedule, zone, now, to_the_second)
    phase = job.phase
    assert phase
    assume(not 0 < phase.second <= late + 1 + took)
    if minutes < 600:
        runs, end, _ = run_by_cron(job, machine_zone, now, now + 20 * DAY, late, took)
        assert minutes_of(runs) == minutes_due(schedule, now, end, zone, phase)
        return
    around = 25 * MINUTE
    for due in first_occurrences(schedule, 4, now, zone, phase):
        runs, _, job = run_by_cron(job, machine_zone, max(now, due - around), due + around, late, took)
        assert minutes_of(runs) == [ceil_to(due, MINUTE)]


@settings(max_examples=250, deadline=None)
@given(st.data(), places(), st.integers(1, 120), LATE_S)
def test_an_interval_due_to_the_second_runs_once_at_any_delay_of_cron(
        data: st.DataObject, zones: tuple[ZoneInfo, ZoneInfo], minutes: int, late: int) -> None:
    """A start may be so late that an occurrence within its minute is due already, and does not wait for the next."""
    zone, machine_zone = zones
    schedule, now = interval(minutes), data.draw(near_a_change(zone, machine_zone))
    job = new_job(schedule, zone, now, to_the_second=True)
    phase = job.phase
    runs, end, _ = run_by_cron(job, machine_zone, now, now + 20 * DAY, late)
    due = list(takewhile(lambda due: ceil_to(due, MINUTE) <= end, occurrences(schedule, now, zone, phase)))
    assert len(runs) in (len(due), len(due) + 1)
    assert all(fire <= run <= ceil_to(fire, MINUTE) + (late + 1) * SECOND
               for fire, run in zip(due, runs, strict=False))


@pytest.mark.parametrize("second", [0, 1, 3, 59])
def test_a_run_of_some_seconds_does_not_cancel_the_next_minutely_run(second: int) -> None:
    zone, now = ZoneInfo("UTC"), NOW.replace(second=second)
    runs, _, _ = run_by_cron(new_job(interval(1), zone, now), zone, now, now + 10 * MINUTE, took=50)
    assert minutes_of(runs) == [now.replace(second=0) + minute * MINUTE for minute in range(1, 11)]


@settings(max_examples=400, deadline=None)
@given(st.data(), places(), LATE_S, TOOK)
def test_a_one_shot_runs_once_in_its_minute(
        data: st.DataObject, zones: tuple[ZoneInfo, ZoneInfo], late: int, took: int) -> None:
    zone, machine_zone = zones
    schedule = once(data.draw(near_a_change(zone, machine_zone)).astimezone(zone))
    assume(not 0 < schedule.run_at.second <= late + 1)
    now = schedule.run_at - data.draw(st.integers(1, 3 * 86400)) * SECOND
    job = new_job(schedule, zone, now)
    runs, _, _ = run_by_cron(job, machine_zone, now, schedule.run_at + 370 * DAY, late, took)
    assert minutes_of(runs) == [ceil_to(schedule.run_at, MINUTE)]


def test_a_one_shot_in_the_second_of_two_equal_hours_does_not_run_in_the_first() -> None:
    berlin, now = ZoneInfo(BERLIN), datetime.datetime(2027, 10, 30, tzinfo=UTC)
    schedule = parse_schedule("2027-10-31T02:30+01:00", berlin, now)
    runs, _, _ = run_by_cron(new_job(schedule, berlin, now), berlin, now, now + 3 * DAY)
    assert [f"{run.astimezone(berlin):%d %H:%M:%S%z}" for run in runs] == ["31 02:30:01+0100"]


def test_a_job_that_cron_starts_repeatedly_after_a_gap_runs_once() -> None:
    berlin, now = ZoneInfo(BERLIN), datetime.datetime(2027, 3, 27, 12, tzinfo=UTC)
    job = new_job(Schedule("cron", "0-50/10 2 * * *"), berlin, now)
    runs, _, _ = run_by_cron(job, berlin, now, now + DAY, took=2)
    assert [f"{run.astimezone(berlin):%d %H:%M:%S}" for run in runs] == ["28 03:00:01"]


def may_be_catching_up(minute: datetime.datetime, zone: ZoneInfo) -> bool:
    """Return True if cron may still be starting then, at ten seconds' distance, what a gap in `zone` has skipped."""
    return any(change.after > change.before and change.at <= minute < change.at + 20 * MINUTE
               for change in changes(zone, minute.year, minute.year))


def starts_only_when_due(schedule: Schedule, zone: ZoneInfo, machine_zone: ZoneInfo, now: datetime.datetime) -> None:
    first = next_occurrence(schedule, now, zone)
    assert first
    line = expression_of(schedule, zone, machine_zone, now, first)
    assume(line.exact)
    begin = max(now, ceil_to(first, MINUTE) - (MINUTE if schedule.kind == INTERVAL else 36 * HOUR))
    starts = list(islice(judges.debian_cron_daemon(line.fields, begin, begin + 45 * DAY, machine_zone), 800))
    started = set(minutes_of(starts))
    due = set(minutes_due(schedule, now, max(started), zone, first))
    starred = any(field.startswith("*") for field in line.fields.split()[:2])
    assert due <= started
    assert all(not starred and may_be_catching_up(minute, machine_zone) for minute in started - due), line.fields


@settings(max_examples=300, deadline=None)
@given(st.data(), places(), EXPRESSIONS | AROUND_CHANGES)
def test_an_exact_line_starts_an_expression_when_it_is_due_and_at_no_other_time(
        data: st.DataObject, zones: tuple[ZoneInfo, ZoneInfo], expression: str) -> None:
    now = data.draw(near_a_change(*zones))
    starts_only_when_due(parsed(expression, zones[0], now), *zones, now)


@settings(max_examples=200, deadline=None)
@given(st.data(), places(), st.sampled_from([n for n in range(1, 1441) if 1440 % n == 0] + [10080]))
def test_an_exact_line_starts_an_interval_when_it_is_due_and_at_no_other_time(
        data: st.DataObject, zones: tuple[ZoneInfo, ZoneInfo], minutes: int) -> None:
    starts_only_when_due(interval(minutes), *zones, data.draw(near_a_change(*zones)))


def starts_in_the_cycle(fields: str) -> int:
    entry = judges.CronEntry.parse(fields)
    return len(entry.times) * sum(map(entry.names_day, CYCLE))


def product_cover(expression: cron.Cron, zone: ZoneInfo, machine_zone: ZoneInfo) -> int:
    """Return how often all minutes, hours, and weekdays or dates of an expression start there, each by itself."""
    clock_changes = [change for each in (zone, machine_zone) for change in changes(each, 2026, 2031)]
    shifts = {(at.astimezone(machine_zone).replace(tzinfo=None) - at.astimezone(zone).replace(tzinfo=None)) // MINUTE
              for at in (NEW_YEAR, *(change.at for change in clock_changes))}
    walls = {60 * hour + minute + shift for hour in expression.hours for minute in expression.minutes
             for shift in shifts}
    offsets = {wall // 1440 for wall in walls}
    other_clock = zone.key != machine_zone.key
    if other_clock and not expression.by_elapsed_time:
        ends = [change.at.astimezone(machine_zone) for change in clock_changes if change.after > change.before]
        walls |= {60 * end.hour + end.minute for end in ends}
    minutes, hours = {wall % 60 for wall in walls}, {wall // 60 % 24 for wall in walls}
    times = min(len(minutes | {0}) * len(hours), len(minutes) * len(hours | {0})) if other_clock else (
        len(minutes) * len(hours))
    cycle = [datetime.date(1970, 1, 1) + day * DAY for day in CYCLE]
    named = {day + offset * DAY for day in cycle if day.month in expression.months and expression.days.match(day)
             for offset in offsets}
    months, dates, weekdays = ({number(day) for day in named} for number in NUMBERED)
    in_months = [day for day in cycle if day.month in months]
    by_date = sum(day.day in dates for day in in_months)
    return times * min(by_date, sum(day.isoweekday() in weekdays for day in in_months))


NUMBERED: tuple[Callable[[datetime.date], int], ...] = (
    lambda day: day.month, lambda day: day.day, lambda day: day.isoweekday())


@settings(max_examples=80, deadline=None)
@given(places(), EXPRESSIONS)
def test_a_line_starts_at_most_as_often_as_its_fields_alone(
        zones: tuple[ZoneInfo, ZoneInfo], expression: str) -> None:
    schedule = parsed(expression, zones[0], NOW)
    fields = expression_of(schedule, *zones, NOW).fields
    assert starts_in_the_cycle(fields) <= product_cover(cron.parse(schedule.expression), *zones), fields


@settings(max_examples=300, deadline=None)
@given(places(), PERIODS, st.integers(0, 10**6))
def test_the_line_of_an_interval_does_not_change_while_the_job_runs(
        zones: tuple[ZoneInfo, ZoneInfo], minutes: int, later: int) -> None:
    schedule = interval(minutes)
    phase = NOW + schedule.period
    following = next_occurrence(schedule, NOW + later * SECOND, zones[0], phase)
    assert expression_of(schedule, *zones, NOW, phase) == expression_of(schedule, *zones, NOW, following)


def is_debian_s_crontab() -> bool:
    """cronie's `-n` is not a dry run."""
    if shutil.which("crontab") is None:
        return False
    usage = subprocess.run(["crontab", "-h"], capture_output=True, text=True)
    return "dry run" in usage.stdout + usage.stderr


def test_every_line_has_the_syntax_of_crontab(tmp_path: Path) -> None:
    lines = []

    @settings(max_examples=200, deadline=None, database=None)
    @given(places(), EXPRESSIONS, PERIODS, INSTANTS)
    def collect(zones: tuple[ZoneInfo, ZoneInfo], expression: str, minutes: int, instant: datetime.datetime) -> None:
        for schedule in (interval(minutes), once(instant), parsed(expression, zones[0], instant)):
            lines.append(expression_of(schedule, *zones, instant).fields)

    collect()
    for fields in lines:
        assert re.fullmatch(r"([0-9*/,-]+ ){4}[0-9*/,-]+", fields)
        assert judges.CronEntry.parse(fields).times
    if is_debian_s_crontab():
        crontab = tmp_path / "crontab"
        crontab.write_text("".join(f"{fields} true\n" for fields in lines))
        checked = subprocess.run(["crontab", "-n", str(crontab)], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
