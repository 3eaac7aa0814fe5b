"""Runs that have ended lately, and the agent's session in which one can read on."""

import contextlib
import datetime
import os
import re
import sqlite3
from typing import NamedTuple
from urllib.parse import quote

from ..barrier import use_each
from . import endings, homes, outputs, records
from .homes import Home
from .store import Record

SESSION_STAMP = "%Y%m%d_%H%M%S"
"""The agent calls the session of a run `cron_<job id>_<when it began>` (cron/scheduler.py, 0.19)."""
FAILED = re.compile(r"^# .*\(FAILED\)$|^\*\*Status:\*\* script failed$", re.M)
LOOK_BACK = 20
"""Sessions of one job that are looked at; the newest is nearly always the one."""


class Completion(NamedTuple):
    """The last run of a job. `completed_at` is in unix seconds; `session_id` is None where nobody knows."""

    job_id: str
    name: str
    status: str
    completed_at: float
    toast_notifications: bool
    session_id: str | None


def since(home: Home, moment: float) -> list[Completion]:
    """The last runs of HOME's jobs that ended after MOMENT (unix seconds), by their ends. Raises StoreError."""
    jobs = endings.read(home)
    with contextlib.closing(_Sessions()) as sessions:
        def last_run(record: Record) -> Completion | None:
            ended = records.instant(record.get("last_run_at"))
            return _completion(home, record, ended, sessions) if ended and ended.timestamp() > moment else None

        shown, _ = use_each({record["id"]: record for record in jobs}, last_run)
        found = [completion for completion in shown.values() if completion]
        for job_id in outputs.jobs(home) - {record["id"] for record in jobs}:
            found += _last_of_removed(home, job_id, moment, sessions)
    return sorted(found, key=lambda completion: completion.completed_at)


def _completion(home: Home, record: Record, ended: datetime.datetime, sessions: "_Sessions") -> Completion:
    return Completion(
        record["id"], str(record.get("name") or record.get("prompt") or record["id"])[:200],
        str(record.get("last_status") or "unknown"), ended.timestamp(),
        record.get("toast_notifications") is not False,
        None if record.get("no_agent") else _session(home, record, ended, sessions),
    )


def _last_of_removed(home: Home, job_id: str, moment: float, sessions: "_Sessions") -> list[Completion]:
    """The last run of JOB_ID if it ended after MOMENT: the agent removes a job that is used up, not its outputs."""
    pages, _ = outputs.history(home, job_id, 0, 1)
    if not pages or pages[0].modified <= moment:
        return []
    try:
        heading = outputs.heading(outputs.read(home, job_id, pages[0].filename))
    except outputs.NoSuchRun:
        return []
    title = heading.partition("\n")[0].removeprefix("# Cron Job: ").removesuffix(" (FAILED)").strip()
    record = {"id": job_id, "name": title, "last_status": "error" if FAILED.search(heading) else "ok"}
    return [_completion(home, record, datetime.datetime.fromtimestamp(pages[0].modified, datetime.UTC), sessions)]


def _session(home: Home, record: Record, ended: datetime.datetime, sessions: "_Sessions") -> str | None:
    """The session of RECORD's run that ended at ENDED: the newest that began before it, and after the run before."""
    job_id = str(record["id"])
    place = _place_of_execution(home, record)
    known = sessions.of(place, job_id)
    if not known:
        return None
    pages, _ = outputs.history(home, job_id, 1, 1)
    after = int(pages[0].modified) if pages else 0
    zone = homes.timezone(place)
    for session in known:
        with contextlib.suppress(ValueError):
            began = datetime.datetime.strptime(session[-len("20260315_090000"):], SESSION_STAMP).replace(tzinfo=zone)
            if after <= began.timestamp() <= ended.timestamp():
                return session
    return None


class _Sessions:
    """What the agents' own databases know, each opened once."""

    def __init__(self) -> None:
        self._databases: dict[str, sqlite3.Connection | None] = {}

    def of(self, home: Home, job_id: str) -> list[str]:
        """The sessions of JOB_ID, newest first; none where the database cannot be read."""
        path = f"{home.path}/state.db"
        if path not in self._databases:
            self._databases[path] = _opened(path)
        database = self._databases[path]
        if database is None:
            return []
        between = (f"cron_{job_id}_", f"cron_{job_id}_:", LOOK_BACK)  # a colon comes after the digits
        try:
            rows = database.execute("SELECT id FROM sessions WHERE source = 'cron' AND id > ? AND id < ? "
                                    "ORDER BY id DESC LIMIT ?", between).fetchall()
        except sqlite3.Error:
            return []
        return [row[0] for row in rows if re.fullmatch(rf"cron_{re.escape(job_id)}_\d{{8}}_\d{{6}}", str(row[0]))]

    def close(self) -> None:
        for database in filter(None, self._databases.values()):
            database.close()


def _opened(path: str) -> "sqlite3.Connection | None":
    """The database at PATH, to be read; None where there is none."""
    if not os.path.exists(path):
        return None
    try:
        return sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=1)
    except sqlite3.Error:
        return None


def _place_of_execution(home: Home, record: Record) -> Home:
    """The home of the profile that RECORD names, where its agent keeps its sessions, or the one that owns it."""
    try:
        return homes.home(home.root, str(record.get("profile") or home.profile))
    except homes.UnknownProfile:
        return home
