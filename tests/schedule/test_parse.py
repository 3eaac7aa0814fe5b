"""Schedules as people write and read them: every form of the contract, and back again."""

import datetime
import re
import zoneinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hermes_oscron.schedule import parse as parsing
from hermes_oscron.schedule.display import display_schedule
from hermes_oscron.schedule.model import Schedule, ScheduleError, interval, once
from tests import strategies

UTC = datetime.UTC
PARIS = ZoneInfo("Europe/Paris")
NOW = datetime.datetime(2026, 3, 10, 8, 15, 42, 500_000, tzinfo=UTC)
MINUTE = datetime.timedelta(minutes=1)
ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})
FORMS_NAMED = ["0 9 * * 1-5", "every 2h", "weekdays at 9:30", "in 30m", "2026-03-11T09:00"]


def parse(words: str, zone: str = "Europe/Paris") -> Schedule:
    return parsing.parse_schedule(words, ZoneInfo(zone), NOW)


def shown(words: str, zone: str = "Europe/Paris") -> str:
    return display_schedule(parse(words, zone), ZoneInfo(zone))


def refusal(words: str, zone: str = "UTC") -> str:
    with pytest.raises(ScheduleError) as refused:
        parse(words, zone)
    return str(refused.value)


@pytest.mark.parametrize(("words", "expression"), [
    ("0 9 * * *", "0 9 * * *"),
    ("0 9 * * MON-FRI", "0 9 * * 1-5"),
    ("0 0 1 JAN *", "0 0 1 1 *"),
    ("*/15 9-17 1,15 * *", "*/15 9-17 1,15 * *"),
    ("0 9 * * 7", "0 9 * * 0"),
    ("0 9 L * *", "0 9 L * *"),
    ("0 9 * * 5#2", "0 9 * * 5#2"),
    ("* * ? * *", "* * * * *"),
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("every monday 9am", "0 9 * * 1"),
    ("every monday at 9am", "0 9 * * 1"),
    ("every mon, wed & fri at 9:15 pm", "15 21 * * 1,3,5"),
    ("weekdays at 9:30", "30 9 * * 1-5"),
    ("every weekday at 9:30", "30 9 * * 1-5"),
    ("weekends at noon", "0 12 * * 0,6"),
    ("weekends at midnight", "0 0 * * 0,6"),
    ("daily at 7am", "0 7 * * *"),
    ("every day at 07:05", "5 7 * * *"),
    ("daily at 12am", "0 0 * * *"),
    ("daily at 12pm", "0 12 * * *"),
    ("daily at 12:59 am", "59 0 * * *"),
    ("daily at 23:59", "59 23 * * *"),
    ("monday, wednesday at 14:00", "0 14 * * 1,3"),
    ("wednesday and monday 14:00", "0 14 * * 1,3"),
    ("sundays at 8pm", "0 20 * * 0"),
    ("Every Sunday, Tuesday and Saturday at 1:05 PM", "5 13 * * 0,2,6"),
])
def test_days_and_times_are_cron(words: str, expression: str) -> None:
    assert parse(words) == Schedule("cron", expression)


@pytest.mark.parametrize(("words", "expression"), [
    ("30m", "every 30m"),
    ("2h", "every 2h"),
    ("1d", "every 1d"),
    ("1w", "every 7d"),
    ("45 min", "every 45m"),
    ("90m", "every 90m"),
    ("120m", "every 2h"),
    ("48h", "every 2d"),
    ("every 30m", "every 30m"),
    ("every 2 hours", "every 2h"),
    ("every 1 hour", "every 1h"),
    ("every hour", "every 1h"),
    ("every minute", "every 1m"),
    ("every day", "every 1d"),
    ("every week", "every 7d"),
    ("every 15 mins", "every 15m"),
    ("every 3 days", "every 3d"),
    ("every 366d", "every 366d"),
])
def test_durations_are_intervals(words: str, expression: str) -> None:
    assert parse(words) == Schedule("interval", expression)


@pytest.mark.parametrize(("words", "minutes"), [
    ("in 30m", 30), ("in 2h", 120), ("in 1 day", 1440), ("in 90 minutes", 90), ("once in 5m", 5),
])
def test_a_delay_is_a_one_shot_on_a_whole_second(words: str, minutes: int) -> None:
    schedule = parse(words)
    assert schedule.kind == "once"
    assert schedule.run_at == NOW.replace(microsecond=0) + datetime.timedelta(minutes=minutes, seconds=1)
    assert schedule.expression.endswith("+01:00")


