"""The timekeeper moves between two machines with one home, by Pacemaker and the recipe of docs/cluster.md."""

import contextlib
import datetime
import json
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.failover import Pair
from tests.machine.sites import SystemSite, soon

pytestmark = pytest.mark.skipif(not shutil.which("crm"), reason="Pacemaker, Corosync and crmsh are not installed")


@pytest.fixture(scope="module")
def started() -> Iterator[Pair]:
    with contextlib.closing(Pair()) as pair:
        pair.start()
        yield pair


@pytest.fixture
def pair(started: Pair) -> Pair:
    """Both machines are members, and no job has run."""
    active, _ = started.wait_until_complete()
    started.run(active, "rm -f ~hermes/ran ~hermes/began ~hermes/go")
    return started


def assert_complete(pair: Pair, active: str, passive: str) -> None:
    """Wait until both are members; only the `active` one has timers, and the ledger has each occurrence."""
    assert pair.wait_until_complete() == (active, passive)
    assert not pair.sites[active].audit()
    assert not pair.sites[passive].armed_timers()
    status, told = pair.sites[passive].doctor()
    assert status == 2 and f"Nothing fires on this machine: {active} fires the jobs of " in told


def create(site: SystemSite, name: str, schedule: str, script: str = "hostname >>~/ran") -> None:
    """Create the job `name`, which runs `script`."""
    site.script(f"{name}.sh", f"{script}\n")
    site.oscron(f"create '{schedule}' --name {name} --no-agent --script {name}.sh")


def ran(site: SystemSite) -> list[str]:
    """Return the names of the machines on which a job has run, the first one first."""
    return str(site.run("cat ~/ran", check=False).stdout).split()


def outcomes(site: SystemSite, name: str) -> list[Any]:
    """Return the outcomes of the runs of the job `name`."""
    return [run["outcome"] for run in json.loads(site.oscron(f"runs --json {name}"))]


def test_after_a_power_cut_the_other_machine_fires_the_jobs_and_runs_the_missed_one_once(pair: Pair) -> None:
    active, other = pair.wait_until_complete()
    before, after = pair.sites[active], pair.sites[other]
    create(before, "long", "0 0 1 1 *", "touch ~/began; sleep 600")
    before.oscron("run long")
    wait_for(lambda: before.run("ls ~/began", check=False).stdout)
    due = soon(5)
    create(before, "missed", due)
    pair.cut_power(active)
    assert time.time() < datetime.datetime.fromisoformat(due).timestamp(), "the job may have run already"
    pair.wait_for_fencing(active)
    wait_for(lambda: ran(after) == [other], 30)
    wait_for(lambda: outcomes(after, "long") == ["interrupted"])
    wait_for(lambda: pair.resources(other).get("timekeeper") == other)
    create(after, "next", soon(2))
    wait_for(lambda: ran(after) == [other, other])
    pair.boot(active)
    assert_complete(pair, active=other, passive=active)
    assert ran(after) == [other, other]


def test_a_loss_of_the_network_ends_the_passive_machine_alone(pair: Pair) -> None:
    active, passive = pair.wait_until_complete()
    pair.connect("down")
    wait_for(lambda: pair.is_to_be_fenced(passive), 30)
    time.sleep(2)  # a real device needs some time, in which the passive machine must not ask for the same
    assert not pair.is_to_be_fenced(active)
    pair.wait_for_fencing(passive)
    create(pair.sites[active], "alone", soon(2))
    wait_for(lambda: ran(pair.sites[active]) == [active])
    pair.boot(passive)
    pair.connect("up")
    assert_complete(pair, active, passive)
    assert ran(pair.sites[active]) == [active]


def test_a_planned_move_leaves_a_run_in_progress_alone(pair: Pair) -> None:
    active, other = pair.wait_until_complete()
    create(pair.sites[active], "slow", "0 0 1 1 *", "until [ -e ~/go ]; do sleep 0.1; done; hostname >>~/ran")
    pair.sites[active].oscron("run slow")
    standby = pair.command("crm_standby").replace("t1", active)
    pair.run(active, standby)
    wait_for(lambda: pair.resources(active).get("timekeeper") == other, 30)
    create(pair.sites[other], "moved", soon(2))
    wait_for(lambda: ran(pair.sites[other]) == [other])
    pair.sites[other].run("touch ~/go")
    wait_for(lambda: ran(pair.sites[other]) == [other, active])
    wait_for(lambda: outcomes(pair.sites[other], "slow") == ["ok"])
    pair.run(active, standby.replace("--update on", "--update off"))
    assert_complete(pair, active=other, passive=active)
