"""Jobs that have come to an end lately, and the agent's session in which one can read on."""

import contextlib
import datetime
import os
import re
from typing import NamedTuple
from urllib.parse import quote

from . import homes, outputs, records, store
from .homes import Home
from .store import Record

SESSION_STAMP = "%Y%m%d_%H%M%S"
"""The agent calls the session of a run `cron_<job id>_<when it began>` (cron/scheduler.py, 0.19)."""
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
    found = []
    for record in store.read(home):
        ended = records.instant(record.get("last_run_at"))
        if ended and ended.timestamp() > moment:
            found.append(_completion(home, record, ended))
    return sorted(found, key=lambda completion: completion.completed_at)


def _completion(home: Home, record: Record, ended: datetime.datetime) -> Completion:
    return Completion(
        record["id"], str(record.get("name") or record.get("prompt") or record["id"])[:200],
        str(record.get("last_status") or "unknown"), ended.timestamp(),
        record.get("toast_notifications") is not False,
        None if record.get("no_agent") else _session(home, record, ended),
    )


def _session(home: Home, record: Record, ended: datetime.datetime) -> str | None:
    """The session of RECORD's run that ended at ENDED: the newest that began before it, and after the run before."""
    job_id = str(record["id"])
    pages, _ = outputs.history(home, job_id, 1, 1)
    after = pages[0].modified if pages else 0.0
    place = _place_of_execution(home, record)
    zone = homes.timezone(place)
    for session in _sessions(place, job_id):
        with contextlib.suppress(ValueError):
            began = datetime.datetime.strptime(session[-len("20260315_090000"):], SESSION_STAMP).replace(tzinfo=zone)
            if int(after) <= began.timestamp() <= ended.timestamp():
                return session
    return None


def _sessions(home: Home, job_id: str) -> list[str]:
    """The sessions of JOB_ID in the agent's own database, newest first; none where it cannot be read."""
    path = f"{home.path}/state.db"
    if not os.path.exists(path):
        return []
    import sqlite3  # 4 ms, and only for those who have an agent

    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=1)) as database:
            rows = database.execute(
                "SELECT id FROM sessions WHERE source = 'cron' AND id > ? AND id < ? ORDER BY id DESC LIMIT ?",
                (f"cron_{job_id}_", f"cron_{job_id}_:", LOOK_BACK),  # a colon comes after the digits
            ).fetchall()
    except sqlite3.Error:
        return []
    return [row[0] for row in rows if re.fullmatch(rf"cron_{re.escape(job_id)}_\d{{8}}_\d{{6}}", str(row[0]))]


def _place_of_execution(home: Home, record: Record) -> Home:
    """The home of the profile that RECORD names, where its agent keeps its sessions, or the one that owns it."""
    try:
        return homes.home(home.root, str(record.get("profile") or home.profile))
    except homes.UnknownProfile:
        return home
