"""The nearest forms in the errors: each is accepted, means the same, and stands in one sentence."""

import datetime
import itertools
import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_oscron.errors import shortened
from hermes_oscron.schedule.model import ScheduleError
from hermes_oscron.schedule.parse import examples, read_schedule, refuse_past

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime.datetime(2026, 11, 27, 10, 30, tzinfo=datetime.UTC)  # Friday, 11:30 in Berlin


def refusal(text: str) -> str:
    with pytest.raises(ScheduleError) as refused:
        refuse_past(read_schedule(text, BERLIN, NOW).schedule, NOW)
    return str(refused.value)


def forms_of(sentence: str) -> list[str]:
    return re.findall("`([^`]+)`", sentence)


def require_answer(text: str) -> None:
    """Require that `text` is accepted, or refused with one sentence whose forms are all accepted and not past."""
    try:
        reading = read_schedule(text, BERLIN, NOW)
        refuse_past(reading.schedule, NOW)
    except ScheduleError as refused:
        said, sentences = str(refused), [str(refused)]
        quoted = f"'{shortened(' '.join(text.split()))}'".replace("`", "'")
        rest = re.sub("`[^`]*`|'[^']*'", "…", said.replace(quoted, "…", 1))
        assert said.endswith(".") and not re.search(r"[.!?]\s", rest), said
        assert all(example in said for example in examples(NOW).values()), said
    else:
        sentences = reading.warnings
        assert all(sentence.endswith(".") for sentence in sentences)
    for form in itertools.chain.from_iterable(map(forms_of, sentences)):
        refuse_past(read_schedule(form, BERLIN, NOW).schedule, NOW)


