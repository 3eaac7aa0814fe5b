"""Jobs and times for the tests of the package `jobs`. All times are in March 2026, in UTC."""

import datetime
from typing import Any
from zoneinfo import ZoneInfo

from hermes_oscron.jobs import lifecycle
from hermes_oscron.jobs.model import Job

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
SECOND = datetime.timedelta(seconds=1)
MINUTE = datetime.timedelta(minutes=1)
DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
HOURLY = {"kind": "interval", "minutes": 60, "display": "every 60m"}
ONCE = {"kind": "once", "run_at": "2026-03-10T09:00:00+00:00", "display": "x"}


def at(text: str) -> datetime.datetime:
    """Return the time `text`, like `10T09:00:00`."""
    return datetime.datetime.fromisoformat(f"2026-03-{text}+00:00")


def job(schedule: Any = DAILY, zone: ZoneInfo = UTC, **fields: Any) -> Job:
    """Return a job whose record has `schedule` and `fields`, as the agent writes them."""
    return Job.from_record("default", {"id": "a", "prompt": "p", "schedule": schedule, **fields}, zone)


def after_run(before: Job, ended: str, error: str | None = None) -> Job:
    """Return `before` after a run of one second that ended at `ended`."""
    return lifecycle.record_run(before, at(ended) - SECOND, at(ended), error)
