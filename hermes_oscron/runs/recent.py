"""Runs that ended recently, and the agent's chat session of each."""

import contextlib
import datetime
import os
import re
import sqlite3
from typing import NamedTuple
from urllib.parse import quote

from ..barrier import use_each
from ..hermes import job_store, output_page, outputs
from ..hermes.home import Home, execution_home
from ..hermes.timezone import home_zone
from ..jobs.model import Job
from ..jobs.record import Record
from . import ledger, lock
from .interrupted import with_unrecorded_runs

SESSION_TIME_FORMAT = "%Y%m%d_%H%M%S"
"""The format in a session's name: the agent calls it `cron_<job id>_<start of the run>` (cron/scheduler.py, 0.19)."""
FAILED_HEADING = re.compile(r"^# .*\(FAILED\)$|^\*\*Status:\*\* script failed$", re.M)
MAX_RUNS = 500
"""The most runs after a cursor; its next cursor gives the others."""
MAX_SESSIONS = 20
"""The number of sessions of a job that are searched; the newest is nearly always the right one."""


class RecentRun(NamedTuple):
    """The last run of a job. `completed_at` is in unix seconds.

    `session_id` is empty if the session is unknown; `message_count` is the number of its messages.
    """

    job_id: str
    name: str
    status: str
    completed_at: float
    toast_notifications: bool
    session_id: str
    message_count: int


class _Session(NamedTuple):
    id: str
    message_count: int


_NO_SESSION = _Session("", 0)


def ended(home: Home, moment: float, after: str | None = None) -> tuple[list[RecentRun], str]:
    """Return the runs that ended after the cursor `after`, oldest first, and the cursor after them.

    Without a cursor, or with one of another ledger, they are those of `ended_since`: the last run of each job, if it
    ended after `moment` (unix seconds). The ledger has them if it goes back so far. Raises StateFileError.
    """
    waiting = lock.unrecorded(home) or lock.unentered(home)
    try:
        with ledger.reading(home) as books:
            cursor = ledger.position(books)  # first: a run that ends now may come twice, but is not left out
            following = ledger.ended_after(books, after, MAX_RUNS) if after else None
            rows = following if following is not None or waiting else ledger.ended_since(books, moment, MAX_RUNS)
            if rows:
                cursor = ledger.position(books, rows[-1])
    except ledger.LedgerError:  # a sync reports it
        return ended_since(home, moment), ""
    if rows is None:
        return ended_since(home, moment), cursor
    jobs = {job.id: job for job in job_store.read(home)} if rows else {}
    if following is None:
        rows = [row for row in {row.job: row for row in rows}.values()
                if row.job in jobs or os.path.exists(f"{home.output_dir}/{row.job}")]
    with contextlib.closing(_ChatSessions()) as sessions:
        runs = [_run_of_row(home, row, jobs.get(row.job), sessions) for row in rows]
    return runs if following is not None else sorted(runs, key=lambda run: run.completed_at), cursor


def _run_of_row(home: Home, row: ledger.Row, job: Job | None, sessions: "_ChatSessions") -> RecentRun:
    status = ("ok" if not row.delivery_error else "delivery_failed") if row.outcome == ledger.OK else "error"
    record = {"name": row.name, **(job.record if job else {}), "id": row.job, "last_status": status}
    ended = row.ended if row.ended is not None else row.due
    return _recent_run(home, record, datetime.datetime.fromtimestamp(ended, datetime.UTC), sessions)


def ended_since(home: Home, moment: float) -> list[RecentRun]:
    """Return the last runs of the jobs of `home` that ended after `moment` (unix seconds), oldest first.

    Raises StateFileError.
    """
    jobs = {job.id: job for job in with_unrecorded_runs(home, job_store.read(home))}
    with contextlib.closing(_ChatSessions()) as sessions:
        def last_run(job: Job) -> RecentRun | None:
            ended = job.last_run_at
            return _recent_run(home, job.record, ended, sessions) if ended and ended.timestamp() > moment else None

        runs, _ = use_each(jobs, last_run)
        found = [run for run in runs.values() if run]
        for job_id in outputs.job_ids(home) - jobs.keys():
            found += _last_run_of_removed_job(home, job_id, moment, sessions)
    return sorted(found, key=lambda run: run.completed_at)


