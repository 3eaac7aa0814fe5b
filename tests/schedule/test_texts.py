"""Schedules as people write them: understood, understood with a warning, or refused with the nearest valid form."""

import datetime
import json
import re
import subprocess
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_oscron.errors import shortened
from hermes_oscron.schedule.display import display_schedule
from hermes_oscron.schedule.model import Schedule, ScheduleError
from hermes_oscron.schedule.occurrences import first_occurrences
from hermes_oscron.schedule.parse import Reading, examples, parse_schedule, read_schedule, refuse_past
from hermes_oscron.schedule.words import MONTHS, WEEKDAYS

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime.datetime(2026, 11, 27, 10, 30, tzinfo=datetime.UTC)  # Friday, 11:30 in Berlin
AGENT_PYTHON = Path(__file__).parents[2] / ".agent-venv" / "bin" / "python"


def read(text: str) -> Reading:
    return read_schedule(text, BERLIN, NOW)


def refusal(text: str) -> str:
    with pytest.raises(ScheduleError) as refused:
        read(text)
    assert_one_sentence(refused.value, text)
    return refused.value.message


def assert_one_sentence(error: ScheduleError, text: str) -> None:
    """Require one sentence: the text, the reason, the nearest forms, and an example of each kind."""
    said = str(error)
    assert all(example in said for example in examples(NOW).values()), said
    rest = re.sub("`[^`]*`", "`…`", said.removeprefix(f"'{shortened(' '.join(text.split()))}'"))
    assert rest.startswith(" ") and rest.endswith(".") and not re.search(r"[.!?;]\s+[A-Z]|[.!?]\s", rest), said


def ready_forms(sentence: str) -> list[str]:
    return re.findall("`([^`]+)`", sentence)


