"""Store the alerts that the ledgers of all profiles call for since the last time, each once."""

import contextlib
import datetime
import json
import time
from collections.abc import Iterable
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from .. import config
from ..config import Notify
from ..errors import OscronError
from ..files import StateFileError, open_regular
from ..hermes import job_store
from ..hermes.home import Home, home_of, homes_of, instance_name
from ..hermes.timezone import home_zone
from ..jobs.record import PAUSED, Record
from ..runs import ledger, schedule_versions
from ..runs.ledger import NOT_RUN, LedgerError, Row
from ..runs.schedule_versions import DELETED, Version
from . import message, outbox
from .events import Track, advance
from .outbox import PING, Outbox, Target

SETTINGS, OWN_SETTINGS = "settings", "own_settings"
FRESH_S = 60.0
"""The signal that a run began is of use for this long. Later the receiver would measure a wrong duration."""
DIGEST = "digest"


class _News(NamedTuple):
    """The news in the ledger of a home up to `at`: rows that have ended since the last time, running ones, states."""

    generation: str
    seq: int
    at: float
    rows: list[Row]
    running: list[Row]
    versions: dict[str, Version]
    is_first: bool


def settings_of(root: str) -> Notify:
    """Return the settings of `root`, or, while oscron.toml has an error, the last ones without. Raises OutboxError.

    Runs fail because of such an error, and that must be reported.
    """
    try:
        return config.load(root).notify
    except config.ConfigError:
        if not outbox.exists(root):
            return Notify()
        with outbox.writing(root) as box:
            return _from_stored(json.loads(outbox.fact(box, SETTINGS) or "{}"))


def _from_stored(stored: dict[str, Any]) -> Notify:
    known: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value
                             for key, value in stored.items() if key in Notify._fields}
    return Notify(**known)


def collect(root: str, settings: Notify, now: float) -> dict[str, Target]:
    """Store the alerts that are due by `settings` at the unix time `now`, and return all receivers, by name.

    The first time, nothing is sent of what happened before. Without receivers, nothing is stored. Raises OutboxError,
    OSError.
    """
    homes = homes_of(root)
    own = {home.profile: _own_settings(home, settings) for home in homes}
    targets = outbox.targets_of(settings)
    for profile, jobs in own.items():
        for job, wanted in jobs.items():
            targets |= outbox.targets_of(wanted, settings, instance_name(profile, job))
    if not targets and not outbox.exists(root):
        return targets
    with outbox.writing(root) as box:
        store = _Store(box, settings, own, now)
        for home in homes:
            with contextlib.suppress(LedgerError, StateFileError):  # a sync and doctor report it
                if ledger.exists(home):
                    store.enter(home)
        store.enter_digest(root)
        outbox.set_fact(box, SETTINGS, json.dumps(settings._asdict()))
        outbox.set_fact(box, OWN_SETTINGS, json.dumps({
            profile: {job: wanted._asdict() for job, wanted in jobs.items()} for profile, jobs in own.items() if jobs}))
        outbox.tidy(box, list(targets), now)
    return targets


def _own_settings(home: Home, settings: Notify) -> dict[str, Notify]:
    """Return the settings of each job of `home` whose policy names receivers; the last ones if jobs.json is damaged.

    Raises OutboxError, OSError.
    """
    try:
        if "notify" not in config.policy_of(home.root, home.profile):
            with open(home.jobs_file, "rb", opener=open_regular) as file:
                if b'"notify"' not in file.read():  # most have none, and need not be parsed
                    return {}
        return {job.id: settings.of_job(job.policy) for job in job_store.read(home) if "notify" in job.policy}
    except (StateFileError, OSError):
        if not outbox.exists(home.root):
            return {}
        with outbox.writing(home.root) as box:
            stored = json.loads(outbox.fact(box, OWN_SETTINGS) or "{}").get(home.profile, {})
        return {job: _from_stored(each) for job, each in stored.items()}