REFUSED = [
    # text, the reason, the nearest forms
    ("every 90 seconds", "is not a whole number of minutes", ["every 1m", "every 2m"]),
    ("in 90 seconds", "is not a whole number of minutes", ["in 1m", "in 2m"]),
    ("2m30s", "is not a whole number of minutes", ["every 2m", "every 3m"]),
    ("every 45 seconds", "a minute is the least", ["every 1m"]),
    ("every 0.5 minutes", "a minute is the least", ["every 1m"]),
    ("every 53 weeks", "366 days are the most", ["every 366d"]),
    ("0 9 * * 8", "8 is outside 0-7 (Sunday is 0 or 7)", ["0 9 * * 7"]),
    ("0 9 * * 1-8", "8 is outside 0-7", ["0 9 * * 1-7"]),
    ("* * * * * *", "takes the sixth as the second", ["* * * * *"]),
    ("0 9 * * * /usr/bin/true", "has 6 parts", ["0 9 * * *"]),
    ("0 9 * * mon fri", "has 6 parts", ["0 9 * * MON,FRI"]),
    ("0 9 * * mon to fri", "has 7 parts", ["0 9 * * MON-FRI"]),
    ("0 9 * * 1 - 5", "has 7 parts", ["0 9 * * 1-5"]),
    ("0, 30 9 * * *", "has 6 parts", ["0,30 9 * * *"]),
    ("0 9 weekdays", "has 3 parts", ["0 9 * * 1-5"]),
    ("0,9,*,*,*", "has 1 part,", ["0 9 * * *"]),
    ("0 9 x x x", "bad day-of-month", ["0 9 * * *"]),
    ("0 9 * * weekdays", "bad day-of-week", ["0 9 * * 1-5"]),
    ("0 9 * * FRIL", "bad day-of-week", ["0 9 * * L5"]),
    ("0 9 * * 5#6", "'#6' is outside #1-#5", ["0 9 * * L5"]),
    ("0 9 * * 5#1,3", "need two jobs", ["0 9 * * 5#1", "0 9 * * 3"]),
    ("0 9 LW * *", "'lw' is neither", ["0 9 L * *"]),
    ("0 9 32 * *", "32 is outside 1-31", ["0 9 L * *"]),
    ("0 9 * 0-11 *", "0 is outside 1-12", ["0 9 * * *"]),
    ("60 9 * * *", "60 is outside 0-59", ["0 9 * * *"]),
    ("75 9 * * *", "75 is outside 0-59", []),
    ("0 24 * * *", "24 is outside 0-23", ["0 0 * * *"]),
    ("0 24 * * 5", "24 is outside 0-23", ["59 23 * * 5"]),
    ("*/0 * * * *", "is zero", ["* * * * *"]),
    ("H/15 * * * *", "a time that a program chooses", ["*/15 * * * *"]),
    ("? 9 * * *", "bad minute", ["0 9 * * *"]),
    ("0 9 31 2 *", "February does not have such a day", ["0 9 L 2 *"]),
    ("0 9 31 4,6 *", "none of its months has such a day", ["0 9 L 4,6 *"]),
    ("0 9 * * * or 0 17 * * *", "needs two jobs", ["0 9 * * *", "0 17 * * *"]),
    ("# 0 9 * * *", "'#' is not understood", ["0 9 * * *"]),
    ("@daily at 9", "is not a macro of cron", ["daily at 9"]),
    ("@daily /usr/bin/true", "is not a macro of cron", ["@daily"]),
    ("@reboot /usr/bin/true", "a start of the machine", ["@daily"]),
    ("weekdays 9-17", "no interval, and may or may not include 17:00",
     ["0 9-16 * * 1-5", "0 9-17 * * 1-5", "0 9 * * 1-5"]),
    ("weekdays 9:00-17:00", "no interval", ["0 9-16 * * 1-5", "0 9-17 * * 1-5", "0 9 * * 1-5"]),
    ("9 to 5", "include 17:00", ["0 9-16 * * *", "0 9-17 * * *", "daily at 9:00"]),
    ("every 20 minutes 9-17", "include 17:00", ["*/20 9-16 * * *", "*/20 9-17 * * *"]),
    ("hourly between 22 and 6", "include 6:00", ["0 0-5,22,23 * * *", "0 0-6,22,23 * * *"]),
    ("every hour between 9:30 and 17:30", "include 17:30", ["30 9-16 * * *", "30 9-17 * * *"]),
    ("every 5 minutes at night", "names no hours", ["*/5 0-5,22,23 * * *"]),
    ("hourly in the morning", "names no hours", ["0 6-11 * * *"]),
    ("daily in the morning", "has no time", ["daily in the morning at 9:00"]),
    ("every 4 hours at :15", "counts from now", ["15 0,4,8,12,16,20 * * *", "every 4h"]),
    ("every 12 hours at 9", "counts from now", ["0 9,21 * * *", "every 12h"]),
    ("every 2 days at 9am", "no form", ["every 48h", "0 9 */2 * *"]),
    ("every 2nd tuesday", "no form", ["every 14d", "0 9 * * 2", "0 9 * * 2#2"]),
    ("every 3rd friday", "no form", ["every 21d", "0 9 * * 5", "0 9 * * 5#3"]),
    ("every 100 years", "counts years", ["yearly", "2126-11-27 11:30"]),
    ("every other year", "counts years", ["yearly", "2028-11-27 11:30"]),
    ("every 6 months", "counts months", ["0 0 1 */6 *"]),
    ("every 3 months at 9", "counts months", ["0 9 1 */3 *"]),
    ("in 2 months", "counts months", ["2027-01-27 11:30"]),
    ("in a year", "counts years", ["2027-11-27 11:30"]),
    ("bimonthly", "twice a month", ["0 0 1 */2 *", "1st and 15th at 0:00"]),
    ("3 times a day", "names no time", ["every day at 1:00, 9:00 and 17:00"]),
    ("every 5", "a time or an interval", ["every 5m", "every 5h", "daily at 5:00"]),
    ("in 5", "no unit", ["in 5m", "in 5h"]),
    ("30", "is not a time of day", ["every 30m"]),
    ("every 5 minuts", "'minuts' is not understood", ["every 5 minutes"]),
    ("every 1,5 hours", "the number 1", ["every 1.5 hours"]),
    ("every8hours", "is not understood", ["every 8hours"]),
    ("monthly on 15", "a time or a day", ["monthly on the 15th", "monthly at 15"]),
    ("15 of each month at 9", "the number 15", ["15th of each month at 9"]),
    ("March 2027", "a time or a year", ["march 1 2027 9:00", "march at 2027"]),
    ("daily 9 30", "the number 9", ["daily at 9:30"]),
    ("daily at 9 15", "the number 15", ["daily at 9:15", "daily at 9, 15"]),
    ("daily at 24:00", "0:00 of the next day", ["daily at 0:00"]),
    ("monday at 24:00", "0:00 of the next day", ["0 0 * * 2"]),
    ("2027-03-15 24:00", "is not a time", ["2027-03-16 00:00"]),
    ("2027-02-29 09:00", "is not a time", ["2027-02-28 09:00"]),
    ("feb 29 2027 at 9", "does not exist", ["2027-02-28 09:00"]),
    ("Feb 30 at 9", "the 30th of a month that has no such day", ["feb 28 at 9", "0 9 L 2 *"]),
    ("2026-03-15 09:00", "in the past", ["2027-03-15 09:00"]),
    ("today at 9am", "in the past", ["once at 09:00"]),
    ("tonight", "no time", ["2026-11-27 22:00"]),
    ("this friday", "no time", ["2026-11-27 23:59"]),
    ("this evening at 7am", "not in the evening", ["today at 19:00"]),
    ("tomorrow America/New_York", "no time", ["2026-11-28 09:00 America/New_York"]),
    ("daily at 9:30 America/New_York", "no zone of its own yet", ["30 15 * * *"]),
    ("mondays at 23:30 America/Los_Angeles", "no zone of its own yet", ["30 8 * * 2"]),
    ("weekdays at 9:30 Asia/Kolkata", "no zone of its own yet", ["0 5 * * 1-5"]),
    ("CRON_TZ=Asia/Tokyo 0 3 1 * *", "no zone of its own yet", []),
    ("daily at 9:30 UTC+2", "names the zone UTC+02:00", ["30 8 * * *"]),
    ("daily at 9:30 CET", "which several zones share", ["daily at 9:30"]),
    ("CRON_TZ=Berlin 0 3 1 * *", "is not a time zone", ["0 3 1 * *"]),
    ("every day at 9am except sunday", "excludes days",
     ["monday, tuesday, wednesday, thursday, friday, saturday at 9am"]),
    ("weekdays except friday at 9", "excludes days", ["monday, tuesday, wednesday, thursday at 9"]),
    ("every monday or thursday at 9", "'or' is not understood", ["every monday and thursday at 9"]),
    ("daily and weekly", "needs two jobs", ["daily", "weekly"]),
    ("daily at 9am and monthly at 10am", "needs two jobs", ["daily at 9am", "monthly at 10am"]),
    ("1 jan, 1 jul at 9", "needs two jobs", ["1 jan at 9", "1 jul at 9"]),
    ("3rd last day of the month at 9", "counts back", ["0 9 L * *", "0 9 * * L5"]),
    ("second to last friday of the month", "counts back", ["0 9 L * *", "0 9 * * L5"]),
    ("weekly every hour at :15", "repeats in two ways", ["hourly", "weekly"]),
    ("every friday of the month", "has no time", ["every friday of the month at 9:00"]),
    ("day 10", "a time or a day", ["day 10 of the month", "daily at 10:00"]),
    ("every 1000", "a time or a count", ["every 1000m", "daily at 1000"]),
    ("every 5-10 minutes", "is not understood", ["every 5 minutes"]),
    ("tomorrow 9-17", "runs once has a time", ["tomorrow at 9:00"]),
    ("2027-03-15 09:00-17:00", "runs once has a time", ["2027-03-15 09:00"]),
    ("every minute from 9 to 9:30", "include 9:30", ["0-29 9 * * *", "0-30 9 * * *"]),
    ("every 3 hours from 9 to 17", "counts from now", ["0 9,12,15 * * *"]),
    ("tomorrow night at 1am", "not in the night", ["the day after tomorrow at 1:00"]),
    ("once every monday at 9", "once and repeats", ["once on monday at 9:00", "every monday at 9:00"]),
    ("1 and 15 of the month at 9", "the number 1", ["1st and 15th of the month at 9"]),
    ("every two tuesdays", "the number 2", ["every 14d", "0 9 * * 2"]),
    ("twice a day at 9 and 21", "names their times", ["every day at 9 and 21"]),
    ("2027-15-03 9:00", "does not exist", ["2027-03-15 09:00"]),
    ("27-03-15 9:00", "not read alike everywhere", ["2027-03-15 09:00"]),
    ("bihourly", "may mean every two hours", ["every 2h", "every 30m"]),
    ("only mondays at 9", "'only' is not understood", ["mondays at 9"]),
    ("monday - friday, except holidays, at 9", "excludes days", []),
    ("daily at `9:00`", "is not understood", ["daily at 9:00"]),
    ("0 9 * * * +01:00", "names the zone UTC+01:00", ["0 9 * * *"]),
    ("last business day of the month", "no form for", ["0 9 L * *", "0 9 * * L5"]),
    ("first day of the week at 9", "by its number", ["every monday at 9:00", "every sunday at 9:00"]),
    ("yearly on the 15th", "names no month", ["every january 15 at 9:00", "0 9 15 * *"]),
    ("PT1H", "a duration of ISO 8601", ["every 1h"]),
    ("rate(5 minutes)", "is not understood", ["every 5 minutes"]),
    ("cron(0 9 * * ? *)", "is not understood", ["0 9 * * ?"]),
    ("OnCalendar=weekly", "calendar event", ["every monday at 0:00"]),
    ("Mon *-*-1..7 09:00", "calendar event", ["0 9 * * 1#1"]),
    ("*-*~01 09:00", "calendar event", ["0 9 L * *"]),
    ("now + 5 minutes", "is not understood", ["in 5 minutes"]),
    ("mo,we,fr at 9", "is not understood", ["mon,wed,fri at 9"]),
    ("please repeat hourly", "is not understood", []),
    ("never", "should not run is paused", []),
]