@pytest.mark.parametrize(("words", "expression"), [
    ("2026-03-15T09:00:00", "2026-03-15T09:00:00+01:00"),
    ("2026-03-15 09:00:00", "2026-03-15T09:00:00+01:00"),
    ("2026-03-15T09:00", "2026-03-15T09:00:00+01:00"),
    ("2026-03-15 09:00", "2026-03-15T09:00:00+01:00"),
    ("2026-03-15", "2026-03-15T00:00:00+01:00"),
    ("2026-03-15T09:00:00Z", "2026-03-15T10:00:00+01:00"),
    ("2026-03-15 09:00:00+05:30", "2026-03-15T04:30:00+01:00"),
    ("2026-07-15T09:00:00+01:00", "2026-07-15T10:00:00+02:00"),
    ("2026-03-15T09:00:00.000", "2026-03-15T09:00:00+01:00"),
    ("2026-03-15T09:00:00.2", "2026-03-15T09:00:01+01:00"),
    ("once at 2026-03-15 09:00", "2026-03-15T09:00:00+01:00"),
    ("once at 2026-03-15T09:00:30", "2026-03-15T09:00:30+01:00"),
    ("once on 2026-03-15", "2026-03-15T00:00:00+01:00"),
])
def test_a_date_is_a_one_shot_in_the_zone_unless_it_names_another(words: str, expression: str) -> None:
    assert parse(words) == Schedule("once", expression)


def test_a_date_the_clock_skips_is_the_end_of_the_gap() -> None:
    assert parse("2026-03-29 02:30").expression == "2026-03-29T03:00:00+02:00"


def test_a_date_the_clock_shows_twice_is_the_first_time() -> None:
    assert parse("2026-10-25 02:30").expression == "2026-10-25T02:30:00+02:00"
    assert parse("2026-10-25T02:30+01:00").expression == "2026-10-25T02:30:00+01:00"


@pytest.mark.parametrize("words", [
    "0 9 * * mon-fri", "@daily", "every 2 hours", "30m", "every monday 9am", "weekends at noon", "in 30m",
    "monday, wednesday at 14:00", "2026-03-15t09:00:00z", "once at 2026-03-15 09:00", "0 9 l * 5#2", "daily at 7 am",
])
def test_case_and_whitespace_do_not_matter(words: str) -> None:
    plain = parse(words)
    for variant in (words.upper(), words.title(), f"  {words}\n", words.replace(" ", " \t  ")):
        assert parse(variant) == plain, variant


@pytest.mark.parametrize(("words", "phrase"), [
    ("0 9 * * *", "Daily at 9:00 AM"),
    ("0 9 * * 1-5", "Weekdays at 9:00 AM"),
    ("0 9 * * 0,6", "Weekends at 9:00 AM"),
    ("0 9 * * SAT,SUN", "Weekends at 9:00 AM"),
    ("30 8 * * 1,3", "Every Monday and Wednesday at 8:30 AM"),
    ("30 8 * * 5,1,3", "Every Monday, Wednesday and Friday at 8:30 AM"),
    ("0 0 * * 0", "Every Sunday at 12:00 AM"),
    ("5 12 * * *", "Daily at 12:05 PM"),
    ("59 23 * * *", "Daily at 11:59 PM"),
    ("@daily", "Daily at 12:00 AM"),
    ("every 2h", "Every 2 hours"),
    ("60m", "Every hour"),
    ("every minute", "Every minute"),
    ("45m", "Every 45 minutes"),
    ("1d", "Every day"),
    ("every week", "Every 7 days"),
    ("2026-03-15T09:00:00", "Once at 2026-03-15 09:00"),
    ("2026-03-15T09:00:30", "Once at 2026-03-15 09:00:30"),
    ("2026-03-15T09:00:00Z", "Once at 2026-03-15 10:00"),
    ("2026-10-25T02:30+02:00", "Once at 2026-10-25 02:30"),
    ("2026-10-25T02:30+01:00", "Once at 2026-10-25 02:30+01:00"),
    ("*/15 * * * *", "*/15 * * * *"),
    ("0 9 1 * *", "0 9 1 * *"),
    ("0 9 * JAN MON", "0 9 * 1 1"),
    ("0 9,17 * * *", "0 9,17 * * *"),
    ("0 9 * * 2-4", "0 9 * * 2-4"),
    ("0 9 * * 5#2", "0 9 * * 5#2"),
])
def test_a_schedule_has_a_readable_display(words: str, phrase: str) -> None:
    assert shown(words) == phrase


def assert_parses_back(schedule: Schedule, zone: ZoneInfo) -> None:
    for words in (display_schedule(schedule, zone), schedule.expression):
        assert parsing.parse_schedule(words, zone, NOW) == schedule
        assert parsing.parse_schedule(words.upper(), zone, NOW + MINUTE) == schedule


