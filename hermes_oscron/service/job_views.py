"""The jobs as clients see them: what is stored, what runs or is late, and what keeps jobs from starting.

The view of a job is kept while its record is the same and no time has come at which it changes.
"""

import contextlib
import datetime
from typing import Any, NamedTuple

from ..barrier import use_each, use_or_none
from ..clock import CLOCK
from ..files import StateFileError
from ..hermes import job_store
from ..hermes.emergency_stop import paused
from ..hermes.home import Home, homes_of
from ..jobs import due
from ..jobs import view as job_view
from ..jobs.model import Job
from ..jobs.record import SCHEDULED
from ..runs import interrupted, lock
from ..schedulers.active import disarmed_since
from . import late
from .selection import Selection

JobView = dict[str, Any]


class Listing(NamedTuple):
    """A list of jobs for clients. It changes at `until` at the latest; None is never."""

    answer: JobView
    until: datetime.datetime | None


class _Row(NamedTuple):
    """The `view` of `job` at `since`, which changes at `until`; None is never."""

    job: Job
    since: datetime.datetime
    until: datetime.datetime | None
    view: JobView
    is_kept: bool
    """Until then, only a change of the job changes it."""


_Circumstances = tuple[str, datetime.timedelta, bool, bool]
"""The home's path, the scheduler's resolution, whether the jobs are armed, and whether they are read-only."""

_kept: dict[_Circumstances, dict[str, _Row]] = {}
"""The rows of the last list of each home, by id."""


def list_of(selection: Selection, home: Home, all_profiles: bool, now: datetime.datetime) -> Listing:
    """Return the jobs of `home` and, if `all_profiles`, of others, read-only. Raises StateFileError."""
    rows = _rows_of(selection, home, now)
    pauses = {home.profile: paused(home)}
    unusable = job_store.unusable(home)
    other_profile_count = 0
    for other in homes_of(selection.root):
        if other.profile != home.profile:
            with contextlib.suppress(StateFileError):  # sync and doctor report it
                if all_profiles:
                    rows += _rows_of(selection, other, now, read_only=True)
                    pauses[other.profile] = paused(other)
                    unusable += job_store.unusable(other)
                else:
                    other_profile_count += len(job_store.read(other))
    answer = {
        "jobs": [row.view for row in rows],
        "active_profile": home.profile,
        "all_profiles": all_profiles,
        "other_profile_count": other_profile_count,
        "armed": disarmed_since(selection.root) is None,
        "paused_profiles": {profile: sentence for profile, sentence in pauses.items() if sentence},
    } | ({"unusable": unusable} if unusable else {})
    return Listing(answer, min((row.until for row in rows if row.until), default=None))


def views(selection: Selection, home: Home, now: datetime.datetime) -> list[JobView]:
    """Return the jobs of `home` as its own clients see them. Raises StateFileError."""
    return [row.view for row in _rows_of(selection, home, now)]


def view(selection: Selection, home: Home, job: Job, now: datetime.datetime) -> JobView:
    """Return `job` of `home` as clients see it."""
    return _row(home, job, now, _circumstances(selection, home, read_only=False)).view


def _rows_of(selection: Selection, home: Home, now: datetime.datetime, read_only: bool = False) -> list[_Row]:
    circumstances = _circumstances(selection, home, read_only)
    known, rows = _kept.get(circumstances, {}), {}
    for job in interrupted.with_unrecorded_runs(home, job_store.read(home)):
        row = known.get(job.id)
        if not (row and row.job is job and row.is_kept and row.since <= now and (not row.until or now < row.until)):
            row = _row(home, job, now, circumstances)
        rows[job.id] = row
    _kept[circumstances] = rows
    return list(rows.values())


def _circumstances(selection: Selection, home: Home, read_only: bool) -> _Circumstances:
    return home.path, selection.active.resolution, disarmed_since(selection.root) is None, read_only


def _row(home: Home, job: Job, now: datetime.datetime, circumstances: _Circumstances) -> _Row:
    _, resolution, armed, read_only = circumstances

    def shown(job: Job) -> _Row:
        fields = job_view.to_json(job, now, resolution)
        if read_only:
            fields["read_only"] = True
        next_run_at = fields["next_run_at"]
        due_at, since = late.due_at(job, resolution), late.due_since(home, job, now, resolution)
        if since and fields["state"] == SCHEDULED:
            fields["next_run_at"] = since.astimezone(job.zone).isoformat()
        if armed and (sentence := late.sentence(home, job, now, resolution)):
            fields |= {"last_status": "error", "last_error": sentence}
        changes = [datetime.datetime.fromisoformat(next_run_at) if next_run_at else None, job.last_run_at,
                   due_at, late.next_change(job, now, resolution)]
        until = min((moment for moment in changes if moment and moment > now), default=None)
        is_past = bool(due_at and due_at <= now)
        fields["queued"] = bool(is_past and (run := lock.find(home, job.id)) and run.queued)
        return _Row(job, now, until, fields, is_kept=bool(next_run_at or not job.is_scheduled) and not is_past)

    return use_or_none(job.instance, job, shown) or _Row(job, now, None, job_view.unusable_to_json(job), is_kept=False)


def why_never_fires(home: Home, job_id: str) -> str | None:
    """Return why `job_id` can never fire though it should; None if it can. Raises JobNotFound, StateFileError."""
    job = job_store.find(home, job_id)
    found, errors = use_each({job_id: job}, lambda job: due.why_never_fires(job, CLOCK.now()))
    return found.get(job_id) or errors.get(job_id)