class _Store:
    """Stores alerts in the outbox `box`, by the `settings`, and for some jobs of each profile by their `own` ones."""

    def __init__(self, box: Outbox, settings: Notify, own: dict[str, dict[str, Notify]], now: float) -> None:
        self._box, self._settings, self._own, self._now = box, settings, own, now
        self._has_pings = any(each.ping for jobs in ({"": settings}, *own.values()) for each in jobs.values())

    def _targets(self, profile: str = "", job: str = "") -> list[Target]:
        """Return the receivers of the alerts of `job`, or those of all."""
        own = self._own.get(profile, {}).get(job, self._settings)
        return list(outbox.targets_of(own, self._settings, instance_name(profile, job)).values())

    def enter(self, home: Home) -> None:
        """Store the alerts of `home`, and up to where they are decided. Raises LedgerError, StateFileError."""
        news, zone = self._news(home), home_zone(home)
        known = outbox.tracks(self._box, home.profile)
        after = {job: self._after_rows(home, news, known.get(job, Track()), rows, zone)
                 for job, rows in _by_job(news.rows).items()}
        for job, version in news.versions.items():
            before = known.get(job)
            if version.state == PAUSED and before and before.state not in ("", PAUSED) and not news.is_first:
                self._enter_pause(home, version, zone)
            if version.state != DELETED:
                after[job] = after.get(job, before or Track())._replace(state=version.state)
        for job in known.keys() - after.keys():
            outbox.forget(self._box, home.profile, job)
        for job, track in after.items():
            if track != known.get(job):
                outbox.set_track(self._box, home.profile, job, track)
        for row in news.running:
            self._add_ping(home, row, zone, message.START)
        self._box.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)",
                          (home.profile, news.generation, news.seq, news.at))

    def _news(self, home: Home) -> _News:
        stored = self._box.execute("SELECT generation, seq, at FROM cursors WHERE profile = ?",
                                   (home.profile,)).fetchone()
        with ledger.reading(home) as books:
            generation, seq = str(ledger.fact(books, "generation")), ledger.last_seq(books)
            if stored is None:
                rows = []
            elif stored[0] == generation:
                rows = ledger.select(books, "seq > ? ORDER BY seq", stored[1])
            else:  # it was made again, with the runs of which there are outputs
                rows = ledger.select(books, "seq > 0 AND coalesce(ended, due) > ? ORDER BY seq", stored[2])
            at = max(time.time(), self._now)  # what was over at `_now` may have been entered since
            running = ledger.select(books, "outcome IS NULL AND started IS NOT NULL") if self._has_pings else []
            return _News(generation, max([seq, *(row.seq or 0 for row in rows)]), at, rows, running,
                         schedule_versions.all_latest(books), stored is None)

    def _after_rows(self, home: Home, news: _News, track: Track, rows: list[Row], zone: ZoneInfo) -> Track:
        """Store the alerts of the ends of `rows`, of one job, and return what is known of it then."""
        track, events = advance(track, rows, self._settings, self._now)
        for event in events:
            key = f"{event.kind}:{home.profile}:{event.row.job}:{news.generation}-{event.row.seq}"
            self._add(key, message.of_event(home, event, zone, self._settings.output_chars), home, event.row.job)
        for row in rows if self._has_pings else ():
            if row.started and row.outcome not in NOT_RUN and self._now - row.started < FRESH_S:
                self._add_ping(home, row, zone, message.START)
            self._add_ping(home, row, zone, message.signal_of(row), f":{news.generation}-{row.seq}")
        return track

    def _enter_pause(self, home: Home, version: Version, zone: ZoneInfo) -> None:
        if PAUSED in self._settings.on:
            record: Record = {"id": version.job}
            with contextlib.suppress(OscronError):  # it was deleted since, or jobs.json cannot be read
                record = job_store.find(home, version.job).record
            self._add(f"{PAUSED}:{home.profile}:{version.job}:{version.since!r}",
                      message.of_pause(home, record, version.since, zone), home, version.job)

    def enter_digest(self, root: str) -> None:
        """Store the digest of the last day, if its hour has come. The first one is of the day after it was set."""
        hour = self._settings.digest_hour
        if hour is None:
            outbox.set_fact(self._box, DIGEST, None)
            return
        zone = home_zone(home_of(root, "default"))
        moment = datetime.datetime.fromtimestamp(self._now, zone)
        until = moment.replace(hour=hour, minute=0, second=0, microsecond=0)
        if until > moment:
            until -= datetime.timedelta(days=1)
        since = outbox.fact(self._box, DIGEST)
        if since is not None and since < until.timestamp():
            self._add_digest(root, since, until.timestamp(), zone)
        if since is None or since != until.timestamp():
            outbox.set_fact(self._box, DIGEST, until.timestamp())

    def _add_digest(self, root: str, since: float, until: float, zone: ZoneInfo) -> None:
        rows, failing, paused = list[tuple[Home, Row]](), list[str](), list[str]()
        for home in homes_of(root):
            with contextlib.suppress(LedgerError), ledger.reading(home) as books:
                rows += [(home, row) for row in ledger.select(books, "due > ? AND due <= ?", since, until)]
            tracks = sorted(outbox.tracks(self._box, home.profile).items())
            failing += [instance_name(home.profile, job) for job, track in tracks if track.failures]
            paused += [instance_name(home.profile, job) for job, track in tracks if track.state == PAUSED]
        self._add(f"{DIGEST}:{until}", message.of_digest(rows, failing, paused, since, until, zone))

    def _add(self, key: str, content: dict[str, Any], home: Home | None = None, job: str = "") -> None:
        for target in self._targets(home.profile if home else "", job):
            if target.kind != PING:
                outbox.add(self._box, key, target.name, self._now, {"id": message.id_of(key), **content})

    def _add_ping(self, home: Home, row: Row, zone: ZoneInfo, signal: str, key: str = "") -> None:
        for target in self._targets(home.profile, row.job):
            if target.kind == PING:
                content = message.of_ping(home, row, zone, signal, self._settings.output_chars)
                outbox.add(self._box, f"{signal}:{content['run']}{key}", target.name, self._now, content)


def _by_job(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.job, []).append(row)
    return found
