"""The rows of a ledger, and the audit of it."""

import datetime
import sqlite3
from pathlib import Path

from hermes_oscron.hermes.home import Home, home_of
from hermes_oscron.runs import ledger
from hermes_oscron.runs.audit import Discrepancy
from hermes_oscron.runs.ledger import Row
from hermes_oscron.service.audit import audits


def rows(root: Path, job_id: str | None = None) -> list[Row]:
    """Return the rows in the ledger of the default profile, or those of `job_id`, oldest first."""
    with ledger.reading(default(root)) as books:
        found = ledger.select(books, "TRUE ORDER BY due, attempt")
    return [row for row in found if job_id in (None, row.job)]


def outcomes(root: Path, job_id: str | None = None) -> list[str | None]:
    return [row.outcome for row in rows(root, job_id)]


def discrepancies(root: Path, now: datetime.datetime | None = None) -> list[Discrepancy]:
    """Return what the audit of the default profile finds."""
    found = audits(default(root), None, None, now or datetime.datetime.now(datetime.UTC))
    return [each for result in found for each in result.discrepancies]


def default(root: Path) -> Home:
    return home_of(str(root), "default")


def add_session(root: Path, job_id: str, started: float, tokens: int) -> None:
    """Put the session of a run of `job_id` into the agent's database, as the agent does."""
    name = f"cron_{job_id}_{datetime.datetime.fromtimestamp(started):%Y%m%d_%H%M%S}"
    with sqlite3.connect(root / "state.db") as books:
        books.execute("CREATE TABLE IF NOT EXISTS sessions (id, source, parent_session_id, started_at, model, "
                      "billing_provider, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, "
                      "cost_status, actual_cost_usd, estimated_cost_usd)")
        books.execute("INSERT INTO sessions VALUES (?, 'cron', NULL, ?, 'm', 'p', ?, 0, 0, 0, 'unknown', NULL, 0)",
                      (name, started, tokens))