ONCE = [
    ("tomorrow at 9am", "2026-11-28T09:00"), ("17:20 tomorrow", "2026-11-28T17:20"),
    ("today at 5pm", "2026-11-27T17:00"), ("tonight at 8pm", "2026-11-27T20:00"), ("tonight at 8", "2026-11-27T20:00"),
    ("tonight at midnight", "2026-11-28T00:00"), ("the day after tomorrow at noon", "2026-11-29T12:00"),
    ("next friday 10:00", "2026-12-04T10:00"), ("this friday 5pm", "2026-11-27T17:00"),
    ("next monday at 9", "2026-11-30T09:00"), ("once on tuesday at 9:00", "2026-12-01T09:00"),
    ("once at 18:00", "2026-11-27T18:00"), ("once at 9:00", "2026-11-28T09:00"), ("once at noon", "2026-11-27T12:00"),
    ("March 15 at 9am", "2027-03-15T09:00"), ("15th of March at 9am", "2027-03-15T09:00"),
    ("31 december at 23:59", "2026-12-31T23:59"), ("Feb 29 at 9", "2028-02-29T09:00"),
    ("15 March 2027 9:00", "2027-03-15T09:00"), ("9am March 15, 2027", "2027-03-15T09:00"),
    ("2027-03-15 9:00", "2027-03-15T09:00"), ("2027-03-15 9am", "2027-03-15T09:00"),
    ("2027/3/15 at 9pm", "2027-03-15T21:00"), ("2027-03-15", "2027-03-15T00:00"),
    ("2027-03-15 9:00 UTC", "2027-03-15T10:00"), ("2027-03-15 9:00 Europe/London", "2027-03-15T10:00"),
    ("tomorrow at 9am America/New_York", "2026-11-28T15:00"), ("2027-03-15 9:00 europe/berlin", "2027-03-15T09:00"),
    ("20270315T090000Z", "2027-03-15T10:00"), ("1805097600", "2027-03-15T09:00"), ("1805097600000", "2027-03-15T09:00"),
    ("Mon, 15 Mar 2027 09:00:00 +0100", "2027-03-15T09:00"), ("Mon, 15 Mar 2027 09:00:00 GMT", "2027-03-15T10:00"),
    ("+20m", "2026-11-27T11:50"), ("in two hours", "2026-11-27T13:30"), ("in an hour", "2026-11-27T12:30"),
    ("in 2h30m", "2026-11-27T14:00"), ("in half an hour", "2026-11-27T12:00"),
    ("30 minutes from now", "2026-11-27T12:00"),
    ("in 3 days at 9am", "2026-11-30T09:00"), ("in an hour and a half", "2026-11-27T13:00"),
]
PERIODS = [
    ("daily", "0 0 * * *"), ("hourly", "0 * * * *"), ("weekly", "0 0 * * 0"), ("monthly", "0 0 1 * *"),
    ("yearly", "0 0 1 1 *"), ("annually", "0 0 1 1 *"), ("every month", "0 0 1 * *"),
    ("quarterly", "0 0 1 1,4,7,10 *"), ("every quarter", "0 0 1 1,4,7,10 *"), ("every January 1st", "0 0 1 1 *"),
    ("every year on march 15 at noon", "0 12 15 3 *"), ("hourly on weekdays", "0 * * * 1-5"),
    ("every hour at :15", "15 * * * *"), ("15 minutes past every hour", "15 * * * *"),
    ("weekly on monday", "0 0 * * 1"), ("every day in june at 9am", "0 9 * 6 *"),
    ("weekly in april to april", "0 0 * 4 0"), ("daily at 9 in june to august", "0 9 * 6-8 *"),
]
DAYS = [
    ("9am every day", "0 9 * * *"), ("at 10AM every weekday", "0 10 * * 1-5"), ("9:00 daily", "0 9 * * *"),
    ("at 5pm on Fridays", "0 17 * * 5"), ("every 9am", "0 9 * * *"), ("every noon", "0 12 * * *"),
    ("every midnight", "0 0 * * *"), ("every morning at 9am", "0 9 * * *"), ("every evening at 8", "0 20 * * *"),
    ("mon-fri 9am", "0 9 * * 1-5"), ("monday to friday at 9", "0 9 * * 1-5"),
    ("monday through friday, 9:00", "0 9 * * 1-5"), ("fri-mon at 9am", "0 9 * * 0,1,5,6"),
    ("tue-thu, sat at 9am", "0 9 * * 2,3,4,6"), ("weekdays and saturday at 9:00", "0 9 * * 1,2,3,4,5,6"),
    ("mon/wed/fri at 9am", "0 9 * * 1,3,5"), ("every monday and every friday at 8am", "0 8 * * 1,5"),
    ("everyday at 9am", "0 9 * * *"), ("every thurs at 9:00", "0 9 * * 4"), ("daily at midday", "0 12 * * *"),
    ("daily at 9", "0 9 * * *"), ("daily at 17", "0 17 * * *"), ("every monday at 8", "0 8 * * 1"),
    ("every 1d at 09:00", "0 9 * * *"), ("every day at 2am and 2pm", "0 2,14 * * *"),
    ("every day at 9:00, 9:30, 17:00 and 17:30", "0,30 9,17 * * *"), ("nightly at 2am", "0 2 * * *"),
    ("daily@9:00", "0 9 * * *"), ("9 in the morning every day", "0 9 * * *"),
]
MONTH_DAYS = [
    ("monthly on the 1st", "0 0 1 * *"), ("1st and 15th at 9:00", "0 9 1,15 * *"),
    ("first day of every month", "0 0 1 * *"), ("last day of the month", "0 0 L * *"),
    ("on day 15 of the month at 9:00", "0 9 15 * *"), ("every 15th at 9", "0 9 15 * *"),
    ("first Monday of each month at 9", "0 9 * * 1#1"), ("last friday of the month at 5pm", "0 17 * * L5"),
    ("1st and 3rd tuesday of every month at 9am", "0 9 * * 2#1,2#3"), ("on the 15th at noon", "0 12 15 * *"),
    ("first weekday of the month at 9:00", "0 9 1W * *"),
]
CLOCKS = [
    (f"daily at {clock}", "0 9 * * *") for clock in (
        "9 a.m.", "9 AM", "9:00", "09h00", "9h00", "9.00", "0900", "9:00:00", "9 o'clock", "nine", "09", "9:00am")
] + [("daily at 9.30", "30 9 * * *"), ("daily at half past nine", "30 9 * * *"), ("daily at 5 p.m.", "0 17 * * *")]
WRAPPED = [
    (text, "0 9 * * *") for text in (
        '"0 9 * * *"', "'0 9 * * *'", "`0 9 * * *`", "“0 9 * * *”", "cron: 0 9 * * *", "0 9 * * *.",
        "`cron: 0 9 * * *`.", "\uff10 \uff19 \uff0a \uff0a \uff0a", "every day at \uff19am.",
        "TZ=Europe/Berlin 0 9 * * *", "CRON_TZ=Europe/Berlin 0 9 * * *",
        "0 9 * * * Europe/Berlin", "every day at 9am (Europe/Berlin)", "every day at 9am Europe/Berlin")
]
INTERVALS = [
    ("every 2h30m", "every 150m"), ("every 1.5h", "every 90m"), ("every five minutes", "every 5m"),
    ("every half hour", "every 30m"), ("@every 5m", "every 5m"), ("every other hour", "every 2h"),
    ("every twenty-five minutes", "every 25m"), ("every 1 hour and 30 minutes", "every 90m"),
    ("each minute", "every 1m"),
]


