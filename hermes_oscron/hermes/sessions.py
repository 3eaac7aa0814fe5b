"""The agent's sessions, in its own `state.db`: which of them a run was. It is only read, and never relied on."""

import os

from .homes import Home


def latest(home: Home, job_id: str, ended: float) -> str | None:
    """The session in which the agent ran JOB_ID last before ENDED, a unix time; None where that is not known.

    The agent calls it `cron_<job_id>_%Y%m%d_%H%M%S`.
    """
    path = f"{home.path}/state.db"
    if not os.path.exists(path):
        return None
    import sqlite3  # 10 ms, and only where there is an agent

    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)
    except sqlite3.Error:
        return None
    prefix = f"cron_{job_id}_"
    try:
        row = connection.execute(
            "SELECT id FROM sessions WHERE id >= ? AND id < ? AND started_at <= ? ORDER BY started_at DESC LIMIT 1",
            (prefix, f"{prefix}a", ended + 1)).fetchone()
    except sqlite3.Error:
        return None
    finally:
        connection.close()
    return str(row[0]) if row else None
