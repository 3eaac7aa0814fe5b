"""Schedules in words for people."""

import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given

from hermes_oscron.schedule.describe import describe
from hermes_oscron.schedule.model import cron_schedule, interval, once

from ..strategies import expressions

ZONE = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(("expression", "words"), [
    ("0 9 * * *", "Every day at 09:00"),
    ("0 9,21 * * *", "Every day at 09:00 and 21:00"),
    ("30 8 * * 1-5", "At 08:30, Monday to Friday"),
    ("15 3 * * 0,6", "At 03:15, on Saturday and Sunday"),
    ("0 7 * * 0,1,2,3", "At 07:00, Monday to Wednesday and Sunday"),
    ("* * * * *", "Every minute"),
    ("*/15 * * * *", "Every 15 minutes"),
    ("*/15 9-17 * * 1-5", "Every 15 minutes from 09:00 to 17:45, Monday to Friday"),
    ("* 9 * * *", "Every minute from 09:00 to 09:59"),
    ("*/30 8,12,13,14,20 * * *", "Every 30 minutes in the hours 08, 12 to 14 and 20"),
    ("0 * * * *", "Every hour"),
    ("5 * * * *", "Every hour at :05"),
    ("0 */2 * * *", "Every 2 hours"),
    ("7 */6 1 * *", "At 00:07, 06:07, 12:07 and 18:07, on the 1st"),
    ("0 9-17 13 * 5", "Every hour, from 09:00 to 17:00, on the 13th and on Friday"),
    ("10,40 1,3,8,13 * * *", "In the hours 01, 03, 08 and 13 at :10 and :40"),
    ("7,8,9,11,20,33,50 * * * *", "Every hour at :07, :08, :09, :11, :20, :33 and :50"),
    ("0 0 L * *", "At 00:00, on the last day of the month"),
    ("0 9 15W * *", "At 09:00, on the working day nearest to the 15th"),
    ("0 9 * 1,6 5#2", "At 09:00, on the 2nd Friday, in January and June"),
    ("0 9 * * L5", "At 09:00, on the last Friday"),
    ("0 9 1-7,15 3-5,12 *", "At 09:00, on the 1st to 7th and 15th, in March to May and December"),
])
def test_words(expression: str, words: str) -> None:
    assert describe(cron_schedule(expression), ZONE) == words


def test_other_schedules_are_as_they_are_shown() -> None:
    assert describe(interval(90), ZONE) == "Every 90 minutes"
    assert describe(once(datetime.datetime(2027, 3, 1, 9, tzinfo=ZONE)), ZONE) == "Once at 2027-03-01 09:00"


@given(expressions())
def test_every_expression_has_words(expression: str) -> None:
    words = describe(cron_schedule(expression), ZONE)
    assert words[0].isupper() and "  " not in words and ", ," not in words and not words.endswith((",", " "))
