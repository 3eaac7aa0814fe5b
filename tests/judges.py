"""Reference implementations of what a schedule means: systemd-analyze, croniter, cronsim, and Debian's cron daemon."""

import datetime
import os
import re
import subprocess
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim

UTC = datetime.UTC


def next_elapses(lines: Sequence[str], base: datetime.datetime, count: int,
                 machine_zone: str = "UTC") -> list[list[datetime.datetime]]:
    """The first `count` elapses later than `base` of each of `lines` by itself, as systemd computes them."""
    answer = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={count}",
         f"--base-time={base.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC", *lines],
        env={**os.environ, "TZ": machine_zone, "LC_ALL": "C"}, capture_output=True, text=True,
    )
    assert answer.returncode == 0, f"{lines}: {answer.stderr}"
    elapses = []
    for block in re.split(r"Normalized form: .*\n", "\n" + answer.stdout)[1:]:
        stamps = re.findall(r"(?:\(in UTC\)|Next elapse|Iter\. #\d+): \w+ (\S+ \S+) UTC", block)
        elapses.append([datetime.datetime.fromisoformat(stamp).replace(tzinfo=UTC) for stamp in stamps])
    assert len(elapses) == len(lines), answer.stdout
    return elapses


def timer_elapses(lines: Sequence[str], base: datetime.datetime, until: datetime.datetime,
                  machine_zone: str = "UTC") -> list[datetime.datetime]:
    """When a timer with `lines` fires after `base`: as systemd does it, from one fire to the next over all lines."""
    fires = []
    while True:
        following = [elapses[0] for elapses in next_elapses(lines, base, 1, machine_zone) if elapses]
        if not following or min(following) > until:
            return fires
        base = min(following)
        fires.append(base)


def debian_cron(expression: str, after: datetime.datetime, until: datetime.datetime,
                zone: ZoneInfo) -> list[datetime.datetime]:
    """Yield the runs of cron(8) later than `after` and not later than `until`, clock changes included.

    cronsim computes them, except for a star in minute or hour where it jumps over half-hour changes and over gaps at
    midnight. There the rule is simple enough to be walked: a job runs in every minute in which the clock shows its
    time.
    """
    if not any(field.startswith("*") for field in expression.split()[:2]):
        due = (due.astimezone(UTC) for due in CronSim(expression, after.astimezone(zone)))
        return list(takewhile(lambda due: due <= until, due))
    fields = CronSim(expression, after)
    walked, minute = [], after.astimezone(UTC).replace(second=0, microsecond=0)
    while (minute := minute + datetime.timedelta(minutes=1)) <= until:
        wall = minute.astimezone(zone)
        if (wall.minute in fields.minutes and wall.hour in fields.hours and wall.month in fields.months
                and fields.match_day(wall.date())):
            walked.append(minute)
    return walked


class CronEntry(NamedTuple):
    """Five crontab fields as Debian's cron reads them (entry.c). Its clock counts minutes of local time since 1970."""

    times: list[int]
    days: set[int]
    months: set[int]
    weekdays: set[int]
    starred_time: bool
    starred_day: bool

    @classmethod
    def parse(cls, fields: str) -> "CronEntry":
        texts = fields.split(" ")
        assert len(texts) == 5, fields
        bounds = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
        minutes, hours, days, months, weekdays = (
            _crontab_numbers(text, *ends) for text, ends in zip(texts, bounds, strict=True))
        minute, hour, day, _, weekday = (text.startswith("*") for text in texts)
        return cls(sorted(60 * h + m for h in hours for m in minutes), days, months,
                   {number % 7 for number in weekdays}, minute or hour, day or weekday)

    def names(self, minute: int) -> bool:
        return self.idle(minute - 1) == 0

    def names_day(self, day: int) -> bool:
        date = datetime.date(1970, 1, 1) + datetime.timedelta(day)
        join = all if self.starred_day else any
        return date.month in self.months and join((date.day in self.days, date.isoweekday() % 7 in self.weekdays))

    def idle(self, minute: int) -> int:
        """Return how many minutes after `minute`, at most up to midnight, pass before one that is named."""
        day, rest = divmod(minute + 1, 1440)
        place = bisect_left(self.times, rest)
        return (self.times[place] if place < len(self.times) and self.names_day(day) else 1440) - rest