@settings(max_examples=800, deadline=None)
@given(strategies.expressions(), st.sampled_from(ZONES))
def test_the_display_of_a_cron_schedule_parses_back(expression: str, zone: str) -> None:
    try:
        schedule = parsing.parse_schedule(expression, ZoneInfo(zone), NOW)
    except ScheduleError:
        assume(False)
    assert_parses_back(schedule, ZoneInfo(zone))


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 59), st.integers(0, 23), st.sampled_from(["*", "1-5", "0-6", "6,7", "sat-sun"])
       | st.lists(st.integers(0, 7).map(str), min_size=1).map(",".join))
def test_the_display_of_days_and_a_time_parses_back(minute: int, hour: int, weekdays: str) -> None:
    schedule = parsing.parse_schedule(f"{minute} {hour} * * {weekdays}", PARIS, NOW)
    assert_parses_back(schedule, PARIS)
    if "-" not in schedule.expression:
        assert re.match("Daily|Week|Every", display_schedule(schedule, PARIS))


@settings(max_examples=500, deadline=None)
@given(st.integers(1, parsing.MAX_INTERVAL_MINUTES), st.sampled_from(ZONES))
def test_the_display_of_an_interval_parses_back(minutes: int, zone: str) -> None:
    schedule = interval(minutes)
    assert schedule.period == minutes * MINUTE
    assert_parses_back(schedule, ZoneInfo(zone))


@settings(max_examples=1500, deadline=None)
@given(st.datetimes(datetime.datetime(1902, 1, 1), datetime.datetime(2199, 12, 31), timezones=st.just(UTC)),
       st.sampled_from(ZONES))
def test_the_display_of_a_one_shot_parses_back(instant: datetime.datetime, zone: str) -> None:
    assert_parses_back(once(instant.astimezone(ZoneInfo(zone))), ZoneInfo(zone))