@pytest.mark.parametrize(("text", "reason", "forms"), REFUSED)
def test_a_refusal_gives_the_reason_and_then_the_nearest_forms(text: str, reason: str, forms: list[str]) -> None:
    said = refusal(text)
    assert reason in said and forms_of(said) == forms, said
    assert all(said.index(reason) < said.index(f"`{form}`") for form in forms)
    require_answer(text)


@pytest.mark.parametrize(("text", "expression"), [
    ("every 120 seconds", "every 2m"), ("every third day", "every 3d"), ("every second hour", "every 2h"),
    ("every .5h", "every 30m"), ("1½h", "every 90m"), ("every 1/2 hour", "every 30m"), ("every half day", "every 12h"),
    ("every 2 fortnights", "every 28d"), ("1 h", "every 1h"), ("every hour and 15 minutes", "every 75m"),
    ("on the hour", "0 * * * *"), ("half past every hour", "30 * * * *"), ("every hour at 30 minutes", "30 * * * *"),
    ("every day of the month at 9", "0 9 * * *"), ("every day of the week at 9", "0 9 * * *"),
    ("last day of the quarter", "0 0 L 3,6,9,12 *"), ("last day of the year", "0 0 L 12 *"),
    ("first monday of the year at 9", "0 9 * 1 1#1"), ("once a day at 9", "0 9 * * *"),
    ("every week on monday at 9", "0 9 * * 1"),
    ("daily at 9:30 in the evening", "30 21 * * *"), ("daily at 12 at night", "0 0 * * *"),
    ("every night at 12:30", "30 0 * * *"), ("tomorrow night at 12", "2026-11-29T00:00:00+01:00"),
    ("daily at 18 h", "0 18 * * *"), ("every hour at minute 5", "5 * * * *"),
    ("this evening at 7", "2026-11-27T19:00:00+01:00"), ("15-Mar-2027 09:00", "2027-03-15T09:00:00+01:00"),
])
def test_a_plain_meaning_is_not_misread(text: str, expression: str) -> None:
    assert read_schedule(text, BERLIN, NOW).schedule.expression == expression
    require_answer(text)


