"""Script jobs that are due in one second, beside bare systemd timers: their lateness, and the CPU of the whole machine.

    python -m bench.fires [FIRES [JOBS]]    # FIRES of JOBS armed jobs are due (30 of 1000)

The CPU is that of the host, less what it uses in the same time without a fire: run it on a quiet machine.
"""

import datetime
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.idle import TICKS_PER_S
from bench.machine import installed
from tests.conftest import wait_for
from tests.machine.sites import Site

STAMPS = "/var/lib/stamps"
SETTLE_S = 8.0
"""The time from the due second until everything that follows from it is over."""


def main() -> None:
    fires, jobs = (int(argument) for argument in (*sys.argv[1:], "30", "1000")[:2])
    with installed() as site:
        site.box.run(f"mkdir -m 777 {STAMPS}")
        site.run_prompts()
        add_idle_jobs(site, jobs - fires)
        script = site.script("stamp.sh", f"date +%s.%N >{STAMPS}/ours-$PPID")
        idle = busy_s(lambda: time.sleep(SETTLE_S))
        for name, arm in (("hermes-job@ timer, runner, script", lambda due: arm_ours(site, fires, script, due)),
                          ("bare timer, script", lambda due: arm_bare(site, fires, due))):
            now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
            due = now + datetime.timedelta(seconds=fires // 5 + 20)
            arm(due)
            site.wait_for_syncs()
            wait_for(lambda due=due: time.time() > due.timestamp() - 0.5, 120)
            used = busy_s(lambda due=due: time.sleep(due.timestamp() + SETTLE_S - 0.5 - time.time()))
            stamps = site.box.run(f"cat {STAMPS}/*; rm {STAMPS}/*").stdout.split()
            late = [1000 * (float(stamp) - due.timestamp()) for stamp in stamps]
            assert len(late) == fires, f"{len(late)} of {fires} have run"
            print(f"{name:<36} late: median {statistics.median(late):7.1f} ms, worst {max(late):7.1f} ms   "
                  f"CPU of a fire: {1000 * (used - idle) / fires:6.1f} ms", flush=True)


def add_idle_jobs(site: Site, count: int) -> None:
    """Add `count` jobs that are not due during the benchmark, as an editor does, and wait until they are armed."""
    program = f"""import json
jobs = [{{"id": f"idle{{n}}", "name": f"idle{{n}}", "prompt": "x", "enabled": True,
          "schedule": {{"kind": "cron", "expr": f"{{n % 60}} {{n // 60 % 24}} 29 2 *", "display": "x"}}}}
        for n in range({count})]
json.dump({{"jobs": jobs}}, open("jobs.json.new", "w"))"""
    site.run(f"cd {shlex.quote(site.hermes)}/cron && python3 -c {shlex.quote(program)} && mv jobs.json.new jobs.json")
    wait_for(lambda: len(site.armed_timers()) == count, 120)


def arm_ours(site: Site, fires: int, script: str, due: datetime.datetime) -> None:
    for _ in range(fires):
        site.api.create(prompt="", no_agent=True, script=script, schedule=due.isoformat())


def arm_bare(site: Site, fires: int, due: datetime.datetime) -> None:
    for n in range(fires):
        program = f"date +%s.%N >{STAMPS}/bare-{n}"
        site.box.run(f"systemd-run --quiet --unit=bare{n} --timer-property=AccuracySec=1us "
                     f"--on-calendar='{due:%Y-%m-%d %H:%M:%S} UTC' sh -c {shlex.quote(program)}")


def busy_s(wait: Callable[[], object]) -> float:
    """Return the CPU seconds that the host uses during `wait`."""
    before = _busy_ticks()
    wait()
    return (_busy_ticks() - before) / TICKS_PER_S


def _busy_ticks() -> int:
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
    return user + nice + system + irq + softirq


if __name__ == "__main__":
    main()