def _recent_run(home: Home, record: Record, ended: datetime.datetime, sessions: "_ChatSessions") -> RecentRun:
    return RecentRun(
        record["id"], str(record.get("name") or record.get("prompt") or record["id"])[:200],
        str(record.get("last_status") or "unknown"), ended.timestamp(),
        record.get("toast_notifications") is not False,
        *(_NO_SESSION if record.get("no_agent") else _session_of_run(home, record, ended, sessions)),
    )


def _last_run_of_removed_job(home: Home, job_id: str, moment: float, sessions: "_ChatSessions") -> list[RecentRun]:
    """Return the last run of `job_id` if it ended after `moment`. The agent removes a used-up job, not its outputs."""
    newest, _ = outputs.history(home, job_id, 0, 1)
    if not newest or newest[0].modified <= moment:
        return []
    try:
        heading = output_page.heading(outputs.read(home, job_id, newest[0].filename))
    except outputs.RunNotFound:
        return []
    title = heading.partition("\n")[0].removeprefix("# Cron Job: ").removesuffix(" (FAILED)").strip()
    record = {"id": job_id, "name": title, "last_status": "error" if FAILED_HEADING.search(heading) else "ok"}
    return [_recent_run(home, record, datetime.datetime.fromtimestamp(newest[0].modified, datetime.UTC), sessions)]


def _session_of_run(home: Home, record: Record, ended: datetime.datetime, sessions: "_ChatSessions") -> "_Session":
    """Return the newest session that began before the run ended at `ended`, and after the run before it."""
    job_id = str(record["id"])
    place = execution_home(home, record.get("profile"))
    known = sessions.of(place, job_id)
    if not known:
        return _NO_SESSION
    previous, _ = outputs.history(home, job_id, 1, 1)
    after = int(previous[0].modified) if previous else 0
    zone = home_zone(place)
    for session in known:
        with contextlib.suppress(ValueError):
            began = datetime.datetime.strptime(session.id[-len("20260315_090000"):],
                                               SESSION_TIME_FORMAT).replace(tzinfo=zone)
            if after <= began.timestamp() <= ended.timestamp():
                return session
    return _NO_SESSION


class _ChatSessions:
    """The agent's databases of sessions, each opened once."""

    def __init__(self) -> None:
        self._databases: dict[str, sqlite3.Connection | None] = {}

    def of(self, home: Home, job_id: str) -> list[_Session]:
        """Return the sessions of `job_id`, newest first; none if the database cannot be read."""
        path = f"{home.path}/state.db"
        if path not in self._databases:
            self._databases[path] = _open_database(path)
        database = self._databases[path]
        if database is None:
            return []
        between = (f"cron_{job_id}_", f"cron_{job_id}_:", MAX_SESSIONS)  # a colon comes after the digits
        try:
            rows = database.execute("SELECT id, message_count FROM sessions WHERE source = 'cron' AND id > ? "
                                    "AND id < ? ORDER BY id DESC LIMIT ?", between).fetchall()
        except sqlite3.Error:
            return []
        return [_Session(name, count if isinstance(count, int) else 0) for name, count in rows
                if re.fullmatch(rf"cron_{re.escape(job_id)}_\d{{8}}_\d{{6}}", str(name))]

    def close(self) -> None:
        for database in filter(None, self._databases.values()):
            database.close()


def _open_database(path: str) -> "sqlite3.Connection | None":
    """Open the database at `path` for reading; None if there is none."""
    if not os.path.exists(path):
        return None
    try:
        return sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=1)
    except sqlite3.Error:
        return None