@pytest.mark.parametrize(("text", "part", "form"), [
    ("every 2 weeks", "at the same time of day there is only", "every friday at 11:30"),
    ("every other day", "at the same time of day there is only", "daily at 11:30"),
    ("every 365 days", "always at the same time of day", "yearly on november 27 at 11:30"),
    ("0 9-5 * * *", "from 9:00 over midnight to 5:59", "0 9-17 * * *"),
    ("march at 9", "on every day of March", "0 9 1 3 *"),
    ("monday at 5", "at 5:00 in the morning", "0 17 * * 1"),
    ("monday night at 12", "as the day begins", "0 0 * * 2"),
])
def test_a_surprise_is_warned_of(text: str, part: str, form: str) -> None:
    said = " ".join(read_schedule(text, BERLIN, NOW).warnings)
    assert part in said and form in forms_of(said)
    require_answer(text)


def test_a_day_that_no_month_has_beside_a_weekday_is_warned_of() -> None:
    assert read_schedule("0 9 30 2 5", BERLIN, NOW).warnings == [
        "It runs on every Friday only; none of its months has the 30th."]


def test_the_example_of_a_date_is_always_to_come() -> None:
    for now in (NOW, datetime.datetime(2031, 12, 31, 23, 59, tzinfo=datetime.UTC)):
        with pytest.raises(ScheduleError) as refused:
            read_schedule("whenever", BERLIN, now)
        [date] = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d", str(refused.value))
        refuse_past(read_schedule(date, BERLIN, now).schedule, now)


