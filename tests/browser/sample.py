"""A home as it looks after some days of use: jobs of every kind and state, and the runs of the last week."""

import datetime
import random
import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hermes_oscron.hermes.home import home_of
from hermes_oscron.runs import ledger
from hermes_oscron.runs.ledger import End
from hermes_oscron.schedule.model import cron_schedule
from hermes_oscron.schedule.occurrences import occurrences

from ..conftest import write_jobs, write_script

HOUR, DAY = 3600.0, 86400.0


def record(job_id: str, name: str, expr: str, **fields: Any) -> dict[str, Any]:
    """Return a record as the agent writes it."""
    return {"id": job_id, "name": name, "prompt": "", "deliver": "local", "enabled": True, "state": "scheduled",
            "schedule": {"kind": "cron", "expr": expr, "display": expr}, "no_agent": True, "script": "report.sh",
            "repeat": {"times": None, "completed": 0}, "last_status": "ok", **fields}


JOBS = (
    # id, name, expression, usual duration in seconds, chance of a failure
    ("a1", "Morning briefing", "0 7 * * 1-5", 95, 0),
    ("a2", "Back up the photo library", "30 2 * * *", 2900, 0.2),
    ("a3", "Check certificates", "0 */6 * * *", 4, 0),
    ("a4", "Sync calendars", "*/30 * * * *", 11, 0.04),
    ("a5", "Watch the build queue", "*/5 * * * *", 3, 0.004),
    ("a6", "Summarise new papers on scheduling", "0 9,15,21 * * *", 340, 0.1),
    ("a7", "Invoice reminders", "0 10 * * 1", 40, 0),
    ("a8", "Nightly integration tests", "15 1 * * *", 5400, 0.5),
    ("a9", "Weather for the greenhouse", "0 * * * *", 6, 0),
    ("b1", "Rotate logs", "0 0 * * *", 2, 0),
)


def write_sample(root: Path) -> None:
    """Write jobs and a ledger into `root`."""
    choose = random.Random(7)
    write_script(root, "report.sh", "echo hello\n")
    now = time.time()
    records = [record(job_id, name, expr) for job_id, name, expr, *_ in JOBS]
    records[6] |= {"state": "paused", "enabled": False, "paused_reason": "nothing due before January"}
    records[7] |= {"last_status": "error", "last_error": "exited with code 2: 3 of 214 tests failed"}
    write_jobs(root, *records)
    with ledger.writing(home_of(str(root), "default")) as books:
        for job_id, name, expr, usual, chance in JOBS:
            week_ago = datetime.datetime.fromtimestamp(now - 7 * DAY, datetime.UTC)
            for moment in occurrences(cron_schedule(expr), week_ago, ZoneInfo("UTC")):
                due = moment.timestamp()
                if due > now - 60:
                    break
                _add(books, choose, job_id, name, due, usual * choose.uniform(0.7, 1.5), chance, now)


def _add(books: ledger.Ledger, choose: random.Random, job_id: str, name: str, due: float, took: float, chance: float,
         now: float) -> None:
    if (job_id == "a9" and 30 * HOUR > now - due > 26 * HOUR) or (job_id == "a3" and 9 * HOUR > now - due > 2 * HOUR):
        ledger.insert_not_run(books, job_id, name, due, "missed", "The machine was off or asleep.")
        return
    if job_id == "a4" and choose.random() < 0.05:
        ledger.insert_not_run(books, job_id, name, due, "skipped", "The run before was still in progress.")
        return
    start = due + choose.choice([0.2, 0.3, 0.5, 4])
    if start + took > now:
        took = max(1, now - start - 1)
    row = ledger.begin_row(books, job_id, name, "schedule", due, start)
    failed = choose.choice(["error", "error", "timeout", "interrupted", "stopped"])
    outcome = failed if choose.random() < chance else "ok"
    if job_id == "a8" and now - due < DAY:
        outcome = "error"
    reasons = {"error": "exited with code 2: 3 of 214 tests failed", "timeout": "timed out after 3600 s.",
               "interrupted": "The machine went down.", "stopped": "stopped by SIGTERM before it had ended."}
    ledger.end_row(books, row, End(start + took, outcome, reasons.get(outcome), 0 if outcome == "ok" else 2, None,
                                   took / 9, int(8e7 * choose.uniform(.5, 2)),
                                   '{"model": "hermes-4", "total_tokens": 5120, "estimated_cost_usd": 0.0123}'))
