"""The runs in the ledger and the occurrences to come, as clients see them."""

import contextlib
import datetime
import heapq
import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ..barrier import use_each
from ..hermes import job_store
from ..hermes.home import Home
from ..hermes.timezone import home_zone
from ..jobs import due
from ..jobs.fields import ValidationError
from ..jobs.model import Job
from ..runs import ledger, lock
from ..runs.ledger import Row
from ..schedule.model import ONCE
from ..schedule.occurrences import changes, occurrences
from ..schedulers.active import disarmed_since

MAX_UPCOMING = 1000
CURSOR = r"[0-9]{1,11}\.[0-9]{1,9}_[0-9]{1,12}"

RunView = dict[str, Any]


class Filter(NamedTuple):
    """The rows that a client asks for. The times are when a run was due, in unix seconds."""

    job_id: str | None = None
    outcome: str | None = None
    trigger: str | None = None
    since: float | None = None
    until: float | None = None


class Page(NamedTuple):
    """Some runs, newest first, the cursor of the next page, if there is one, and the runs that wait for their turn."""

    runs: list[RunView]
    next_cursor: str | None
    queued: list[RunView]


def listed(home: Home, wanted: Filter, cursor: str | None, limit: int) -> Page:
    """Return at most `limit` rows of the ledger of `home`, newest first. Raises ValidationError, LedgerError."""
    conditions, values = ["TRUE"], list[object]()
    for condition, value in (("job = ?", wanted.job_id), ("outcome = ?", wanted.outcome),
                             ("trigger = ?", wanted.trigger), ("due >= ?", wanted.since), ("due < ?", wanted.until)):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if cursor is not None:
        conditions.append("(due, id) < (?, ?)")
        values += _position(cursor)
    zone = home_zone(home)
    with ledger.reading(home) as books:
        rows = ledger.select(books, f"{' AND '.join(conditions)} ORDER BY due DESC, id DESC LIMIT ?", *values,
                             limit + 1)
    more = f"{rows[limit - 1].due!r}_{rows[limit - 1].id}" if len(rows) > limit else None
    return Page([view(home, row, zone) for row in rows[:limit]], more, _queued(home, wanted.job_id, zone))


def _queued(home: Home, job_id: str | None, zone: ZoneInfo) -> list[RunView]:
    """Return the runs of `job_id`, or of all jobs, that wait for their turn, the first first. They have no rows yet."""
    runs = [run for run in lock.running(home).values() if run.queued and job_id in (None, run.job_id)]
    names = {job.id: str(job.record.get("name") or "") for job in job_store.read(home)} if runs else {}
    return [{"profile": home.profile, "job_id": run.job_id, "name": names.get(run.job_id, ""),
             "due_at": _iso(run.due or run.started_at, zone), "queued_at": _iso(run.started_at, zone)}
            for run in sorted(runs, key=lambda run: run.started_at)]


def view(home: Home, row: Row, zone: ZoneInfo) -> RunView:
    """Return `row` as clients see it."""
    return {
        "id": row.id, "profile": home.profile, "job_id": row.job, "name": row.name, "trigger": row.trigger,
        "due_at": _iso(row.due, zone), "attempt": row.attempt, "queued_at": _iso(row.queued, zone),
        "started_at": _iso(row.started, zone), "ended_at": _iso(row.ended, zone), "outcome": row.outcome,
        "reason": row.reason, "exit_code": row.exit_code, "signal": row.signal, "host": row.host,
        "invocation_id": row.invocation, "node": row.node, "cluster_job": row.cluster_job, "cpu_seconds": row.cpu_s,
        "memory_bytes": row.memory_bytes,
        "usage": json.loads(row.usage) if row.usage else {}, "delivery_error": row.delivery_error,
        "output": row.output or None}


def of_outputs(home: Home, job_id: str, filenames: Iterable[str]) -> dict[str, RunView]:
    """Return the run of each output in `filenames` that is in the ledger; none while the ledger cannot be read."""
    names, zone, rows = list(filenames), home_zone(home), list[Row]()
    with contextlib.suppress(ledger.LedgerError), ledger.reading(home) as books:
        rows = ledger.select(books, f"job = ? AND output IN ({', '.join('?' * len(names))})", job_id, *names)
    return {row.output: view(home, row, zone) for row in rows if row.output}


def upcoming(home: Home, hours: int, now: datetime.datetime) -> tuple[list[RunView], list[RunView]]:
    """Return the first MAX_UPCOMING occurrences of the jobs of `home` in the next `hours`, and the clock changes.

    Raises StateFileError.
    """
    until = now + datetime.timedelta(hours=hours)
    jobs = job_store.by_instance(home) if disarmed_since(home.root) is None else {}
    each_job, _ = use_each(jobs, lambda job: list(islice(of_job(job, now, until), MAX_UPCOMING)))
    found = islice(heapq.merge(*each_job.values(), key=lambda entry: entry[0]), MAX_UPCOMING)
    runs = [{"profile": home.profile, "job_id": job.id, "name": str(job.record.get("name") or ""),
             "due_at": moment.astimezone(job.zone).isoformat()} for moment, job in found]
    return runs, clock_changes({job.zone for job in jobs.values()}, now, until)


def next_of(job: Job, after: datetime.datetime | None, count: int, now: datetime.datetime) -> list[datetime.datetime]:
    """Return the next `count` times, in the job's zone, at which `job` is due, as things are, from `after` on."""
    first = due.next_run(job, now)
    if first is None or job.schedule is None:
        return []
    if after and after > first and job.schedule.kind != ONCE:
        return list(islice(occurrences(job.schedule, after, job.zone, job.phase), count))
    found = of_job(job, now, datetime.datetime.max.replace(tzinfo=datetime.UTC))
    return [moment for moment, _ in islice(found, count) if after is None or moment > after]


def of_job(job: Job, now: datetime.datetime, until: datetime.datetime) -> Iterator[tuple[datetime.datetime, Job]]:
    """Yield the times up to `until` at which `job` is due, as things are; no more than it has runs left."""
    first = due.next_run(job, now)
    if first is None or job.schedule is None or first > until:
        return
    left = job.repeat.times - job.repeat.completed if job.repeat.times else None
    following = iter(()) if job.schedule.kind == ONCE else occurrences(job.schedule, first, job.zone, job.phase)
    for moment in islice(takewhile(lambda moment: moment <= until, (each for part in ((first,), following)
                                                                     for each in part)), left):
        yield moment, job


def clock_changes(zones: set[ZoneInfo], since: datetime.datetime, until: datetime.datetime) -> list[RunView]:
    """Return the clock changes of `zones` after `since`, up to `until`."""
    found = [(change, zone) for zone in zones for change in changes(zone, since.year, until.year)
             if since < change.at <= until]
    return [{"at": change.at.astimezone(zone).isoformat(), "zone": zone.key,
             "shift_seconds": int((change.after - change.before).total_seconds())}
            for change, zone in sorted(found, key=lambda each: (each[0].at, each[1].key))]


def _position(cursor: str) -> tuple[float, int]:
    """Return the time and the id in `cursor`. Raises ValidationError."""
    if not re.fullmatch(CURSOR, cursor):
        raise ValidationError("'cursor' must be the 'next_cursor' of an earlier answer.")
    moment, _, row = cursor.partition("_")
    return float(moment), int(row)


def _iso(moment: float | None, zone: ZoneInfo) -> str | None:
    return None if moment is None else datetime.datetime.fromtimestamp(moment, zone).isoformat()
