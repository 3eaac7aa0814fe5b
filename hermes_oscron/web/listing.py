"""The job list, encoded once and answered from memory while nothing it shows has changed."""

import datetime
from typing import NamedTuple

from ..bridge import Bridge
from .encoding import encoded


class _Kept(NamedTuple):
    fingerprint: tuple[object, ...]
    since: datetime.datetime
    until: datetime.datetime | None
    body: bytes


class Listing:
    """The answers to GET /api/crons."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._kept: dict[bool, _Kept] = {}

    def body(self, all_profiles: bool) -> bytes:
        """The answer. It is made again when a file has changed, and when a job is due or has not started in time."""
        if self._bridge.scheduler.unavailable():
            return encoded({"jobs": [], "cron_unavailable": True})
        fingerprint = (*self._bridge.fingerprint(), self._bridge.under_way())
        kept = self._kept.get(all_profiles)
        now = self._bridge.clock.now()
        if kept and kept.fingerprint == fingerprint and kept.since <= now and (not kept.until or now < kept.until):
            return kept.body
        answer = self._bridge.jobs(all_profiles)
        due = [datetime.datetime.fromisoformat(job["next_run_at"]) for job in answer["jobs"] if job["next_run_at"]]
        upcoming = [moment for moment in due if moment > now]
        if late := self._bridge.next_late(now):
            upcoming.append(late)
        kept = _Kept(fingerprint, now, min(upcoming, default=None), encoded(answer))
        self._kept[all_profiles] = kept
        return kept.body
