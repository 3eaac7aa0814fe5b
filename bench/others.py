"""A job that another program writes into jobs.json: the time until systemd has armed it.

It is written as the agent does it: under its lock, into a new file that is then renamed.
"""

import fcntl
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.fires import add_idle_jobs
from bench.machine import installed
from bench.table import Row, per_size
from tests.conftest import wait_for
from tests.machine.sites import Site

TITLE = "A job written by another program, 10 / 1,000 / 10,000 jobs armed"
SIZES = (10, 1000, 10_000)
ROUNDS = 10
TOGETHER = 5


def rows() -> Iterator[Row]:
    alone: list[float] = []
    together: list[float] = []
    looks: list[float] = []
    with installed() as site:
        for size in SIZES:
            add_idle_jobs(site, size - TOGETHER)  # 10,000 may be armed
            alone.append(statistics.median(armed_after(site, 1) for _ in range(ROUNDS)))
            together.append(statistics.median(armed_after(site, TOGETHER) for _ in range(ROUNDS)))
            begun = time.perf_counter()
            site.armed("idle0")
            looks.append(time.perf_counter() - begun)
    beside = f"one look at its timer: {per_size([1000 * look for look in looks], 'ms')}"
    for what, took in (("until it is armed", alone), ("five within 0.1 s, until all are armed", together)):
        yield Row(what, per_size([1000 * each for each in took], "ms"), beside, "1 s")


def armed_after(site: Site, count: int) -> float:
    """Write `count` jobs, one after the other, and return how many seconds after the last one all are armed."""
    path = Path(f"/proc/{site.box.leader}/root{site.hermes}/cron/jobs.json")
    names = [f"{time.time_ns() + nth:x}"[-12:] for nth in range(count)]
    for name in names:
        change(path, lambda jobs, name=name: [*jobs, {**jobs[0], "id": name, "name": name, "next_run_at": None}])
        time.sleep(0.1 / count)
    begun = time.perf_counter()
    wait_for(lambda: all(site.armed(name) for name in names), 20)
    took = time.perf_counter() - begun
    change(path, lambda jobs: [job for job in jobs if job["id"] not in names])
    wait_for(lambda: not any(site.armed(name) for name in names), 20)
    site.wait_for_syncs()
    return took


def change(path: Path, by: Callable[[list[Any]], list[Any]]) -> None:
    """Change the jobs in the file `path` under the agent's lock, and keep the owner of the file."""
    with path.with_name(".jobs.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        owner = path.stat()
        new = path.with_name("jobs.json.new")
        new.write_text(json.dumps({"jobs": by(json.loads(path.read_bytes())["jobs"])}))
        new.chmod(0o600)
        os.chown(new, owner.st_uid, owner.st_gid)
        new.rename(path)