@pytest.mark.parametrize(("text", "wall"), ONCE)
def test_a_date_or_a_delay_is_due_once(text: str, wall: str) -> None:
    schedule, warnings = read(text)
    assert (schedule.kind, schedule.expression[:16], warnings) == ("once", wall, [])
    refuse_past(schedule, NOW)


@pytest.mark.parametrize(("text", "expression"), PERIODS + DAYS + CLOCKS + WRAPPED + INTERVALS + MONTH_DAYS)
def test_a_plain_meaning_is_understood_without_a_warning(text: str, expression: str) -> None:
    schedule, warnings = read(text)
    assert (schedule.expression, warnings) == (expression, [])


WARNED = [
    # text, expression, a part of the warning, the form that was probably meant
    ("* 16 * * *", "* 16 * * *", "runs 60 times, from 16:00 to 16:59", "0 16 * * *"),
    ("*/1 16 * * 1-5", "*/1 16 * * 1-5", "runs 60 times", "0 16 * * 1-5"),
    ("* 9-17 * * *", "* 9-17 * * *", "540 times a day", "0 9-17 * * *"),
    ("* * 2 * *", "* * 2 * *", "1440 times", "0 0 2 * *"),
    ("* * * * 1", "* * * * 1", "1440 times", "0 0 * * 1"),
    ("0 9 1-7 * 1", "0 9 1-7 * 1", "on the 1st to 7th and on every Monday", "0 9 * * 1#1"),
    ("0 9 8-14 * tue", "0 9 8-14 * 2", "every Tuesday", "0 9 * * 2#2"),
    ("0 9 25-31 * 5", "0 9 25-31 * 5", "every Friday", "0 9 * * L5"),
    ("0 0 1 * 0", "0 0 1 * 0", "on the 1st and on every Sunday", "0 0 1 * *"),
    ("59 23 31 12 5", "59 23 31 12 5", "on the 31st and on every Friday", "59 23 31 12 *"),
    ("*/50 * * * *", "*/50 * * * *", "at :00 and :50 of each hour", "every 50m"),
    ("*/90 * * * *", "*/90 * * * *", "at :00 of each hour", "every 90m"),
    ("0/7 * * * *", "0/7 * * * *", ":00, :07, :14, :21, …", "every 7m"),
    ("0-59/25 * * * *", "0-59/25 * * * *", ":00, :25 and :50", "every 25m"),
    ("0 */5 * * *", "0 */5 * * *", "0:00, 5:00", "every 5h"),
    ("0 0 */30 * *", "0 0 */30 * *", "the 1st and the 31st", "every 30d"),
    ("0 9 */2 * 1", "0 9 */2 * 1", "in Debian's cron both must", "0 9 * * 1"),
    ("0 9 1 * */2", "0 9 1 * */2", "in Debian's cron both must", "0 9 1 * *"),
    ("0 0 31 * *", "0 0 31 * *", "does not run in February, April", "0 0 L * *"),
    ("friday at 5pm", "0 17 * * 5", "every Friday", "next friday at 17:00"),
    ("on tuesday at 7:30am", "30 7 * * 2", "every Tuesday", "next tuesday at 7:30"),
    ("Wed, 17:48", "48 17 * * 3", "every Wednesday", "next wednesday at 17:48"),
    ("mon, tue, wed, thu, fri, sat, sun at midnight", "0 0 * * 0,1,2,3,4,5,6", "as the day begins",
     "0 0 * * 0,1,2,3,4,5,6"),
    ("every friday at midnight", "0 0 * * 5", "as the day begins", "0 0 * * 6"),
    ("every day at 5", "0 5 * * *", "in the morning", "daily at 17:00"),
    ("30m", "every 30m", "every 30 minutes from now", "in 30m"),
    ("2h30m", "every 150m", "every 150 minutes from now", "in 150m"),
    ("hour", "every 1h", "every hour from now", "in 1h"),
    ("1w", "every 7d", "every 7 days from now", "in 7d"),
    ("every day", "every 1d", "24 hours apart", "daily at 11:30"),
    ("every 24 hours", "every 1d", "24 hours apart", "daily at 11:30"),
    ("every week", "every 7d", "24 hours apart", "every friday at 11:30"),
    ("every other day", "every 2d", "24 hours apart", "daily at 11:30"),
]


