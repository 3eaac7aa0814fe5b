"""Each command over HTTP with 10, 1,000 and 10,000 jobs armed by systemd, beside the bare start of a new timer.

Each is measured once more while systemd does not watch jobs.json. It notices the commands' own changes too, and the
start of the unit that compares them delays what a command arms.
"""

import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

from bench.fires import add_idle_jobs
from bench.machine import installed
from bench.table import Row, per_size
from tests.machine.sites import Site, SystemSite

TITLE = "Commands over HTTP, 10 / 1,000 / 10,000 jobs armed"
SIZES = (10, 1000, 10_000)
ROUNDS = 12
PAUSE_S = 0.5
"""Between single commands: what follows from the one before is over."""
VERBS = ("create", "update", "pause", "resume", "delete")
BARE = "bare"
WATCH = "hermes-oscron-changed.path"


def rows() -> Iterator[Row]:
    for kind, name in ((SystemSite, "root's installation"), (Site, "a user's installation")):
        single: list[dict[str, float]] = []
        in_a_row: list[dict[str, float]] = []
        unwatched: list[dict[str, float]] = []
        with installed(kind) as site:
            for size in SIZES:
                add_idle_jobs(site, size - 1)  # the job of the commands is the last one; 10,000 may be armed
                commands(site, 0.0)  # the helper of root and the caches of systemd are warm, as after any command
                single.append(commands(site, PAUSE_S))
                in_a_row.append(commands(site, 0.0))
                site.systemctl(f"stop {WATCH}")
                unwatched.append(commands(site, PAUSE_S))
                site.systemctl(f"start {WATCH}")
        for verb in VERBS:
            for way, costs in ((verb, single), (f"{verb}, back to back", in_a_row)):
                more = f"; unwatched: {per_size([cost[verb] for cost in unwatched], 'ms')}" if costs is single else ""
                yield Row(f"{way}, {name}", per_size([cost[verb] for cost in costs], "ms"),
                          f"`systemctl start` of a new timer: {per_size([cost[BARE] for cost in costs], 'ms')}{more}",
                          "30 ms more than it")


def commands(site: Site, pause_s: float) -> dict[str, float]:
    """Return the median times of the commands in ms, and of bare starts between them."""
    taken: dict[str, list[float]] = {}

    def timed(verb: str, body: object) -> Any:
        time.sleep(pause_s)
        begun = time.perf_counter()
        answer = site.api.post(f"/api/crons/{verb}", body)
        taken.setdefault(verb, []).append(1000 * (time.perf_counter() - begun))
        return answer

    for _ in range(ROUNDS):
        job_id = timed("create", {"prompt": "x", "schedule": "30 8 * * 1,3"})["job"]["id"]
        timed("update", {"job_id": job_id, "schedule": "45 8 * * 1,3"})
        timed("pause", {"job_id": job_id})
        timed("resume", {"job_id": job_id})
        timed("delete", {"job_id": job_id})
        time.sleep(pause_s)
        taken.setdefault(BARE, []).append(bare_start(site))
    return {name: statistics.median(times) for name, times in taken.items()}


def bare_start(site: Site) -> float:
    """Return how long systemctl takes to start a new timer that is not of hermes-oscron, in ms."""
    took = site.administer(
        f"cd {site.unit_dir}; printf '[Timer]\\nOnCalendar=yearly\\nUnit=basic.target\\n' >bare.timer; "
        f"a=$(date +%s%N); systemctl {site.manager} start bare.timer; b=$(date +%s%N); echo $((b - a)); "
        f"systemctl {site.manager} stop bare.timer; rm bare.timer").stdout
    return int(took) / 1e6


def fill(site: Site, size: int) -> None:
    """Bring the number of armed jobs to `size`, as an edit of jobs.json would, and sync."""
    jobs = site.stored_jobs()
    jobs += [{**jobs[0], "id": f"{number:012x}", "name": f"job {number}", "next_run_at": None}
             for number in range(len(jobs), size)]
    site.box.put_bytes(f"{site.hermes}/cron/jobs.json", json.dumps({"jobs": jobs}).encode())
    site.oscron("sync")