def _crontab_numbers(text: str, low: int, high: int) -> set[int]:
    numbers: set[int] = set()
    for item in text.split(","):
        read = re.fullmatch(r"\*(?:/(\d+))?|(\d+)|(\d+)-(\d+)(?:/(\d+))?", item, re.ASCII)
        assert read, f"{item!r} is not in the language of crontab(5)"
        first, last = (int(read[2] or read[3] or low), int(read[2] or read[4] or high))
        step = int(read[1] or read[5] or 1)
        assert low <= first <= high and low <= last <= high and step > 0, item
        numbers.update(range(first, last + 1, step))
    return numbers


def debian_cron_daemon(fields: str, after: datetime.datetime, until: datetime.datetime,
                       zone: ZoneInfo) -> Iterator[datetime.datetime]:
    """Yield the starts of a job with these five `fields` in Debian's cron, later than `after` and up to `until`.

    The main loop of cron.c, in a daemon that runs since the day before and has no other job. It wakes a second into
    each minute; what a gap has skipped it starts one by one, at ten seconds' distance.
    """
    for second in _starts(CronEntry.parse(fields), int(after.timestamp()) - 86400, int(until.timestamp()), zone):
        start = datetime.datetime.fromtimestamp(second, UTC)
        if after < start.replace(second=0) <= until:
            yield start


def _starts(entry: CronEntry, now: int, last: int, zone: ZoneInfo) -> Iterator[int]:
    """The seconds since 1970, from `now` to `last`, at which the daemon starts `entry`."""

    def clock() -> int:
        return now // 60 + _offset(now, zone)

    now = now // 60 * 60 + 1
    done = woken = clock()  # virtualTime, up to which all has been started, and timeRunning
    while now < last + 60:
        idle = entry.idle(done)
        if idle and done == woken == clock() and _offset(now, zone) == _offset(now + 60 * idle, zone):
            now += 60 * idle
            done = woken = woken + idle
        if clock() == woken:
            now = now // 60 * 60 + 61
        woken = clock()
        behind = woken - done
        if -180 < behind <= 0:
            if entry.starred_time and entry.names(woken):
                yield now
            continue
        if not 0 < behind <= 180:
            done, behind = woken - 1, 1
        after_gap = behind > 5
        pending = after_gap and entry.starred_time and entry.names(woken)
        while done < woken and (clock() == woken or not after_gap):
            if pending:
                yield now
                now += 10
            done += 1
            pending = entry.names(done) and not (after_gap and entry.starred_time)
        if pending:
            yield now


def _offset(second: int, zone: ZoneInfo) -> int:
    """Return how many minutes the clock in `zone` is ahead of UTC at `second`."""
    offset = datetime.datetime.fromtimestamp(second, zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) // 60


class BusyboxEntry(NamedTuple):
    """Five crontab fields as BusyBox's crond reads them: ParseField and FixDayDow in crond.c."""

    minutes: set[int]
    hours: set[int]
    days: set[int]
    months: set[int]
    weekdays: set[int]

    @classmethod
    def parse(cls, fields: str) -> "BusyboxEntry":
        sizes = ((60, 0), (24, 0), (32, 0), (12, -1), (7, 0))
        return cls(*(_busybox_numbers(text, *size) for text, size in zip(fields.split(" "), sizes, strict=True)))

    def names_day(self, date: datetime.date) -> bool:
        by_month, by_week = len(self.days) < 32, len(self.weekdays) < 7
        on = (date.day in self.days and (by_month or not by_week),
              date.isoweekday() % 7 in self.weekdays and (by_week or not by_month))
        return date.month - 1 in self.months and any(on)


def _busybox_numbers(text: str, size: int, offset: int) -> set[int]:
    numbers: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        low, _, high = span.partition("-")
        first, last = (0, size - 1) if span == "*" else (int(low) + offset, int(high or low) + offset)
        assert 0 <= first <= last < size, f"crond does not read {text!r}"
        numbers.update(range(first, last + 1, int(step or 1)))
    return numbers


def busybox_crond(fields: str, after: datetime.datetime, until: datetime.datetime,
                  zone: ZoneInfo) -> Iterator[datetime.datetime]:
    """Yield the starts of a job with these five `fields` in BusyBox's crond, later than `after` and up to `until`."""
    entry = BusyboxEntry.parse(fields)
    minute = after.astimezone(UTC).replace(second=0, microsecond=0)
    while (minute := minute + datetime.timedelta(minutes=1)) <= until:
        wall = minute.astimezone(zone)
        if not entry.names_day(wall.date()):
            minute += datetime.timedelta(minutes=59 if wall.minute == 0 else 0)
        elif wall.minute in entry.minutes and wall.hour in entry.hours:
            yield minute
