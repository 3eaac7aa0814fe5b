"""The days to come, with the jobs that are due on each."""

import datetime
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ..barrier import use_each
from ..hermes import job_store
from ..hermes.home import Home
from ..schedulers.active import disarmed_since
from .addressing import name_of
from .runs import RunView, clock_changes, of_job

MAX_TIMES = 31 * 24 * 60
"""The most times of one job: each minute of a month."""


class Entry(NamedTuple):
    """The `times` at which a job is due on one day."""

    profile: str
    job_id: str
    name: str
    times: list[datetime.datetime]


class Day(NamedTuple):
    """One day, its entries by their first times, and the clock changes on it."""

    date: datetime.date
    entries: list[Entry]
    clock_changes: list[RunView]


def days(homes: list[Home], count: int, zone: ZoneInfo, now: datetime.datetime) -> list[Day]:
    """Return today and the days after it, `count` in all, as things are. Raises StateFileError."""
    today = now.astimezone(zone).date()
    dates = [today + datetime.timedelta(days=i) for i in range(count)]
    until = datetime.datetime.combine(dates[-1] + datetime.timedelta(days=1), datetime.time(), zone
                                      ) - datetime.timedelta(microseconds=1)
    found: dict[datetime.date, list[Entry]] = {date: [] for date in dates}
    zones = {zone}
    for home in homes:
        jobs = job_store.by_instance(home) if disarmed_since(home.root) is None else {}
        zones |= {job.zone for job in jobs.values()}
        each_job, _ = use_each(jobs, lambda job: list(islice(of_job(job, now, until), MAX_TIMES)))
        for instance, occurrences in each_job.items():
            by_date: dict[datetime.date, list[datetime.datetime]] = {}
            for moment, _ in occurrences:
                local = max(moment, now).astimezone(zone)  # one that is due already starts now
                by_date.setdefault(local.date(), []).append(local)
            for date, times in by_date.items():
                found[date].append(Entry(home.profile, jobs[instance].id, name_of(jobs[instance]), times))
    changes = clock_changes(zones, now, until)
    return [Day(date, sorted(entries, key=lambda entry: (entry.times[0], entry.name)),
                [change for change in changes if change["at"][:10] == date.isoformat()])
            for date, entries in found.items()]
