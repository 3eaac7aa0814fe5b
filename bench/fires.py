"""Daily script jobs due in one second: their lateness, and the CPU of the whole machine.

Beside them are bare systemd timers, and the least that a runner in Python needs: timers that start an empty Python in
the sandbox of the jobs, which becomes the script (execve(2)), and after it an ExecStopPost= that does nothing.
"""

import datetime
import shlex
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.machine import cpu_of, installed
from bench.table import Row
from tests.conftest import wait_for
from tests.machine.sites import Site

TITLE = "Many fires in one second"
FIRES_OF_JOBS = ((30, 1000), (300, 1000), (30, 10_000))
STAMPS = "/var/lib/stamps"
SETTLE_S, TIMEOUT_S = 8.0, 600.0
"""The time from the last run until all that follows from it is over, and the time for all runs."""


def rows() -> Iterator[Row]:
    for fires, jobs in FIRES_OF_JOBS:
        with installed() as site:
            site.box.run(f"mkdir -m 777 {STAMPS}")
            add_idle_jobs(site, jobs - fires)
            ours, ours_cpu = _fired(site, fires, _arm_ours)
            empty, empty_cpu = _fired(site, fires, arm_empty)
            bare, bare_cpu = _fired(site, fires, _arm_bare)
        yield Row(f"{fires} of {jobs:,} scripts in one second: late by, median / worst", _late(ours),
                  f"an empty Python in the sandbox: {_late(empty)}; bare timers: {_late(bare)}",
                  "0.5 / 0.9 s" if fires == 30 else "")
        yield Row("CPU of the whole machine for each of them", f"{1000 * ours_cpu / fires:.0f} ms",
                  f"an empty Python in the sandbox: {1000 * empty_cpu / fires:.0f} ms; "
                  f"bare timers: {1000 * bare_cpu / fires:.0f} ms", "60 ms")


def add_idle_jobs(site: Site, count: int) -> None:
    """Add `count` jobs that are not due during the benchmark, as an editor does, and wait until they are armed."""
    program = f"""import json
jobs = [{{"id": f"idle{{n}}", "name": f"idle{{n}}", "prompt": "x", "enabled": True,
          "schedule": {{"kind": "cron", "expr": f"{{n % 60}} {{n // 60 % 24}} 29 2 *", "display": "x"}}}}
        for n in range({count})]
json.dump({{"jobs": jobs}}, open("jobs.json.new", "w"))"""
    site.run(f"cd {shlex.quote(site.hermes)}/cron && python3 -c {shlex.quote(program)} && mv jobs.json.new jobs.json")
    wait_for(lambda: len(site.armed_timers()) >= count, 300)
    site.wait_for_syncs()


def _fired(site: Site, fires: int, arm: Callable[[Site, int, datetime.datetime], None]) -> tuple[list[float], float]:
    """Arm what stamps a file at its fire; return by how many seconds each was late, and the CPU seconds of all.

    The CPU is that of the machine from just before the due second until all is over, less that of as long a time
    without a fire.
    """
    before = cpu_of(site.box)
    time.sleep(SETTLE_S)
    idle = (cpu_of(site.box) - before) / SETTLE_S
    soonest = datetime.datetime.now().astimezone() + datetime.timedelta(seconds=20 + fires // 6)
    due = soonest.replace(second=0, microsecond=0) + datetime.timedelta(minutes=1)
    arm(site, fires, due)
    site.wait_for_syncs()
    assert time.time() < due.timestamp() - 1, "it took too long to arm them"
    time.sleep(due.timestamp() - 0.5 - time.time())
    before, began = cpu_of(site.box), time.time()
    wait_for(lambda: len(list(Path(f"/proc/{site.box.leader}/root{STAMPS}").iterdir())) == fires, TIMEOUT_S)
    time.sleep(SETTLE_S)
    used = cpu_of(site.box) - before - idle * (time.time() - began)
    stamps = site.box.run(f"cat {STAMPS}/*; rm {STAMPS}/*").stdout.split()
    return [float(stamp) - due.timestamp() for stamp in stamps], used


def _arm_ours(site: Site, fires: int, due: datetime.datetime) -> None:
    script = site.script("stamp.sh", f"date +%s.%N >{STAMPS}/ours-$PPID")
    for _ in range(fires):
        site.api.create(prompt="", no_agent=True, script=script, schedule=f"{due:%M %H} * * *")


def arm_empty(site: Site, fires: int, due: datetime.datetime) -> None:
    """Arm timers of a SystemSite that start an empty Python in the sandbox of the jobs, which becomes the script."""
    script = f"date +%s.%N >{STAMPS}/empty-$$"
    execute = f"import os; os.execvp('bash', ['bash', '-c', '{script}'])"
    site.box.put("/run/systemd/system/empty@.timer", f"""[Timer]
OnCalendar={due.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC
AccuracySec=1us
""")
    site.box.put("/run/systemd/system/empty@.service", f"""[Service]
Type=exec
User={site.user}
ExecStart="{site.prefix}/current/bin/python" -I -c "{execute.replace('%', '%%').replace('$', '$$')}"
ExecStopPost=/bin/true
""")
    site.box.run(f"cd /run/systemd/system; mkdir -p empty@.service.d; "
                 f"cp {site.settings_dir}/hermes-job@.service.d/account.conf empty@.service.d; "
                 f"systemctl daemon-reload; systemctl restart $(seq -f empty@%.0f.timer {fires})")


def _arm_bare(site: Site, fires: int, due: datetime.datetime) -> None:
    site.box.run(f"for n in $(seq {fires}); do systemd-run --quiet --unit=bare$n --timer-property=AccuracySec=1us "
                 f"--on-calendar='{due:%Y-%m-%d %H:%M:%S} UTC' sh -c \"date +%s.%N >{STAMPS}/bare-$n\"; done")


def _late(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} / {max(seconds):.2f} s"