@settings(max_examples=500, deadline=None)
@given(st.sampled_from([
    ("Europe/Paris", datetime.datetime(2026, 10, 25, 1, 0, tzinfo=UTC)),
    ("Europe/Paris", datetime.datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
    ("America/New_York", datetime.datetime(2026, 11, 1, 6, 0, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime.datetime(2026, 4, 4, 15, 0, tzinfo=UTC)),
    ("America/Havana", datetime.datetime(2026, 11, 1, 5, 0, tzinfo=UTC)),
    ("Pacific/Apia", datetime.datetime(2011, 12, 30, 10, 0, tzinfo=UTC)),
    ("Africa/Monrovia", datetime.datetime(1972, 1, 7, 0, 44, 30, tzinfo=UTC)),
    ("America/Juneau", datetime.datetime(1867, 10, 19, 0, 31, 41, tzinfo=UTC)),
]), st.integers(-2 * 3600, 2 * 3600))
def test_the_display_near_a_clock_change_parses_back(change: tuple[str, datetime.datetime], seconds: int) -> None:
    zone, at = ZoneInfo(change[0]), change[1]
    assert_parses_back(once((at + datetime.timedelta(seconds=seconds)).astimezone(zone)), zone)


@pytest.mark.parametrize("words", [
    "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 FEB *",
])
def test_an_expression_that_never_fires_is_refused(words: str) -> None:
    said = refusal(words)
    assert re.match(rf"'{re.escape(words)}' never fires: (February does not have|none of its months has) such a day; "
                    r"write `0 0 L [^`]*`", said)
    assert all(form in said for form in FORMS_NAMED)


def test_a_rare_day_is_accepted() -> None:
    assert parse("0 0 29 2 *").expression == "0 0 29 2 *"
    assert parse("0 0 30 2 5").expression == "0 0 30 2 5"


@pytest.mark.parametrize(("words", "fault"), [
    ("", "is empty"),
    (" \n\t", "is empty"),
    ("0m", "a minute is the least"),
    ("every 0 hours", "a minute is the least"),
    ("in 0m", "a minute is the least.*`in 1m`"),
    ("in 367d", "366 days are the most"),
    ("367d", "366 days are the most"),
    ("every 53 weeks", "366 days are the most"),
    ("every 527041m", "366 days are the most"),
    ("999999999m", "366 days are the most"),
    ("in 999999999m", "366 days are the most"),
    ("9" * 4000 + "h", "366 days are the most"),
    ("9" * 5000 + "h", "at most 4096 characters"),
    ("30s", "a minute is the least"),
    ("5 foos", "'foos' is not understood"),
    ("every 30s", "a minute is the least"),
    ("-5m", "is not a schedule"),
    ("0 0 9 * * *", "has six fields"),
    ("0 9 * *", "has 4 parts, and .* five fields"),
    ("60 9 * * *", "has a bad minute"),
    ("0 24 * * *", "has a bad hour"),
    ("0 9 32 * *", "has a bad day-of-month"),
    ("0 9 * 13 *", "has a bad month"),
    ("0 9 * * 8", "has a bad day-of-week"),
    ("@reboot", "@reboot.*@daily"),
    ("daily at 25:00", "has '25:00', which is not a time of day"),
    ("daily at 9:60", "has '9:60', which is not a time of day"),
    ("daily at 13pm", "has '13pm', which is not a time of day"),
    ("daily at 0am", "has '0am', which is not a time of day"),
    ("every mnday at 9am", "'mnday' is not understood"),
    ("mondayandtuesday at 9am", "is not understood"),
    ("at 9am", "has a time and no day"),
    ("2026-02-30T09:00", "is not a time"),
    ("2026-03-15T25:00", "is not a time"),
    ("2026-03-15 tomorrow", "names two days"),
    ("2026-13-01", "is not a time"),
    ("0001-01-01T00:00", "outside the years"),
    ("9999-12-31T23:59-10:00", "not in the years up to 2199"),
    ("tomorrow", "has a day and no time"),
    ("whenever you like, dear", "is not a schedule"),
    ("none of these is cron", "is not a schedule"),
    ("every", "has no time"),
    ("in", "has no time"),
    ("once", "has no time"),
])
def test_an_error_names_the_fault_and_the_accepted_forms(words: str, fault: str) -> None:
    said = refusal(words, "Europe/Paris")
    assert re.search(fault, said), said
    assert all(form in said for form in FORMS_NAMED), said
    assert len(said) < 700


@pytest.mark.parametrize("words", FORMS_NAMED)
def test_the_forms_that_an_error_names_are_accepted(words: str) -> None:
    assert words in parsing.examples(NOW).values()
    parsing.refuse_past(parse(words), NOW)


def test_a_one_shot_more_than_two_minutes_past_is_refused() -> None:
    two_minutes = datetime.timedelta(seconds=120)
    late = once((NOW - two_minutes).replace(microsecond=0) - datetime.timedelta(seconds=1))
    with pytest.raises(ScheduleError, match="more than 120 s in the past") as refused:
        parsing.refuse_past(late, NOW)
    assert all(form in str(refused.value) for form in FORMS_NAMED)
    parsing.refuse_past(once(NOW - two_minutes), NOW)
    parsing.refuse_past(parse("in 5m"), NOW)


@pytest.mark.parametrize("words", ["0 9 * * *", "every 2h"])
def test_a_repeating_schedule_is_never_in_the_past(words: str) -> None:
    parsing.refuse_past(parse(words), NOW + datetime.timedelta(days=10_000))


WORDS = st.sampled_from([
    "every", "in", "once", "at", "on", "and", ",", "&", "daily", "weekdays", "weekends", "weekday", "day", "monday",
    "mon", "suns", "noon", "midnight", "am", "pm", "9am", "9:30", "14:00", "99:99", "m", "h", "hours", "w", "@daily",
    "@", "*", "*/5", "?", "L", "5#2", "15W", "1-5", "0", "7", "2026-03-15", "2026-03-15T09:00", "0001-01-01",
    "9999-12-31", "23:59:59.9", "24:00", "+23:59", "-23:59", "Z", "99999999999999999999", "-1", "1e9", "0x10", "1_000",
    "\u0663", "\u0663m", "\u00b2", "\u096b:\u0969\u0966", "\u0662\u0660\u0662\u0666-\u0660\u0663-\u0661\u0665",
    "\u017fun", "\u212a", "\u0130", "\0", "\ud800", "\u2028", "e\u0301",
])
NONSENSE = st.one_of(
    st.text(),
    st.lists(WORDS, max_size=7).map(" ".join),
    st.lists(WORDS, max_size=4).map("".join),
    st.text("0123456789*/,-#?LW @:TZ+.", max_size=25),
    st.builds("{}{}{}".format, st.sampled_from(["", "every ", "in "]), st.integers(), st.sampled_from("mhdw")),
    st.builds("{} at {}:{}".format, st.sampled_from(["daily", "mon"]), st.integers(0), st.integers(0)),
    st.datetimes().map(str),
    st.datetimes(timezones=st.timezones()).map(str),
)


@settings(max_examples=3000, deadline=None)
@given(NONSENSE, st.sampled_from(["UTC", "Europe/Paris", "Pacific/Kiritimati", "Pacific/Niue"]))
def test_any_text_is_a_schedule_or_refused_with_the_forms(words: str, zone: str) -> None:
    try:
        schedule = parsing.parse_schedule(words, ZoneInfo(zone), NOW)
    except ScheduleError as refused:
        assert "every 2h" in str(refused)
    else:
        display_schedule(schedule, ZoneInfo(zone))


@pytest.mark.parametrize("words", ["9999-12-31T23:59:59.5", "9999-12-31 23:59:59.999999Z"])
def test_a_time_that_rounds_past_the_last_year_is_refused(words: str) -> None:
    assert "not in the years up to 2199" in refusal(words)
