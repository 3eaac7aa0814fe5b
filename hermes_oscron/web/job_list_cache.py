"""The answer to GET /api/crons, kept while nothing that it shows has changed, and each job in it encoded once."""

import datetime
import threading
from typing import Any, NamedTuple

from ..json_text import to_json
from ..service.jobs import JobService
from ..service.selection import Selection
from ..service.state_version import state_version
from .responses import Encoded


class _CachedList(NamedTuple):
    version: tuple[object, ...]
    since: datetime.datetime
    until: datetime.datetime | None
    answer: Encoded


class JobListCache:
    """The answers of GET /api/crons for each profile, without and with all others."""

    def __init__(self, selection: Selection, service: JobService) -> None:
        self._selection = selection
        self._service = service
        self._cached: dict[tuple[str | None, bool], _CachedList] = {}
        self._encoded: dict[tuple[str | None, bool], dict[int, tuple[Any, bytes]]] = {}
        self._making = threading.Lock()

    def answer(self, all_profiles: bool, profile: str | None = None) -> Encoded:
        """Return the answer for `profile`, or for the active one. Raises ProfileNotFound.

        It is never older than the files it comes from, nor than the next time at which it changes. Clients that ask at
        the same time wait for one answer.
        """
        service = self._service.of_profile(profile)
        if self._selection.active.availability().reason:
            return Encoded(to_json({"jobs": [], "cron_unavailable": True}))
        if cached := self._valid(profile, all_profiles, state_version(self._selection)):
            return cached.answer
        with self._making:
            version = state_version(self._selection)
            if cached := self._valid(profile, all_profiles, version):
                return cached.answer
            now = self._service.clock.now()
            listing = service.listing(all_profiles)
            answer = self._encode(listing.answer, (profile, all_profiles))
            self._cached[profile, all_profiles] = _CachedList(version, now, listing.until, answer)
            return answer

    def _valid(self, profile: str | None, all_profiles: bool, version: tuple[object, ...]) -> _CachedList | None:
        cached, now = self._cached.get((profile, all_profiles)), self._service.clock.now()
        if cached and cached.version == version and cached.since <= now and (not cached.until or now < cached.until):
            return cached
        return None

    def _encode(self, answer: dict[str, Any], which: tuple[str | None, bool]) -> Encoded:
        """Return `answer` as JSON. A job that is the same object as in the last answer is not encoded again."""
        known, encoded = self._encoded.get(which, {}), {}
        for job in answer["jobs"]:
            before, line = known.get(id(job), (None, b""))
            encoded[id(job)] = (job, line if before is job else to_json(job))
        self._encoded[which] = encoded
        start, rest = to_json({**answer, "jobs": []}).split(b"[]", 1)
        return Encoded(b"%s[%s]%s" % (start, b",".join(line for _, line in encoded.values()), rest))
