"""The outbox: `alerts.db`, with the alerts of all profiles, one row for each receiver.

An alert is stored together with the position in the ledger up to which alerts have been decided, in one transaction. So
each is stored once, and sent until its receiver has accepted it. Only if the sender is killed between the answer of the
receiver and its note of it, the receiver gets the same alert, with the same id, again.
"""

import contextlib
import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..config import Notify
from ..files import StateFileError, create_database, make_private_dir, remove_damaged
from ..state import State
from .events import Track

VERSION = 1
TIMEOUT_S = 10.0
KEPT_S = 7 * 86400.0
"""The time for which alerts that were sent, or given up, are kept."""
GIVE_UP_S = 3 * 86400.0
"""The age at which an alert that could not be sent is given up."""
FIRST_RETRY_S, MAX_RETRY_S = 5.0, 600.0
COMMAND, PING, URL = "command", "ping", "url"
SCHEMA = f"""
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, target TEXT NOT NULL, created REAL NOT NULL, content TEXT NOT NULL,
    sent REAL, given_up REAL, error TEXT
);
CREATE UNIQUE INDEX once ON alerts (key, target);
CREATE INDEX waiting ON alerts (target, id) WHERE sent IS NULL AND given_up IS NULL;
CREATE TABLE targets (target TEXT PRIMARY KEY, failures INTEGER, next REAL, since REAL, error TEXT) WITHOUT ROWID;
CREATE TABLE cursors (profile TEXT PRIMARY KEY, generation TEXT, seq INTEGER, at REAL) WITHOUT ROWID;
CREATE TABLE tracks (
    profile TEXT, job TEXT, failures INTEGER, failure_at REAL, missed_at REAL, state TEXT, held TEXT,
    PRIMARY KEY (profile, job)
) WITHOUT ROWID;
CREATE TABLE facts (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""
WAITING = "sent IS NULL AND given_up IS NULL"

Outbox = sqlite3.Connection


class OutboxError(StateFileError):
    """The outbox cannot be read or written."""


class Alert(NamedTuple):
    """An alert that waits to be sent to `target`."""

    id: int
    target: str
    created: float
    content: dict[str, Any]


class Delivery(NamedTuple):
    """An alert, and when its receiver accepted it or it was given up; it waits if neither is set.

    `error` is that of the last try. It is empty for an alert that was given up because it came too late to be of use.
    """

    alert: Alert
    sent: float | None
    given_up: float | None
    error: str


class Undelivered(NamedTuple):
    """The alerts that have not reached `target`: those that wait, the `oldest` since then, and those given up.

    `failing_since` is 0 unless it did not accept the last one, because of `error`.
    """

    target: str
    waiting: int
    oldest: float
    failing_since: float
    given_up: int
    error: str


WITH_HOST = ("mailto", "json", "xml", "form", "gotify", "mmost", "rocket", "nctalk", "ncloud", "apprise", "ntfy")
"""The services of Apprise whose URLs have a host, and no token, in the first part, if that has a dot."""
DOMAIN = r"[a-z0-9-]+(?:\.[a-z0-9-]+)+"


class Target(NamedTuple):
    """A receiver: a `kind`, and its address or command. Its `name` has no secrets.

    A command or ping that is set by the policy of a job has that job as its `owner`.
    """

    kind: str
    value: tuple[str, ...]
    owner: str = ""

    @property
    def name(self) -> str:
        if self.kind != URL:
            return f"{self.kind} of {self.owner}" if self.owner else self.kind
        url = self.value[0]
        shown = f"{url.partition(':')[0]} {place_of(url)}".strip()
        return f"{shown} ({hashlib.sha256(url.encode()).hexdigest()[:6]})"


def place_of(url: str) -> str:
    """Return the domain to which the Apprise `url` sends mail, or the host that it calls.

    It is empty if that part may be a secret: in most URLs the first part is a token, and a password with a slash or an
    at sign moves the others.
    """
    found = re.match(rf"(?i)(?:{'|'.join(WITH_HOST)})s?://(?:[^@/?#]*@)?({DOMAIN})(?::[0-9]+)?(?:/[^@?]*)?"
                     rf"(?:\?(?:[^@=]*=.*)?)?$", url)
    recipient = re.search(rf"(?i)^mailto.*[?&]to=[^@%&]*(?:@|%40)({DOMAIN})(?:[,&]|$)", url)
    return (recipient or found)[1].lower() if found else ""


def targets_of(settings: Notify, common: Notify | None = None, job: str = "") -> dict[str, Target]:
    """Return the receivers in `settings`, by name; those that differ from the `common` ones are of a `job`."""
    common = common or settings
    found = [Target(URL, (url,)) for url in settings.urls]
    found += [Target(COMMAND, settings.command, job * (settings.command != common.command))] * bool(settings.command)
    found += [Target(PING, (settings.ping,), job * (settings.ping != common.ping))] * bool(settings.ping)
    return {target.name: target for target in found}


@contextlib.contextmanager
def writing(root: str) -> Iterator[Outbox]:
    """Change the outbox of `root` in one transaction. It is created if it is missing. Raises OutboxError, OSError."""
    path = State(root).alerts
    make_private_dir(State(root).folder)
    create_database(path)
    try:
        outbox = sqlite3.connect(path, timeout=TIMEOUT_S, isolation_level=None)
        try:
            outbox.execute("BEGIN IMMEDIATE")
            if outbox.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in SCHEMA.split(";\n"):
                    outbox.execute(statement)
            yield outbox
            outbox.execute("COMMIT")
        finally:
            outbox.close()
    except sqlite3.Error as error:
        if type(error) is sqlite3.DatabaseError:  # SQLITE_CORRUPT and SQLITE_NOTADB have no class of their own
            remove_damaged(path)
        raise OutboxError(f"{path} cannot be used: {error}.") from error


def exists(root: str) -> bool:
    """Return True if alerts of `root` have been decided before."""
    return os.path.exists(State(root).alerts)


def fact(outbox: Outbox, key: str) -> Any:
    """Return the fact `key`; None if it is not stored."""
    found = outbox.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
    return found[0] if found else None


def set_fact(outbox: Outbox, key: str, value: object) -> None:
    """Store the fact `key`."""
    outbox.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))


def tracks(outbox: Outbox, profile: str) -> dict[str, Track]:
    """Return what is known of the jobs of `profile`."""
    rows = outbox.execute("SELECT * FROM tracks WHERE profile = ?", (profile,))
    return {job: Track(failures, failure_at, missed_at, state, str(held))
            for _, job, failures, failure_at, missed_at, state, held in rows}


def set_track(outbox: Outbox, profile: str, job: str, track: Track) -> None:
    """Store what is known of `job`."""
    outbox.execute("INSERT OR REPLACE INTO tracks VALUES (?, ?, ?, ?, ?, ?, ?)", (profile, job, *track))


def forget(outbox: Outbox, profile: str, job: str) -> None:
    """Forget what is known of `job`, which was deleted."""
    outbox.execute("DELETE FROM tracks WHERE profile = ? AND job = ?", (profile, job))


def add(outbox: Outbox, key: str, target: str, now: float, content: dict[str, Any]) -> None:
    """Store an alert for `target`, unless one with the same `key` is stored."""
    outbox.execute("INSERT OR IGNORE INTO alerts (key, target, created, content) VALUES (?, ?, ?, ?)",
                   (key, target, now, json.dumps(content)))


def due(outbox: Outbox) -> dict[str, float]:
    """Return the targets for which alerts wait, and when each may be sent; 0 is at once."""
    return dict(outbox.execute("SELECT DISTINCT target, coalesce(next, 0) FROM alerts LEFT JOIN targets USING (target) "
                               f"WHERE {WAITING}"))


def waiting(outbox: Outbox, target: str, limit: int) -> list[Alert]:
    """Return the alerts that wait for `target`, oldest first.

    Those that failed before come last, so that one which is never accepted does not keep others; but not for pings,
    whose order is that of the runs.
    """
    failed = "" if target.partition(" ")[0] == PING else "error IS NOT NULL, "
    rows = outbox.execute(f"SELECT id, target, created, content FROM alerts WHERE {WAITING} AND target = ? "
                          f"ORDER BY {failed}id LIMIT ?", (target, limit))
    return [Alert(number, name, created, json.loads(content)) for number, name, created, content in rows]


def note_sent(outbox: Outbox, alerts: list[Alert], now: float) -> None:
    """Store that `alerts`, of one target, were accepted."""
    outbox.executemany("UPDATE alerts SET sent = ?, error = NULL WHERE id = ?", ((now, each.id) for each in alerts))
    outbox.execute("DELETE FROM targets WHERE target = ?", (alerts[0].target,))


def give_up(outbox: Outbox, alerts: list[Alert], error: str, now: float) -> None:
    """Store that `alerts` will not be sent, and why."""
    outbox.executemany("UPDATE alerts SET given_up = ?, error = ? WHERE id = ?",
                       ((now, error, each.id) for each in alerts))


def note_failed(outbox: Outbox, alerts: list[Alert], error: str, now: float) -> None:
    """Store that the target of `alerts` did not accept them. They are sent again later, until they are too old."""
    target = alerts[0].target
    outbox.executemany("UPDATE alerts SET error = ? WHERE id = ?", ((error, each.id) for each in alerts))
    give_up(outbox, [each for each in alerts if now - each.created > GIVE_UP_S], error, now)
    failures, since = outbox.execute("SELECT failures, since FROM targets WHERE target = ?",
                                     (target,)).fetchone() or (0, now)
    wait_s = min(FIRST_RETRY_S * 2 ** min(failures, 20), MAX_RETRY_S)
    outbox.execute("INSERT OR REPLACE INTO targets VALUES (?, ?, ?, ?, ?)",
                   (target, failures + 1, now + wait_s, since, error))


def undelivered(outbox: Outbox) -> list[Undelivered]:
    """Return the receivers for which alerts wait, or were given up."""
    rows = outbox.execute(
        f"SELECT target, sum({WAITING}), min(CASE WHEN {WAITING} THEN created END), since, "
        "sum(given_up IS NOT NULL AND alerts.error != ''), coalesce(targets.error, max(alerts.error)) "
        "FROM alerts LEFT JOIN targets USING (target) WHERE sent IS NULL GROUP BY target")
    return [Undelivered(target, waiting, oldest or 0.0, since or 0.0, given_up, error or "")
            for target, waiting, oldest, since, given_up, error in rows]


def latest(outbox: Outbox, limit: int, target: str = "", before: int | None = None) -> list[Delivery]:
    """Return the last alerts, newest first: those to `target`, if it is given, with ids below `before`."""
    rows = outbox.execute("SELECT id, target, created, content, sent, given_up, error FROM alerts "
                          "WHERE ? IN ('', target) AND id < coalesce(?, id + 1) ORDER BY id DESC LIMIT ?",
                          (target, before, limit))
    return [Delivery(Alert(number, name, created, json.loads(content)), sent, given_up, error or "")
            for number, name, created, content, sent, given_up, error in rows]


def tidy(outbox: Outbox, targets: list[str], now: float) -> None:
    """Remove old alerts, and those for receivers other than `targets`."""
    outbox.execute("DELETE FROM alerts WHERE coalesce(sent, given_up) < ?", (now - KEPT_S,))
    for name in ("alerts", "targets"):
        gone = {row[0] for row in outbox.execute(f"SELECT DISTINCT target FROM {name}")} - set(targets)
        outbox.executemany(f"DELETE FROM {name} WHERE target = ?", ((target,) for target in gone))
    outbox.execute("UPDATE targets SET next = min(next, ?)", (now + MAX_RETRY_S,))  # the clock may have been set back
