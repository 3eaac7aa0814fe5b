"""The ledger: `runs.db`, with one row for each occurrence of a job that was due, and for each run that was requested.

It is a cache of what jobs.json, the files of runs and the outputs contain, as far as those go back: a runner keeps its
run in the run's own file until the row is on the disk. A ledger that cannot be written stops no run.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from ..errors import OscronError
from ..files import StateFileError, create_database, make_private_dir
from ..hermes.home import Home

VERSION = 1
WRITE_TIMEOUT_S, BEGIN_TIMEOUT_S = 10.0, 0.5
"""The time to wait for another process that writes; at the begin of a run it is short, because its job runs already."""
MANUAL, SCHEDULE, CATCH_UP, RETRY = "manual", "schedule", "catch-up", "retry"
"""The reasons for a run. A catch-up is the late run of an occurrence that was missed."""
COMPLETE_SINCE = "complete_since"
"""The fact since when the last run of each job is in the ledger."""
TRIGGERS = (SCHEDULE, MANUAL, CATCH_UP, RETRY)
BY_SCHEDULE = (SCHEDULE, CATCH_UP)
OK, ERROR, TIMEOUT, INTERRUPTED, STOPPED, SKIPPED, MISSED = (
    "ok", "error", "timeout", "interrupted", "stopped", "skipped", "missed")
OUTCOMES = (OK, ERROR, TIMEOUT, INTERRUPTED, STOPPED, SKIPPED, MISSED)
NOT_RUN = (SKIPPED, MISSED)
MAX_TEXT_CHARS = 1000
CLOCK_SET_BACK = "The clock was set back, so this time came a second time."

SCHEMA = f"""
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, job TEXT NOT NULL, name TEXT NOT NULL DEFAULT '', trigger TEXT NOT NULL,
    due REAL NOT NULL, attempt INTEGER NOT NULL DEFAULT 1, queued REAL, started REAL, ended REAL, outcome TEXT,
    reason TEXT, exit_code INTEGER, signal INTEGER, host TEXT, invocation TEXT, node TEXT, cluster_job TEXT, cpu_s REAL,
    memory_bytes INTEGER, usage TEXT, delivery_error TEXT, output TEXT, seq INTEGER, runner TEXT
);
CREATE UNIQUE INDEX occurrence ON runs (job, due, attempt);
CREATE INDEX begun ON runs (job, started) WHERE started IS NOT NULL;
CREATE INDEX by_time ON runs (due, id);
CREATE INDEX in_order ON runs (seq) WHERE seq IS NOT NULL;
CREATE INDEX by_outcome ON runs (outcome, due, id);
CREATE INDEX by_trigger ON runs (trigger, due, id);
CREATE INDEX by_output ON runs (job, output) WHERE output IS NOT NULL;
CREATE INDEX not_ok ON runs (due) WHERE outcome != 'ok';
CREATE INDEX unfinished ON runs (id) WHERE outcome IS NULL;
CREATE TABLE schedules (
    job TEXT NOT NULL, since REAL NOT NULL, state TEXT NOT NULL, kind TEXT NOT NULL, expression TEXT NOT NULL,
    zone TEXT NOT NULL, phase REAL, PRIMARY KEY (job, since)
) WITHOUT ROWID;
CREATE TABLE accounted (job TEXT PRIMARY KEY, until REAL NOT NULL, kept_since REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO facts VALUES ('generation', lower(hex(randomblob(4))));
PRAGMA user_version = {VERSION};
"""
"""Times are in unix seconds. `docs/ledger.md` describes each column."""
LAST_SEQ = ("(SELECT max(coalesce((SELECT max(seq) FROM runs WHERE seq IS NOT NULL), 0), "
            "coalesce((SELECT value FROM facts WHERE key = 'seq'), 0)))")
"""The last `seq` that a row has had, also if that row has another one by now, or none.

Without the condition SQLite does not use the index, and reads the whole table.
"""

Ledger = sqlite3.Connection
Text = TypeVar("Text", str, str | None)


class LedgerError(StateFileError):
    """The ledger cannot be read or written."""


class LedgerDamaged(LedgerError):
    """The ledger is not a database, or its content is damaged. A sync replaces it."""


class Row(NamedTuple):
    """One occurrence or one requested run. Without an `outcome` it is in progress.

    `due` is when it was scheduled or requested; a second run for one time has the next `attempt`. `seq` counts the ends
    of rows. `runner` identifies the process of the runner. `usage` is JSON.
    """

    id: int
    job: str
    name: str
    trigger: str
    due: float
    attempt: int
    queued: float | None
    started: float | None
    ended: float | None
    outcome: str | None
    reason: str | None
    exit_code: int | None
    signal: int | None
    host: str | None
    invocation: str | None
    node: str | None
    cluster_job: str | None
    cpu_s: float | None
    memory_bytes: int | None
    usage: str | None
    delivery_error: str | None
    output: str | None
    seq: int | None
    runner: str | None


COLUMNS = ", ".join(Row._fields)


class End(NamedTuple):
    """The end of a row."""

    ended: float | None
    outcome: str
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    cpu_s: float | None = None
    memory_bytes: int | None = None
    usage: str | None = None
    delivery_error: str | None = None
    output: str | None = None


@contextlib.contextmanager
def writing(home: Home, durable: bool = False, timeout_s: float = WRITE_TIMEOUT_S) -> Iterator[Ledger]:
    """Change the ledger of `home` in one transaction; if it is `durable`, it is on the disk after the block.

    The ledger is created if it is missing. Raises LedgerError.
    """
    with _errors_of(home):
        make_private_dir(home.state.unentered)  # now, since a disk that is full has no room for a folder
        create_database(home.state.ledger)
        ledger = _connect(home.state.ledger, timeout_s)
        try:
            ledger.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            ledger.execute("BEGIN IMMEDIATE")
            yield ledger
            ledger.execute("COMMIT")
        except (OscronError, OSError, sqlite3.Error):
            raise
        except Exception as error:  # such as a value that this version does not know; it must not stop a run
            raise LedgerError(f"{home.state.ledger} cannot be used: {type(error).__name__}: {error}.") from error
        finally:
            ledger.close()


@contextlib.contextmanager
def reading(home: Home) -> Iterator[Ledger]:
    """Read the ledger of `home`; one that is missing is empty. Raises LedgerError."""
    with _errors_of(home):
        is_missing = not exists(home)
        ledger = _connect(":memory:" if is_missing else home.state.ledger, WRITE_TIMEOUT_S)
        try:
            if is_missing:
                set_fact(ledger, "generation", "none")  # so that the same answer has the same cursor
            yield ledger
        finally:
            ledger.close()


def exists(home: Home) -> bool:
    """Return True if `home` has a ledger."""
    return os.path.exists(home.state.ledger)


def select(ledger: Ledger, condition: str, *values: object) -> list[Row]:
    """Return the rows that meet the SQL `condition`."""
    return list(map(Row._make, ledger.execute(f"SELECT {COLUMNS} FROM runs WHERE {condition}", values)))


def fact(ledger: Ledger, key: str) -> object:
    """Return the fact `key` about the ledger; None if it is not stored."""
    found = ledger.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
    return found[0] if found else None


def set_fact(ledger: Ledger, key: str, value: object) -> None:
    """Store the fact `key`."""
    ledger.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))


def position(books: Ledger, last: Row | None = None) -> str:
    """Return the cursor after the run `last`, or after the last one that has ended."""
    return f"{fact(books, 'generation')}-{last.seq if last else last_seq(books)}"


def last_seq(books: Ledger) -> int:
    """Return the `seq` of the last row that has ended."""
    return int(books.execute(f"SELECT {LAST_SEQ}").fetchone()[0])


def keep_seq(books: Ledger) -> None:
    """Store the last `seq`, before rows lose it: one that was given twice would hide the second end."""
    set_fact(books, "seq", last_seq(books))


def ended_after(books: Ledger, cursor: str, limit: int) -> list[Row] | None:
    """Return the runs that ended after `cursor`, oldest first; None if it is of another ledger."""
    generation, _, last = cursor.partition("-")
    if generation != fact(books, "generation") or not last.isdecimal():
        return None
    return select(books, "seq > ? AND started IS NOT NULL ORDER BY seq LIMIT ?", int(last[:15]), limit)


def ended_since(ledger: Ledger, since: float, limit: int) -> list[Row] | None:
    """Return the runs that ended after the unix time `since`, oldest first.

    None if the ledger does not go back so far, or if there may be more than `limit`.
    """
    complete_since = fact(ledger, COMPLETE_SINCE)
    if not isinstance(complete_since, float) or since < complete_since:
        return None
    rows = select(ledger, "seq IS NOT NULL AND started IS NOT NULL ORDER BY seq DESC LIMIT ?", limit)
    if len(rows) == limit and (rows[-1].ended or 0.0) > since:
        return None
    return [row for row in reversed(rows) if (row.ended or 0.0) > since]


def begin_row(ledger: Ledger, job: str, name: str, trigger: str, due: float, started: float,
              queued: float | None = None, runner: str | None = None) -> int:
    """Return the id of the row of the run that `started`; it is inserted if it is missing.

    An occurrence that has a row as missed or skipped, and runs after all, keeps that row.
    """
    name = _storable(name)
    same = ledger.execute("SELECT id FROM runs WHERE job = ? AND started = ?", (job, started)).fetchone()
    if same:
        return int(same[0])
    last = ledger.execute("SELECT id, attempt, outcome FROM runs WHERE job = ? AND due = ? ORDER BY attempt DESC "
                          "LIMIT 1", (job, due)).fetchone()
    host, invocation = os.uname().nodename, os.environ.get("INVOCATION_ID")
    if last and last[2] in NOT_RUN:
        keep_seq(ledger)
        ledger.execute("UPDATE runs SET name = ?, trigger = ?, queued = ?, started = ?, ended = NULL, outcome = NULL, "
                       "reason = NULL, seq = NULL, host = ?, invocation = ?, runner = ? WHERE id = ?",
                       (name, trigger, queued, started, host, invocation, runner, last[0]))
        return int(last[0])
    reason = CLOCK_SET_BACK if last and _latest_end(ledger, job) > started else None
    cursor = ledger.execute(
        "INSERT INTO runs (job, name, trigger, due, attempt, queued, started, reason, host, invocation, runner) VALUES "
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (job, name, trigger, due, last[1] + 1 if last else 1, queued, started, reason, host, invocation, runner))
    return int(cursor.lastrowid or 0)


def _latest_end(ledger: Ledger, job: str) -> float:
    return float(ledger.execute("SELECT max(ended) FROM runs WHERE job = ?", (job,)).fetchone()[0] or 0)


def place_row(ledger: Ledger, row: int, node: str, cluster_job: str) -> None:
    """Write where on a cluster the run with the id `row` is."""
    ledger.execute("UPDATE runs SET node = ?, cluster_job = ? WHERE id = ?", (node, cluster_job, row))


def end_row(ledger: Ledger, row: int, end: End) -> None:
    """Write how the row with the id `row` ended. A reason from its begin is kept if there is no other.

    A row that has ended before keeps its place in the order of the ends.
    """
    end = end._replace(reason=_storable(end.reason), delivery_error=_storable(end.delivery_error))
    ledger.execute(
        "UPDATE runs SET ended = ?, outcome = ?, reason = coalesce(?, reason), exit_code = ?, signal = ?, cpu_s = ?, "
        f"memory_bytes = ?, usage = ?, delivery_error = ?, output = ?, seq = coalesce(seq, {LAST_SEQ} + 1) "
        "WHERE id = ?", (*end, row))


def insert_not_run(ledger: Ledger, job: str, name: str, due: float, outcome: str, reason: str) -> None:
    """Insert the row of an occurrence that does not run, unless it has a row."""
    ledger.execute(
        "INSERT OR IGNORE INTO runs (job, name, trigger, due, outcome, reason, host, seq) "
        f"VALUES (?, ?, ?, ?, ?, ?, ?, {LAST_SEQ} + 1)",
        (job, _storable(name), SCHEDULE, due, outcome, reason, os.uname().nodename))


def _storable(text: Text) -> Text:
    """Return `text`, cut to MAX_TEXT_CHARS; half a surrogate pair, of which UTF-8 has none, becomes a question mark."""
    return text[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode() if text else text


def _connect(path: str, timeout_s: float) -> Ledger:
    ledger = sqlite3.connect(path, timeout=timeout_s, isolation_level=None)
    try:
        if ledger.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            _create(ledger)
        return ledger
    except BaseException:
        ledger.close()
        raise


def _create(ledger: Ledger) -> None:
    """Create the tables. The journal is that of SQLite's default: each runner opens the ledger for one transaction, and
    with a write-ahead log (WAL) that takes longer, because the last connection that closes copies the log back.
    """
    ledger.execute("BEGIN IMMEDIATE")
    if ledger.execute("PRAGMA user_version").fetchone()[0] == 0:  # else another process has been faster
        for statement in SCHEMA.split(";\n"):
            ledger.execute(statement)
        set_fact(ledger, COMPLETE_SINCE, time.time())
    ledger.execute("COMMIT")


@contextlib.contextmanager
def _errors_of(home: Home) -> Iterator[None]:
    """Raise errors of SQLite as LedgerError, with the path of the ledger of `home`."""
    path = home.state.ledger
    try:
        yield
    except sqlite3.Error as error:
        if type(error) is sqlite3.DatabaseError:  # SQLITE_CORRUPT and SQLITE_NOTADB have no class of their own
            raise LedgerDamaged(f"{path} is damaged: {error}.", "The next sync replaces it.") from error
        raise LedgerError(f"{path} cannot be used: {error}.") from error
