"""The answer to GET /api/crons, encoded once and kept while nothing that it shows has changed."""

import datetime
from typing import NamedTuple

from ..json_text import to_json
from ..service.jobs import JobService
from ..service.selection import Selection
from ..service.sync import state_version


class _CachedList(NamedTuple):
    version: tuple[object, ...]
    since: datetime.datetime
    until: datetime.datetime | None
    body: bytes


class JobListCache:
    """The answers of GET /api/crons, without and with all profiles."""

    def __init__(self, selection: Selection, service: JobService) -> None:
        self._selection = selection
        self._service = service
        self._cached: dict[bool, _CachedList] = {}

    def body(self, all_profiles: bool) -> bytes:
        """Return the answer, never older than the files it comes from, nor than the next time at which it changes."""
        if self._selection.active.availability().reason:
            return to_json({"jobs": [], "cron_unavailable": True})
        version = state_version(self._selection)
        cached = self._cached.get(all_profiles)
        now = self._service.clock.now()
        if cached and cached.version == version and cached.since <= now and (not cached.until or now < cached.until):
            return cached.body
        answer = self._service.list_jobs(all_profiles)
        due = [datetime.datetime.fromisoformat(job["next_run_at"]) for job in answer["jobs"] if job["next_run_at"]]
        changes = [moment for moment in (*due, self._service.next_late(now)) if moment and moment > now]
        cached = _CachedList(version, now, min(changes, default=None), to_json(answer))
        self._cached[all_profiles] = cached
        return cached.body