@pytest.mark.parametrize(("text", "expression", "part", "form"), WARNED)
def test_a_surprising_meaning_is_taken_with_a_warning(text: str, expression: str, part: str, form: str) -> None:
    schedule, warnings = read(text)
    assert schedule.expression == expression
    said = " ".join(warnings)
    assert part in said and form in ready_forms(said)
    for each in ready_forms(said):
        read(each)


@pytest.mark.parametrize("text", [
    "* * * * *", "*/5 16 * * *", "*/15 9-17 * * MON-FRI", "0 */6 * * *", "0 9 * * 1#1", "0 0 29 2 *", "0 0 31 12 *",
    "0 0 1 */3 *", "0 9-17/3 * * *", "0 9 * * 5", "0 0 L * *", "every 30m", "in 30m", "every 36h", "fridays at 5pm",
    "every friday at 5pm", "monday, wednesday at 14:00", "0 9 1,15 * ?", "2027-03-15 09:00", "weekends at noon",
])
def test_a_common_schedule_has_no_warning(text: str) -> None:
    assert read(text).warnings == []


REFUSED = [
    # text, the reason, the forms to paste
    ("5-5 * * * *", "cron takes the one number, croniter and the agent the whole field",
     ["5 * * * *", "* * * * *"]),
    ("0 9 * * 1-1", "takes the one number", ["0 9 * * 1", "0 9 * * *"]),
    ("0 9 * * mon-mon", "takes the one number", ["0 9 * * mon", "0 9 * * *"]),
    ("0 0 1-1 * *", "takes the one number", ["0 0 1 * *", "0 0 * * *"]),
    ("5-5 9 1-1 * *", "5-5 as its minute", ["5 9 1 * *", "* 9 * * *"]),
    ("0 0 * 3-3/2 *", "takes the one number", ["0 0 * 3 *", "0 0 * * *"]),
    ("at 18:00", "no day", ["daily at 18:00", "once at 18:00"]),
    ("9am", "no day", ["daily at 9:00", "once at 9:00"]),
    ("noon", "no day", ["daily at 12:00", "once at 12:00"]),
    ("20:00", "no day", ["daily at 20:00", "once at 20:00"]),
    ("9", "no day", ["daily at 9:00", "once at 9:00"]),
    ("every Thursday", "no time", ["every thursday at 9:00"]),
    ("weekends", "no time", ["weekends at 9:00"]),
    ("every morning", "no time", ["every morning at 9:00"]),
    ("every evening", "no time", ["every evening at 20:00"]),
    ("twice a day", "no time", ["every day at 9:00 and 21:00"]),
    ("three times per week", "no time", ["every monday, wednesday and friday at 9:00"]),
    ("tomorrow", "no time", ["2026-11-28 09:00"]),
    ("March 15", "no time", ["2027-03-15 09:00"]),
    ("03/15/2027 9:00", "day and month", ["2027-03-15 09:00"]),
    ("03/05/2027 9:00", "day and month", ["2027-03-05 09:00", "2027-05-03 09:00"]),
    ("every other day at 9am", "no form", ["every 48h", "0 9 */2 * *"]),
    ("every 3 days at 9am", "no form", ["every 72h", "0 9 */3 * *"]),
    ("biweekly", "no form", ["every 14d", "0 9 * * 1"]),
    ("every 2 weeks on Monday", "no form", ["every 14d", "0 9 * * 1"]),
    ("every other tuesday at 10:30", "no form", ["every 14d", "30 10 * * 2"]),
    ("every 30 minutes between 9am and 5pm", "may or may not include 17:00", ["*/30 9-16 * * *", "*/30 9-17 * * *"]),
    ("every hour from 9 to 17 on weekdays", "may or may not include", ["0 9-16 * * 1-5", "0 9-17 * * 1-5"]),
    ("every 30 minutes on weekdays", "counts from now", ["*/30 * * * 1-5"]),
    ("@reboot", "start of the machine", ["@daily"]),
    ("0 0 12 * * ?", "six fields", ["0 12 * * *"]),
    ("0 0 9 * * *", "six fields", ["0 0 9 * *", "0 9 * * *"]),
    ("0 0 9 ? * MON-FRI *", "five fields", ["0 9 ? * MON-FRI"]),
    ("0 9 * * * root /bin/true", "five fields", ["0 9 * * *"]),
    ("*/5", "five fields", ["*/5 * * * *"]),
    ("every 30s", "a minute", ["every 1m"]),
    ("every second", "a minute", ["every 1m"]),
    ("every 3 months", "not all equally long", ["quarterly"]),
    ("every 0 months", "not all equally long", ["monthly"]),
    ("every 5 months", "not all equally long", ["every 150d"]),
    ("*-*-* 02:00", "calendar event of systemd", ["daily at 2:00"]),
    ("Mon..Fri 09:00", "calendar event of systemd", ["0 9 * * 1-5"]),
    ("OnCalendar=*:0/15", "calendar event of systemd", ["0/15 * * * *"]),
    ("*-*-01 00:00:00", "calendar event of systemd", ["0 0 1 * *"]),
    ("0 9 * * Monday", "'monday' is neither", ["0 9 * * MON"]),
    ("0 9 * JANUARY *", "'january' is neither", ["0 9 * JAN *"]),
    ("0 9 LW * *", "'lw' is neither", ["0 9 L * *"]),
    ("every day at 2:30 and 4:00", "one line of cron cannot", ["30 2 * * *", "0 4 * * *"]),
    ("tomorrow at midnight", "begin the day or end it", ["2026-11-28 00:00", "2026-11-29 00:00"]),
    ("tonight at 2am", "not in the night", ["tomorrow at 2:00"]),
    ("friday the 13th at 9am", "cron takes either one", ["0 9 13 * *", "0 9 * * 5"]),
    ("every 2h30", "a time or an interval", ["daily at 2:30", "every 150m"]),
    ("every mnday at 9am", "'mnday'", ["every monday at 9am"]),
    ("CRON_TZ=America/New_York 0 9 * * 1-5",
     "names the zone America/New_York, and a repeating job has no zone of its own yet (no CRON_TZ)", ["0 15 * * 1-5"]),
    ("TZ=UTC 0 9 * * 1-5", "names the zone UTC", ["0 10 * * 1-5"]),
    ("every day at 9am UTC", "names the zone UTC", ["0 10 * * *"]),
    ("at 9am UTC every day", "names the zone UTC", ["0 10 * * *"]),
    ("0 9 * * * Europe/London", "names the zone Europe/London", ["0 10 * * *"]),
    ("0 9 * * * Europe/Nowhere", "is not a time zone", ["0 9 * * *"]),
    ("9am EST daily", "which several zones share", ["9am daily"]),
    ("monday at 9am and tuesday at 10am", "needs two jobs", ["monday at 9am", "tuesday at 10am"]),
    ("every day at 9am and mondays at 10am", "needs two jobs", ["every day at 9am", "mondays at 10am"]),
    ("every day at 9am mondays", "every day and single days", ["daily at 9:00", "0 9 * * 1"]),
    ("whenever you like, dear", "'whenever' is not understood", []),
]


