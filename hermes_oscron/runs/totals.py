"""Sums over the rows of a ledger.

Those of all runs only grow: retention adds the rows that it removes to the table `removed`.
"""

from itertools import takewhile
from typing import NamedTuple

from .ledger import BY_SCHEDULE, INTERRUPTED, NOT_RUN, Ledger

DURATION_BUCKETS_S = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
LATENESS_BUCKETS_S = (0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 3600.0, 86400.0)
DURATION = f"CASE WHEN outcome != '{INTERRUPTED}' THEN max(ended - started, 0) END"
"""The end of an interrupted run is unknown."""
LATENESS = f"CASE WHEN trigger IN {BY_SCHEDULE} THEN max(started - due, 0) END"
SUMS = {
    "runs": "count(*)", "durations": f"count({DURATION})", "duration_s": f"total({DURATION})",
    **{f"duration_{number}": f"total({DURATION} <= {limit})" for number, limit in enumerate(DURATION_BUCKETS_S)},
    "latenesses": f"count({LATENESS})", "lateness_s": f"total({LATENESS})",
    **{f"lateness_{number}": f"total({LATENESS} <= {limit})" for number, limit in enumerate(LATENESS_BUCKETS_S)},
    "input_tokens": "total(json_extract(usage, '$.input_tokens'))",
    "output_tokens": "total(json_extract(usage, '$.output_tokens'))",
    "cost_usd": "total(json_extract(usage, '$.estimated_cost_usd'))",
}
"""The columns of `removed`, and the SQL that computes each from rows."""
RUNS = f"FROM runs WHERE outcome IS NOT NULL AND outcome NOT IN {NOT_RUN}"
SELECT = f"SELECT job, outcome, trigger, {', '.join(SUMS.values())} {RUNS}"
GROUPS = "GROUP BY job, outcome, trigger"


class Totals(NamedTuple):
    """The sums of the runs of `job` with one `outcome` and `trigger`, by column of `removed`."""

    job: str
    outcome: str
    trigger: str
    sums: dict[str, float]


def add_removed(books: Ledger, condition: str, *values: object) -> None:
    """Add the rows that meet the SQL `condition`, and are about to be removed, to the sums."""
    books.execute(f"CREATE TABLE IF NOT EXISTS removed (job TEXT, outcome TEXT, trigger TEXT, "
                  f"{', '.join(f'{name} REAL' for name in SUMS)}, PRIMARY KEY (job, outcome, trigger)) WITHOUT ROWID")
    books.execute(f"INSERT INTO removed {SELECT} AND {condition} {GROUPS} ON CONFLICT DO UPDATE SET "
                  f"{', '.join(f'{name} = {name} + excluded.{name}' for name in SUMS)}", values)


def totals(books: Ledger) -> list[Totals]:
    """Return the sums of all runs that the ledger has had."""
    rows = f"{SELECT} {GROUPS}"
    if books.execute("SELECT 1 FROM sqlite_master WHERE name = 'removed'").fetchone():
        rows = f"SELECT * FROM removed UNION ALL SELECT * FROM ({rows})"
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for job, outcome, trigger, *sums in books.execute(rows):
        known = found.setdefault((job, outcome, trigger), dict.fromkeys(SUMS, 0.0))
        for name, value in zip(SUMS, sums, strict=True):
            known[name] += value
    return [Totals(*key, sums) for key, sums in found.items()]


def used_since(books: Ledger, job: str, since: float, key: str) -> float:
    """Return the sum of `key` of the usage of the runs of `job` that ended since then.

    Only these are read, since a job never runs twice at once: each has ended before the one that began after it.
    """
    rows = books.execute("SELECT ended, json_extract(usage, ?) FROM runs WHERE job = ? AND started IS NOT NULL "
                         "ORDER BY started DESC", (f"$.{key}", job))
    return float(sum(used or 0 for _, used in takewhile(lambda row: row[0] is None or row[0] >= since, rows)))
