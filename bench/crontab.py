"""Measure create and delete over HTTP with 10 and 1,000 jobs in a real crontab, beside `crontab -l | crontab -`.

And what a fire costs that is not due, beside an empty Python.
"""

import statistics
import time
from collections.abc import Iterator
from typing import Any

from bench.machine import installed
from bench.table import Row, per_size
from bench.verbs import ROUNDS, fill
from tests.machine.sites import CrontabSite, Site

TITLE = "A crontab, with 10 / 1,000 lines"
SIZES = (10, 1000)
BARE = "crontab -l | crontab -"
PYTHON = ".local/share/hermes-oscron/current/bin/python"


def timed_inside(site: Site, command: str) -> float:
    """Return the median time of the shell `command` in the machine, in ms."""
    took = site.run(f"for i in $(seq {ROUNDS}); do a=$(date +%s%N); {command}; b=$(date +%s%N); "
                        "echo $((b - a)); done")
    return statistics.median(int(nanoseconds) / 1e6 for nanoseconds in took.stdout.split())


def rows() -> Iterator[Row]:
    with installed(CrontabSite) as site:
        far = site.create(schedule="0 9 1 1 *")["id"]
        costs: dict[int, dict[str, float]] = {}
        for size in SIZES:
            fill(site, size)
            taken: dict[str, list[float]] = {"create": [], "delete": []}

            def timed(verb: str, body: object, taken: dict[str, list[float]] = taken) -> Any:
                while time.time() % 60 < 6:  # a change may wait for cron's own reading of crontabs
                    time.sleep(0.5)
                begun = time.perf_counter()
                answer = site.api.post(f"/api/crons/{verb}", body)
                taken[verb].append(1000 * (time.perf_counter() - begun))
                return answer

            for _ in range(ROUNDS):
                job_id = timed("create", {"prompt": "x", "schedule": "30 8 * * 1,3"})["job"]["id"]
                timed("delete", {"job_id": job_id})
            costs[size] = {verb: statistics.median(times) for verb, times in taken.items()}
            costs[size][BARE] = timed_inside(site, BARE)
        fire = timed_inside(site, f"{site.hermes}/cron/oscron/bin/hermes-cron-exec default:{far}")
        empty = timed_inside(site, f"{site.home}/{PYTHON} -c pass")
    bare = per_size([costs[size][BARE] for size in SIZES], "ms")
    for verb in ("create", "delete"):
        yield Row(f"{verb} over HTTP", per_size([costs[size][verb] for size in SIZES], "ms"), f"`{BARE}`: {bare}")
    yield Row("a fire that is not due", f"{fire:.0f} ms", f"an empty Python: {empty:.0f} ms")