@pytest.mark.parametrize(("text", "reason", "forms"), REFUSED)
def test_an_unclear_text_is_refused_with_the_reason_and_then_forms(text: str, reason: str, forms: list[str]) -> None:
    said = refusal(text)
    assert reason in said and ready_forms(said) == forms
    assert said.index(reason) < said.index("`") if forms else True
    for form in forms:
        read(form)


def test_a_past_time_is_refused_with_the_next_one() -> None:
    with pytest.raises(ScheduleError, match=r"in the past .*; write `once at 09:00`"):
        refuse_past(parse_schedule("today at 9:00", BERLIN, NOW), NOW)


TIMES = st.one_of(
    st.builds("{}{}".format, st.integers(0, 23), st.sampled_from(["", ":00", ":05", ":59", "h30", ".15"])),
    st.builds("{}{}{}".format, st.integers(1, 12), st.sampled_from(["", ":00", ":30"]),
              st.sampled_from(["am", "pm", " AM", " p.m."])),
    st.sampled_from(["noon", "midday", "midnight"]),
)
DAY_WORDS = st.sampled_from(["every day", "daily", "everyday", "weekdays", "every weekday", "weekends", "each weekend",
                             "monthly on the 1st", "on the last day of the month", "first monday of the month",
                             "every january 1st", "last friday of each month", "1st and 15th", "tomorrow",
                             "next monday", "March 15", "15 March 2027", "2027-03-15", "once"]) | st.lists(
    st.sampled_from(sorted(WEEKDAYS)), min_size=1, max_size=4).map(" and ".join)


