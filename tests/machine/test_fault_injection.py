"""Some minutes of kills, stops, edits, torn files, full disks, a reboot and a power cut, judged by model.py.

OSCRON_CHAOS_SEED repeats what was injected, and OSCRON_CHAOS_SECONDS injects for longer.
"""

import contextlib
import os
import secrets
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.machine.box import Box
from tests.machine.chaos import Chaos
from tests.machine.model import judge
from tests.machine.sites import CrontabSite, Site, SystemSite, add_account, free_port

SECONDS = float(os.environ.get("OSCRON_CHAOS_SECONDS", 200))
JOBS = 30
HOMES = {"hermes": "/var/lib/hermes", "cora": "/home/cora"}


@pytest.fixture
def sites() -> Iterator[list[Site]]:
    """A machine of its own, on which systemd fires the jobs of one account and cron those of another."""
    with contextlib.closing(Box()) as box:
        for path in HOMES.values():
            box.mount(path, "256m")
        box.boot()
        box.run("useradd --system --user-group --home-dir /var/lib/hermes --shell /usr/sbin/nologin hermes")
        add_account(box, "cora")
        for user, path in HOMES.items():
            box.run(f"chown {user}: {path} && chmod 700 {path}")
        system = SystemSite(box, "hermes", free_port())
        system.install()
        crontab = CrontabSite(box, "cora", free_port())
        crontab.install()
        yield [system, crontab]


@pytest.mark.timeout(SECONDS + 600)
def test_injected_faults_cause_no_lost_doubled_or_misreported_run(sites: list[Site]) -> None:
    """Every due occurrence runs once, every end is recorded as it happened, each start of a script has one row in the
    ledger, and `doctor` reports nothing false."""
    seed = os.environ.get("OSCRON_CHAOS_SEED") or secrets.token_hex(4)
    print(f"OSCRON_CHAOS_SEED={seed}")
    chaos = Chaos(sites[0].box, sites, seed)
    chaos.prepare(JOBS)
    chaos.inject(SECONDS)
    tally: Counter[str] = Counter()
    wrong, stories = list(chaos.wrong), []
    for job_id, evidence in chaos.evidence().items():
        if found := judge(evidence, chaos.until, tally):
            wrong += found
            stories.append(chaos.story(evidence, job_id))
    print(f"{len(chaos.jobs)} jobs, {len(chaos.steps)} steps, {chaos.doctors} doctors, occurrences: {dict(tally)}")
    assert not wrong, "\n".join([f"seed {seed}", *wrong, "", *stories, "", *chaos.steps])
    assert tally["punctual"] > JOBS and tally["starts in the ledger"] > JOBS
    assert tally["late"] + tally["made up for"] and chaos.doctors > SECONDS / 10
