"""Measure each command over HTTP with 10, 1,000 and 5,000 jobs armed by a real systemd, beside a bare start."""

import json
import statistics
import time
from typing import Any

from bench.machine import installed
from tests.machine.sites import Site

SIZES = (10, 1000, 5000)
ROUNDS = 15


def fill(site: Site, size: int) -> None:
    """Bring the number of armed jobs to `size`, as an edit of jobs.json would, and sync."""
    path = f"{site.hermes}/cron/jobs.json"
    jobs = site.stored_jobs()
    jobs += [{**jobs[0], "id": f"{number:012x}", "name": f"job {number}", "next_run_at": None}
             for number in range(len(jobs), size)]
    site.box.put_bytes(path, json.dumps({"jobs": jobs}).encode())
    begun = time.perf_counter()
    site.oscron("sync")
    print(f"{size:>6} jobs: sync {time.perf_counter() - begun:.1f} s, ", end="")
    begun = time.perf_counter()
    site.oscron("sync")
    print(f"again with nothing to do {time.perf_counter() - begun:.1f} s")


def bare_starts(site: Site) -> list[float]:
    """Return how long systemctl takes to start a new timer that is not of hermes-oscron, in ms."""
    took = site.box.run(
        f"cd /run/systemd/system; for i in $(seq {ROUNDS}); do "
        "printf '[Timer]\\nOnCalendar=yearly\\nUnit=basic.target\\n' >bare$i.timer; "
        "a=$(date +%s%N); systemctl start bare$i.timer; b=$(date +%s%N); echo $((b - a)); "
        "systemctl stop bare$i.timer; rm bare$i.timer; done").stdout
    return [int(nanoseconds) / 1e6 for nanoseconds in took.split()]


def main() -> None:
    with installed() as site:
        site.create(schedule="0 9 * * *")
        costs: dict[int, dict[str, float]] = {}
        for size in SIZES:
            fill(site, size)
            site.create(schedule="0 9 * * *")
            taken: dict[str, list[float]] = {}

            def timed(verb: str, body: object, taken: dict[str, list[float]] = taken) -> Any:
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
            costs[size] = {verb: statistics.median(times) for verb, times in taken.items()}
            costs[size]["systemctl start"] = statistics.median(bare_starts(site))
        print(f"{'ms':<16}" + "".join(f"{size:>9}" for size in SIZES) + "   largest to smallest")
        for verb in costs[SIZES[0]]:
            row = [costs[size][verb] for size in SIZES]
            print(f"{verb:<16}" + "".join(f"{ms:9.1f}" for ms in row) + f"   {row[-1] / row[0]:.1f}")


if __name__ == "__main__":
    main()
