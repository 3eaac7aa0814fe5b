"""Runs that were missed while a machine was off, on one that starts without a network."""

import contextlib
import datetime
import time

from hermes_oscron.runner.begin import CAUGHT_UP_S
from tests.conftest import wait_for
from tests.machine.box import Box
from tests.machine.sites import SystemSite, free_port, sleep_until, soon


def test_a_missed_prompt_waits_for_the_network_and_a_missed_script_does_not() -> None:
    with contextlib.closing(Box()) as box:
        box.boot()
        site = SystemSite(box, "hermes", free_port())
        site.install()
        due = soon(30)
        prompt = site.api.create(prompt="summarise", name="mail", schedule=due)["id"]
        script = site.create("echo ran", schedule=due)["id"]
        later = site.api.create(prompt="say so", name="later", schedule="0 0 1 1 *")["id"]
        box.cut_power()
        assert datetime.datetime.fromisoformat(due).timestamp() > time.time(), "the jobs may have run already"
        sleep_until(due)
        time.sleep(CAUGHT_UP_S)  # a machine may boot in less, and then the runs are not late
        box.boot("--private-network")
        wait_for(lambda: "ran" in site.outputs(script), 20)
        said = wait_for(lambda: "waits up to 90 s" in site.journal(prompt) and site.journal(prompt), 20)
        assert f"mail ({prompt}): missed while the machine was off or asleep; waits up to 90 s for the network" in said
        site.oscron(f"run {later}")
        wait_for(lambda: "say so" in site.outputs(later), 20)
        time.sleep(2)
        assert site.outputs(prompt) == "" and "waits" not in site.journal(script) + site.journal(later)
        box.run("ip link set lo up; ip route add default dev lo")
        wait_for(lambda: "summarise" in site.outputs(prompt), 20)
        story = site.journal(prompt)
        assert story.index("waits up to") < story.index("the network is there after") < story.index("succeeded")
        assert site.stored_jobs()[0]["last_status"] == "ok"
