"""Remove old rows of the ledger. From where on the rows of a job are complete is kept, for the audit."""

import json
from collections.abc import Collection

from .ledger import COMPLETE_SINCE, LAST_SEQ, Ledger
from .schedule_versions import DELETED
from .totals import add_removed

DAY_S = 86400.0
MONTH_S = 32 * DAY_S


def sweep(books: Ledger, days: int, runs_per_job: int, now: float, with_budget: Collection[str] = ()) -> None:
    """Remove the rows that are older than `days` before `now`, and those before the last `runs_per_job` of each job.

    0 means no limit. A row in progress stays, and so does the one that ended last, by which `seq` goes on. So do those
    of the last month of the jobs `with_budget`, of which the budget counts the usage.
    """
    not_counted = "NOT (due > ? AND job IN (SELECT value FROM json_each(?)))"
    counted = now - MONTH_S, json.dumps([*with_budget])
    if days:
        _remove(books, f"due < ? AND {not_counted}", now - days * DAY_S, *counted)
        books.execute("UPDATE facts SET value = max(value, ?) WHERE key = ?", (now - days * DAY_S, COMPLETE_SINCE))
    if runs_per_job:
        for job, count in books.execute("SELECT job, count(*) FROM runs GROUP BY job").fetchall():
            if count > runs_per_job:
                _remove(books, "job = ? AND id IN (SELECT id FROM runs WHERE job = ? ORDER BY due DESC, id DESC "
                               f"LIMIT -1 OFFSET ?) AND {not_counted}", job, job, runs_per_job, *counted)
    books.execute("DELETE FROM schedules WHERE EXISTS (SELECT 1 FROM schedules later JOIN accounted USING (job) "
                  "WHERE later.job = schedules.job AND later.since > schedules.since "
                  "AND later.since <= accounted.kept_since)")
    gone = [row[0] for row in books.execute(
        "SELECT job FROM schedules WHERE state = ? AND since < ? AND NOT EXISTS "
        "(SELECT 1 FROM runs WHERE runs.job = schedules.job)", (DELETED, now - DAY_S))]
    for table in ("schedules", "accounted"):
        books.executemany(f"DELETE FROM {table} WHERE job = ?", ((job,) for job in gone))


def _remove(books: Ledger, condition: str, *values: object) -> None:
    condition = f"outcome IS NOT NULL AND seq < {LAST_SEQ} AND {condition}"
    add_removed(books, condition, *values)
    removed = books.execute(f"SELECT job, max(due) FROM runs WHERE {condition} GROUP BY job", values).fetchall()
    books.execute(f"DELETE FROM runs WHERE {condition}", values)
    books.executemany("UPDATE accounted SET kept_since = max(kept_since, ?) WHERE job = ?",
                      ((due, job) for job, due in removed))