@settings(max_examples=400, deadline=None)
@given(DAY_WORDS, TIMES, st.sampled_from(["", "at ", "@ "]), st.booleans())
def test_days_and_a_time_mean_the_same_in_any_order(days: str, time: str, at: str, swapped: bool) -> None:
    text = f"at {time} {days}" if swapped else f"{days} {at}{time}"
    try:
        schedule = read(text).schedule
    except ScheduleError as refused:
        assert "midnight" in text and ready_forms(str(refused))
        return
    assert read(f"at {time} {days}").schedule == schedule == read(f"{days} at {time}").schedule
    for shown in (display_schedule(schedule, BERLIN), schedule.expression):
        assert parse_schedule(shown, BERLIN, NOW) == schedule


PARTS = st.sampled_from([
    "every", "each", "once", "at", "on", "in", "and", ",", "the", "of", "to", "-", "between", "from", "daily", "day",
    "week", "weekly", "month", "monthly", "quarter", "yearly", "weekdays", "weekend", "morning", "night", "tonight",
    "today", "tomorrow", "next", "this", "other", "second", "first", "last", "1st", "15th", "32nd", "9", "17", "9am",
    "5pm", "9:30", "09h30", "0900", "noon", "midnight", "30", "m", "h", "30m", "2h30m", "1.5h", "0.3h", "half an hour",
    "five", "minutes", "hour", "seconds", "months", "2027", "2027-03-15", "utc", "Europe/Berlin", "+0100",
    "Europe/London",
    ":15", "past", "UTC", *sorted(WEEKDAYS)[:8], *sorted(MONTHS)[:6], "*", "*/7", "1-1", "@every", "cron:", ".",
    "biweekly",
])


