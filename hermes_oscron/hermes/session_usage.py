"""The usage of a run by the agent's own record of it: the chat session of the run, in `state.db`.

The outputs of the agent (0.19) do not state it.
"""

import contextlib
import os
import sqlite3
from typing import Any

from .home import Home

SESSIONS = """
WITH RECURSIVE of_run (id) AS (
    SELECT id FROM (
        SELECT id FROM sessions WHERE source = 'cron' AND id > :first AND id < :last AND parent_session_id IS NULL
            AND started_at BETWEEN :since AND :until ORDER BY started_at DESC LIMIT 1
    )
    UNION SELECT child.id FROM sessions child JOIN of_run ON child.parent_session_id = of_run.id
    WHERE child.started_at <= :until
)
SELECT max(model) AS model, max(billing_provider) AS provider,
    sum(input_tokens + cache_read_tokens + cache_write_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
    sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens) AS total_tokens,
    sum(CASE WHEN cost_status = 'unknown' THEN nullif(estimated_cost_usd, 0)
        ELSE coalesce(actual_cost_usd, estimated_cost_usd) END) AS estimated_cost_usd
FROM sessions JOIN of_run USING (id)
"""
"""A run has one session; an earlier one is of a run that was cut off. A conversation that is compressed goes on in a
child of its session, and a subagent has one too; the columns of a session do not contain those of its children
(hermes_state.py, 0.19). The cost of a model without a known price is 0.
"""


def usage_of_run(home: Home, job_id: str, since: float, until: float) -> dict[str, Any]:
    """Return what the agent in `home` used for the run of `job_id` from `since` to `until`, in unix seconds.

    It has the keys of `output_page.usage`; nothing if the agent has no record of the run.
    """
    path = f"{home.path}/state.db"
    if not os.path.exists(path):
        return {}
    from urllib.parse import quote  # 2 ms, which a script's run is spared

    wanted = {"first": f"cron_{job_id}_", "last": f"cron_{job_id}_:",  # a colon comes after the digits
              "since": since, "until": until}
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=1)) as database:
            database.row_factory = sqlite3.Row
            found = dict(database.execute(SESSIONS, wanted).fetchone())
    except sqlite3.Error:  # of another version of the agent, or in use
        return {}
    return {name: value for name, value in found.items() if value is not None}
