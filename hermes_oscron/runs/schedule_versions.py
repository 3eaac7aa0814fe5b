"""The versions of each job's schedule, in the ledger: which one held from when on, and when the job was not armed."""

import datetime
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ..jobs.model import Job
from ..jobs.record import SCHEDULED, hold_of
from ..schedule.model import INTERVAL, Schedule
from ..schedule.occurrences import occurrences
from .ledger import Ledger

DELETED, DISARMED, HELD = "deleted", "disarmed", "held"
"""States of a version besides those of a job. While a job is held by the agent, it does not follow its schedule."""
UTC = datetime.UTC


class Version(NamedTuple):
    """The schedule of `job` from the unix time `since` on. Only while its `state` is `scheduled`, it is due.

    `phase` is a time at which an interval is due. A `kind` that is empty is a schedule that cannot be used.
    """

    job: str
    since: float
    state: str
    kind: str = ""
    expression: str = ""
    zone: str = "UTC"
    phase: float | None = None

    @property
    def is_due(self) -> bool:
        return self.state == SCHEDULED and bool(self.kind)

    def occurrences(self, after: float) -> Iterator[float]:
        """Yield the times after `after` at which the schedule is due, in any state."""
        if not self.kind:
            return iter(())
        phase = datetime.datetime.fromtimestamp(self.phase, UTC) if self.phase is not None else None
        found = occurrences(Schedule(self.kind, self.expression), datetime.datetime.fromtimestamp(after, UTC),
                            ZoneInfo(self.zone), phase)
        return (due.timestamp() for due in found)

    def is_like(self, other: "Version") -> bool:
        """Return True if both versions are due at the same times."""
        if (self.job, self.state, self.kind, self.expression, self.zone) != (
                other.job, other.state, other.kind, other.expression, other.zone):
            return False
        if not self.is_due or self.kind != INTERVAL or self.phase is None or other.phase is None:
            return True
        return (self.phase - other.phase) % Schedule(self.kind, self.expression).period.total_seconds() == 0


def version_of(job: Job, since: float, disarmed: bool = False) -> Version:
    """Return the version of the schedule that `job` has from `since` on."""
    state = job.state
    hold = hold_of(job.record)
    if state == SCHEDULED and (disarmed or (hold and not hold.retry)):
        state = DISARMED if disarmed else HELD
    if job.schedule is None:
        return Version(job.id, since, state, zone=job.zone.key)
    phase = job.phase if job.schedule.kind == INTERVAL else None
    return Version(job.id, since, state, job.schedule.kind, job.schedule.expression, job.zone.key,
                   phase.timestamp() if phase else None)


def note(ledger: Ledger, version: Version, now: float, ignore_phase: bool = False) -> None:
    """Store `version`, unless the one before is like it. What is in the accounts before `now` does not change."""
    ledger.execute("DELETE FROM schedules WHERE job = ? AND since > ?", (version.job, now))  # the clock was ahead
    before = latest(ledger, version.job)
    if before and before.is_like(version._replace(phase=before.phase) if ignore_phase else version):
        return
    if before is None and version.state == DELETED:
        return
    until = ledger.execute("SELECT until FROM accounted WHERE job = ? AND until <= ?", (version.job, now)).fetchone()
    since = max(version.since, before.since if before else 0.0, until[0] if until else 0.0)
    ledger.execute("INSERT OR REPLACE INTO schedules VALUES (?, ?, ?, ?, ?, ?, ?)", version._replace(since=since))


def latest(ledger: Ledger, job: str) -> Version | None:
    """Return the version of the schedule of `job` that holds now; None if there is none."""
    found = ledger.execute("SELECT * FROM schedules WHERE job = ? ORDER BY since DESC LIMIT 1", (job,)).fetchone()
    return Version(*found) if found else None


def all_latest(ledger: Ledger) -> dict[str, Version]:
    """Return the version that holds now of every job."""
    rows = ledger.execute("SELECT * FROM schedules WHERE (job, since) IN "
                          "(SELECT job, max(since) FROM schedules GROUP BY job)")
    return {row[0]: Version(*row) for row in rows}


def of_job(ledger: Ledger, job: str) -> list[Version]:
    """Return the versions of the schedule of `job`, oldest first."""
    return [Version(*row) for row in ledger.execute("SELECT * FROM schedules WHERE job = ? ORDER BY since", (job,))]


def due_between(versions: list[Version], after: float, until: float) -> Iterator[float]:
    """Yield the times after `after`, and not after `until`, at which a job with `versions` was due, in order."""
    ends = [*(following.since for _, following in pairwise(versions)), until]
    for version, end in zip(versions, ends, strict=True) if versions else ():
        last = min(end, until)
        if not version.is_due or last <= after:
            continue
        for due in version.occurrences(max(after, version.since)):
            if due > last:
                break
            yield due


def is_occurrence(versions: list[Version], moment: float, tolerance_s: float) -> bool:
    """Return True if a version that holds at `moment`, or within `tolerance_s` of it, is due then."""
    ends = [*(following.since for _, following in pairwise(versions)), float("inf")]
    return any(next(version.occurrences(moment - 1), None) == moment
               for version, end in zip(versions, ends, strict=True)
               if version.since - tolerance_s <= moment <= end + tolerance_s)
