"""croniter's opinion: it is asked about every cron expression, and no correct reading of one is refused."""

import contextlib
import datetime
import time
from zoneinfo import ZoneInfo

import croniter
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hermes_oscron.schedule import cron, occurrences
from hermes_oscron.schedule.model import Schedule, ScheduleError, interval
from hermes_oscron.schedule.parse import parse_schedule
from hermes_oscron.schedule.second_opinion import disagreement, require_agreement
from tests import strategies
from tests.wrong_reading import read_wrongly

UTC = datetime.UTC
NOW = datetime.datetime(2026, 11, 23, 4, 0, 13, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
INSTANTS = st.datetimes(datetime.datetime(2011, 1, 1), datetime.datetime(2040, 1, 1), timezones=st.just(UTC))
DAY = datetime.timedelta(days=1)
MAX_OPINION_S = 0.2


def opinion(text: str, zone: ZoneInfo = BERLIN, now: datetime.datetime = NOW) -> str | None:
    return disagreement(parse_schedule(text, zone, now), text, zone, now)


@settings(max_examples=600, deadline=None)
@given(strategies.expressions(), st.sampled_from(strategies.ZONES), INSTANTS)
def test_no_correct_reading_is_refused(expression: str, zone: str, now: datetime.datetime) -> None:
    here = ZoneInfo(zone)
    try:
        schedule = parse_schedule(expression, here, now)
    except ScheduleError:
        assume(False)
    require_agreement(schedule, expression, here, now)
    require_agreement(schedule, schedule.expression, here, now)


@settings(max_examples=300, deadline=None)
@given(strategies.expressions(), st.sampled_from(strategies.ZONES), st.integers(-4 * 86400, 4 * 86400))
def test_no_correct_reading_is_refused_around_a_clock_change(expression: str, zone: str, seconds: int) -> None:
    here = ZoneInfo(zone)
    for change in occurrences.changes(here, 2011, 2011):
        now = change.at + datetime.timedelta(seconds=seconds)
        try:
            schedule = parse_schedule(expression, here, now)
        except ScheduleError:
            assume(False)
        require_agreement(schedule, expression, here, now)


@pytest.mark.parametrize("error", [datetime.timedelta(minutes=1), datetime.timedelta(hours=-1), DAY])
@pytest.mark.parametrize("text", ["0 9 * * 1", "30 17 L * *", "0 9 13 * 5", "0 9 13 * 5#2", "0 0 15W * *",
                                  "weekdays at 9:30", "0 0 29 2 *"])
def test_a_wrong_reading_is_refused(text: str, error: datetime.timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    assert opinion(text) is None
    read_wrongly(monkeypatch, error)
    with pytest.raises(ScheduleError, match="Write the schedule in another form"):
        require_agreement(parse_schedule(text, BERLIN, NOW), text, BERLIN, NOW)


def test_a_refusal_shows_both_times_in_the_zone_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    read_wrongly(monkeypatch, datetime.timedelta(hours=1))
    assert opinion("0 9 * * MON") == (
        "'0 9 * * MON' is due at 2026-11-23 10:00 as hermes-oscron reads it, but at 2026-11-23 09:00 as croniter does, "
        "by which the agent fires. Write the schedule in another form, and report this as a bug.")


def test_the_text_of_the_user_is_compared_and_not_only_its_canonical_form() -> None:
    """A wrong canonical form, here of Tuesday, would be stored and fire."""
    tuesday = Schedule("cron", cron.canonical("0 9 * * tue"))
    assert disagreement(tuesday, "0 9 * * mon", BERLIN, NOW)
    assert disagreement(tuesday, "0 9 * * TUE", BERLIN, NOW) is None


@pytest.mark.parametrize("text", [" 0\t9  * * MON\n", "\u2003@Daily", "Weekdays at 9:30", "every mon, tue at 9am"])
def test_blanks_capitals_and_phrases_are_read(text: str) -> None:
    assert opinion(text) is None


def test_an_occurrence_that_only_one_side_has_is_a_disagreement() -> None:
    leap_day, never = Schedule("cron", "0 0 29 2 *"), "0 0 30 2 *"
    sentence = disagreement(leap_day, never, BERLIN, NOW)
    assert sentence and "2028-02-29 00:00" in sentence and "never" in sentence


def test_an_expression_that_croniter_does_not_accept_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(croniter.croniter):
        def __init__(self, *_: object, **__: object) -> None:
            raise KeyError("no such form")

    monkeypatch.setattr(croniter, "croniter", Strict)
    sentence = opinion("0 9 * * 1")
    assert sentence and "does not accept '0 9 * * 1'" in sentence and "no such form" in sentence


def croniter_and_we_differ(expression: str, zone: ZoneInfo, after: datetime.datetime) -> bool:
    """Compare croniter, used as the agent uses it, with our occurrences."""
    judge = croniter.croniter(expression, after.astimezone(zone), ret_type=datetime.datetime)
    theirs = []
    with contextlib.suppress(croniter.CroniterBadDateError):
        for _ in range(5):
            theirs.append(judge.get_next().astimezone(UTC))
    return theirs != occurrences.first_occurrences(parse_schedule(expression, zone, after), 5, after, zone)


@pytest.mark.parametrize("expression", ["0 0 5W * 0", "0 0 L * 2#1", "0 0 13 * 5#2", "0 0 1 * L5", "0 0 2W * 5#1"])
def test_a_day_of_month_beside_a_special_weekday_is_an_intended_difference(expression: str) -> None:
    assert croniter_and_we_differ(expression, BERLIN, NOW), "croniter agrees by now; the exception can go"
    assert opinion(expression) is None


@pytest.mark.parametrize(("expression", "date"), [("*/20 2 * * *", "2027-03-28"), ("30 2 * * *", "2027-10-31")])
def test_a_clock_change_is_an_intended_difference(expression: str, date: str) -> None:
    midnight = datetime.datetime.fromisoformat(date).replace(tzinfo=BERLIN)
    assert croniter_and_we_differ(expression, BERLIN, midnight), "croniter agrees by now; the exception can go"
    assert opinion(expression, now=midnight) is None


def test_a_day_that_the_zone_skipped_is_an_intended_difference() -> None:
    """It is caught up on the day after, on which the clock does not change."""
    april = datetime.datetime(2011, 4, 1, tzinfo=UTC)
    assert opinion("0 0 30 12 *", ZoneInfo("Pacific/Apia"), april) is None


def test_a_comparison_that_begins_near_a_clock_change_starts_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read_wrongly(monkeypatch, datetime.timedelta(minutes=1))
    sentence = opinion("*/5 * * * *", now=datetime.datetime(2027, 3, 28, 0, 30, tzinfo=UTC))
    assert sentence and "2027-03-30 00:06" in sentence and "2027-03-30 00:05" in sentence


def test_other_kinds_of_schedules_are_not_compared() -> None:
    assert disagreement(interval(45), "every 45m", BERLIN, NOW) is None
    assert opinion("2027-03-15T09:00") is None


@pytest.mark.parametrize("expression", [
    "0 0 29 2 *", "0 0 29 2 1#5", "0 0 * 2 1#5", "0 0 29 2 1", "59 23 31 12 5#5", "0 0 31W 2 *", "* * * * *",
    ",".join(["0-59/1"] * 560) + " * * * 1#5", ",".join(["1"] * 2000) + " 0 29 2 *",
])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Africa/Casablanca"])
def test_an_opinion_on_a_rare_or_long_expression_is_cheap(expression: str, zone: str) -> None:
    schedule = parse_schedule(expression, ZoneInfo(zone), NOW)
    disagreement(schedule, expression, ZoneInfo(zone), NOW)
    began = time.process_time()
    disagreement(schedule, expression, ZoneInfo(zone), NOW)
    assert time.process_time() - began < MAX_OPINION_S