@settings(max_examples=2500, deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=6).map(" ".join))
def test_every_row_of_words_is_refused_or_parses_back_and_every_form_offered_is_one(text: str) -> None:
    try:
        schedule, warnings = read(text)
    except ScheduleError as refused:
        assert_one_sentence(refused, text)
        for form in ready_forms(refused.message):
            refuse_past(read(form).schedule, NOW)
        return
    for shown in (display_schedule(schedule, BERLIN), schedule.expression):
        assert parse_schedule(shown, BERLIN, NOW) == schedule
    for warning in warnings:
        assert all(map(read, ready_forms(warning)))


AGENT_TEXTS = [
    f"{prefix}{days}{at}{time}"
    for prefix in ("", "every ") for at in (" ", " at ")
    for days in ("day", "daily", "everyday", "weekday", "weekdays", "weekend", "weekends", "monday", "mon, wed",
                 "tues and thurs", "sun", "weds, thur and fri")
    for time in ("9am", "9:30 am", "14:00", "7", "17", "12am", "12pm", "noon", "midday", "midnight", "0:05")
] + [f"{prefix}{amount}" for prefix in ("", "every ", "in ")
     for amount in ("30m", "2h", "1d", "5 min", "10mins", "1 minute", "hour", "2 hrs", "3 days", "90 minutes", "m")] + [
    "0 9 * * *", "*/15 9-17 1,15 * MON-FRI", "0 0 1 JAN *", "2027-03-15T09:00", "2027-03-15 09:00:30", "2027-03-15",
    "2027-03-15T09:00:00+05:30", "20270315T0900",
]
ASK_AGENT = """
import json, sys
from cron.jobs import parse_schedule
def ask(text):
    try:
        return parse_schedule(text)
    except ValueError:
        return None
print(json.dumps({text: ask(text) for text in json.load(sys.stdin)}))
"""


def test_the_agent_reads_alike_what_both_understand(tmp_path: Path) -> None:
    environment = {"HERMES_HOME": str(tmp_path), "HERMES_TIMEZONE": "Europe/Berlin", "HOME": str(tmp_path)}
    said = subprocess.run([AGENT_PYTHON, "-c", ASK_AGENT], input=json.dumps(AGENT_TEXTS), capture_output=True,
                          text=True, env=environment, check=True, timeout=60).stdout
    agreed = 0
    for text, theirs in json.loads(said.splitlines()[-1]).items():
        if theirs is None:
            continue
        ours = read(text).schedule
        if theirs["kind"] == "once" and ours.kind == "interval":
            assert text[0].isdigit() or text == "hour", "an agent before 0.20 takes '30m' for a delay"
            continue
        agreed += 1
        if theirs["kind"] == "cron":
            assert ours == Schedule("cron", ours.expression), text
            assert (first_occurrences(parse_schedule(theirs["expr"], BERLIN, NOW), 10, NOW, BERLIN)
                    == first_occurrences(ours, 10, NOW, BERLIN)), text
        elif theirs["kind"] == "interval":
            assert ours.period == datetime.timedelta(minutes=theirs["minutes"]), text
        elif not text.startswith("in "):
            assert ours.run_at == datetime.datetime.fromisoformat(theirs["run_at"]), text
        else:
            assert ours.kind == "once", text
    assert agreed >= 15
