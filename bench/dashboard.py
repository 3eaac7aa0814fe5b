"""The dashboard: the time on the server for the overview of many jobs with many runs, and the sizes of the pages."""

import http.client
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.listing import call
from bench.table import Row
from hermes_oscron.hermes.home import home_of
from hermes_oscron.runs import ledger
from tests.conftest import start_server

TITLE = "The dashboard"
JOBS, RUNS, LOOKS = 1000, 100_000, 15
PAGES = (("/", "100 ms"), ("/?hours=168", ""), ("/?hours=1", ""), ("/?text=job+77", ""), ("/?shown=failing", ""),
         ("/jobs/default/job7", ""), ("/jobs/new", ""))


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HERMES_HOME"] = folder
        _write(Path(folder))
        process, url = start_server("--scheduler", "foreground", log=Path(folder, "log"))
        try:
            token = Path(folder, "cron/oscron/token").read_text().strip()
            connection = http.client.HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]))
            for path, target in PAGES:
                times, size = [], 0
                for _ in range(LOOKS):
                    began = time.perf_counter()
                    size = len(call(connection, token, "GET", path))
                    times.append(1000 * (time.perf_counter() - began))
                yield Row(f"`GET {path}` at {JOBS:,} jobs and {RUNS:,} runs", f"{statistics.median(times):.0f} ms",
                          f"first: {times[0]:.0f} ms; {size // 1024} KiB", target)
        finally:
            process.terminate()
            process.wait()


def _write(root: Path) -> None:
    """Write hourly jobs and a ledger in which a hundredth of the runs failed."""
    choose = random.Random(1)
    (root / "cron").mkdir()
    records = [{"id": f"job{n}", "name": f"job {n}", "prompt": "say hello", "deliver": "local", "enabled": True,
                "state": "scheduled", "schedule": {"kind": "cron", "expr": f"{n % 60} * * * *", "display": "x"}}
               for n in range(JOBS)]
    (root / "cron" / "jobs.json").write_text(json.dumps({"jobs": records}))
    now = time.time() // 3600 * 3600
    with ledger.writing(home_of(str(root), "default")) as books:
        books.executemany(
            "INSERT INTO runs (job, name, trigger, due, started, ended, outcome, reason, exit_code, seq) "
            "VALUES (?, ?, 'schedule', ?, ?, ?, ?, ?, ?, ?)",
            (_run(n, choose, now) for n in range(RUNS)))


def _run(n: int, choose: random.Random, now: float) -> tuple[object, ...]:
    job, number = n % JOBS, n // JOBS
    due = now - 3600 * (number + 1) + job % 60 * 60
    failed = choose.random() < 0.01
    return (f"job{job}", f"job {job}", due, due + 0.2, due + choose.uniform(1, 600), "error" if failed else "ok",
            "exited with code 1: no route to host" if failed else None, int(failed), n + 1)
