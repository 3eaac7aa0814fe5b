"""The job list, encoded once and answered from memory while nothing it shows has changed."""

import datetime
import json
import os
from typing import NamedTuple

from ..bridge import Bridge
from ..hermes import homes, store
from ..runner.settle import settle


class _Kept(NamedTuple):
    fingerprint: tuple[object, ...]
    until: datetime.datetime | None
    body: bytes


class Listing:
    """The answers to GET /api/crons."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._kept: dict[bool, _Kept] = {}

    def body(self, all_profiles: bool) -> bytes:
        """The answer, never older than the files it comes from nor than the next fire it names."""
        if self._bridge.scheduler.unavailable():
            return json.dumps({"jobs": [], "cron_unavailable": True}).encode()
        fingerprint = self._fingerprint()
        kept = self._kept.get(all_profiles)
        now = datetime.datetime.now(datetime.UTC)
        if kept and kept.fingerprint == fingerprint and (kept.until is None or now < kept.until):
            return kept.body
        answer = self._bridge.jobs(all_profiles)
        upcoming = [datetime.datetime.fromisoformat(job["next_run_at"])
                    for job in answer["jobs"] if job["next_run_at"]]
        kept = _Kept(fingerprint, min(upcoming, default=None), json.dumps(answer, separators=(",", ":")).encode())
        self._kept[all_profiles] = kept
        return kept.body

    def _fingerprint(self) -> tuple[object, ...]:
        """What changes when the list does, but for time. A run that was cut off is recorded first."""
        root = self._bridge.root
        parts: list[object] = [homes.active_profile(root), os.environ.get("HERMES_TIMEZONE"),
                               os.path.realpath("/etc/localtime")]
        for profile in homes.profiles(root):
            home = homes.home(root, profile)
            settle(home)
            parts += [profile, store.signature(home), _modified(f"{home.path}/config.yaml")]
        return tuple(parts)


def _modified(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None