WORDS = st.sampled_from([
    "every", "each", "once", "twice", "3 times", "a day", "other", "second", "third", "3rd", "next", "this", "last",
    "first", "of the month", "of the quarter", "of the year", "day", "week", "monday", "fridays", "weekdays", "weekend",
    "and", "or", "to", "-", "except", "except sunday", "between", "from", "until", "at", "on", "in", "after", "for",
    "9", "15", "30", "90", "900", "9am", "5 p.m.", "9:30", "24:00", "9-17", "9 to 5", "noon", "midnight", "at night",
    "in the morning", "1st", "31st", "15", "2", "1.5", "1,5", "½", "five", "seconds", "90 seconds", "minutes", "hours",
    "days", "fortnight", "months", "years", "100 years", "quarterly", "biweekly", "bimonthly", "daily", "hourly",
    "march", "feb 30", "2027", "2026-03-15", "2027-02-29", "03/04/2027", "UTC", "UTC+2", "CET", "America/New_York",
    "Asia/Kolkata", "CRON_TZ=Asia/Tokyo", "@daily", "@reboot", "0 9 * * *", "* * * * * *", "*/7", "P1D",
    "now", "ago", "2027-15-03", "dec 32", "`",
    "(", ")", "'", ";", "|", "&&", "#", "...", "!", "\u00a0", "\uff11\uff15", "\u0661\u0665",
])
FIELD = st.sampled_from(["*", "0", "5", "7", "8", "24", "31", "32", "60", "5-5", "9-5", "1-70", "*/0", "*/7", "5/0",
                         "1,", ",", "-", "?", "H", "L", "LW", "L-3", "15W", "W", "5L", "5#6", "#1", "FRIL", "mon-fri",
                         "mon", "monday", "sept", "x", "1..5", "1-5#1", "5#1,3", "**", "0-11", "\u2217", "/bin/true"])


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=6).map(" ".join) | st.lists(WORDS, min_size=2, max_size=3).map("".join)
       | st.lists(FIELD, min_size=1, max_size=7).map(" ".join))
def test_every_text_is_accepted_or_refused_in_one_sentence_with_forms_that_are_accepted(text: str) -> None:
    require_answer(text)
