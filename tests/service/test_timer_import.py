"""Calendars of systemd as cron expressions; systemd-analyze is the judge."""

import datetime
import re
import shutil
import subprocess
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.schedule.occurrences import first_occurrences
from hermes_oscron.schedule.parse import read_schedule
from hermes_oscron.service.timer_import import NoCronExpression, Timer, cron_of, script

UTC = ZoneInfo("UTC")
START = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)


def judge(calendar: str, count: int) -> tuple[str, list[datetime.datetime]]:
    """Return the normal form of `calendar`, and its next times by systemd-analyze(1)."""
    told = subprocess.run(["systemd-analyze", "calendar", f"--iterations={count}", f"--base-time={START:%F %T} UTC",
                           calendar], capture_output=True, text=True, check=True, env={"TZ": "UTC", "PATH": "/usr/bin"})
    [normal] = re.findall(r"Normalized form: (.*)", told.stdout) or [calendar]
    times = re.findall(r"(?:Next elapse|Iter\. #\d+|Iteration #\d+): \w+ (\S+ \S+) UTC", told.stdout)
    return normal, [datetime.datetime.fromisoformat(f"{time}+00:00") for time in times]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze(1)")
@pytest.mark.parametrize("calendar", [
    "daily", "hourly", "weekly", "monthly", "quarterly", "yearly", "Mon..Fri 9:00", "*:0/5", "*:7/15", "Sat,Sun 3:30",
    "*-*-1,15 4:00", "*-*~1 2:00", "*-1,7-1 0:0", "9..17/2:15", "Mon *-*-* 00:00:00", "*-*-2/3 5:00", "*-2/4-* 6:00"])
def test_a_calendar_has_the_times_of_its_cron_expression(calendar: str) -> None:
    normal, times = judge(calendar, 20)
    expression, zone = cron_of(normal)
    schedule, _ = read_schedule(expression, UTC, START)
    assert len(times) == 20 and zone == ""
    assert first_occurrences(schedule, 20, START, UTC) == times


@pytest.mark.parametrize(("calendar", "reason"), [
    ("*-*-* 09:00:30", "is not at a whole minute"), ("2027-*-* 09:00:00", "is not in every year"),
    ("*-*~03 09:00:00", "counts days from the end"), ("Mon *-*-01..07 09:00:00", "in cron either holds"),
    ("nonsense", "is not a calendar")])
def test_a_calendar_that_cron_cannot_express_has_the_reason(calendar: str, reason: str) -> None:
    with pytest.raises(NoCronExpression, match=reason):
        cron_of(calendar)


def test_a_zone_is_returned() -> None:
    assert cron_of("Mon,Wed *-*-* 08:30:00 Europe/Berlin") == ("30 8 * * MON,WED", "Europe/Berlin")


def test_a_script_starts_the_service() -> None:
    text = script(Timer("a b.timer", "a b.service", "", True), is_user=True)
    assert text.endswith("exec systemctl --user start --wait -- 'a b.service'\n") and "/run/user/" in text
    assert "--system start" in script(Timer("a.timer", "a.service", "", True), is_user=False)
