"""On a booted machine with an agent, jobs and their scripts behave as under Hermes: zone, environment, output."""

import datetime
import json
from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.machine.agents import AGENT, PATH
from tests.machine.box import Box
from tests.machine.sites import Site, add_account, free_port

PYTHON = f"{AGENT}/python"
TOKEN = "sk-abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture(scope="module")
def installed(machine: Box) -> Site:
    """Return an installation for `ursa`, where the agent is on the PATH."""
    add_account(machine, "ursa")
    site = Site(machine, "ursa", free_port(), PATH=PATH)
    site.install()
    return site


@pytest.fixture
def site(installed: Site) -> Iterator[Site]:
    yield installed
    installed.run(f"rm -f {installed.hermes}/.env {installed.hermes}/cron/runtime.db")
    installed.clear()


def test_a_script_has_env_file_and_agent_s_python_and_its_secrets_reach_no_log(site: Site) -> None:
    site.put(f"{site.hermes}/.env", f"SHOP_TOKEN={TOKEN}\nOPENAI_API_KEY=of-the-agent\n")
    name = site.script("seen.py", "import os, sys\nimport dotenv\nprint('shop', os.environ['SHOP_TOKEN'])\n"
                                  "print('key', os.environ.get('OPENAI_API_KEY'))\nprint(sys.executable)\n")
    job_id = site.api.create(schedule=site.soon(4), no_agent=True, script=name)["id"]
    page = wait_for(lambda: site.outputs(job_id), 40)
    journal = site.journal(job_id)
    for text in (page, journal):
        assert "shop sk-abc" in text and "key None" in text and PYTHON in text
        assert TOKEN not in text


def test_a_zone_in_env_file_moves_the_timer_and_doctor_names_it(site: Site) -> None:
    job = site.create(schedule="0 9 * * *")
    site.put(f"{site.hermes}/.env", "HERMES_TIMEZONE=Asia/Tokyo\n")

    def fires_at_nine_in_tokyo() -> bool:
        due = site.next_fire(job["id"])
        return due is not None and due.astimezone(datetime.timezone(datetime.timedelta(hours=9))).hour == 9

    wait_for(fires_at_nine_in_tokyo, 20)
    assert f"times without a zone are in Asia/Tokyo (HERMES_TIMEZONE in {site.hermes}/.env)." in site.doctor()[1]
    assert site.doctor()[0] == 0


def test_doctor_names_the_path_of_the_installation_and_the_agent_s_python(site: Site) -> None:
    shown = site.doctor()[1]
    assert f"PATH is {PATH} (the installation)." in shown
    assert f"Python scripts run with {PYTHON}" in shown and "(the agent's)." in shown


def test_a_tz_of_a_shell_moves_no_timer(site: Site) -> None:
    job = site.create(schedule="0 9 * * *")
    before = site.next_fire(job["id"])
    site.run(f"env TZ=Pacific/Auckland {site.bin}/hermes-oscron sync")
    assert site.next_fire(job["id"]) == before


def test_with_a_runtime_db_nothing_runs_and_every_command_gives_the_reason(site: Site) -> None:
    job_id = site.create("date >> ran", schedule=site.soon(6))["id"]
    before = json.dumps(site.stored_jobs())
    site.put(f"{site.hermes}/cron/runtime.db", "")
    wait_for(lambda: "keeps the state of its jobs" in site.journal(job_id), 30)
    assert json.dumps(site.stored_jobs()) == before
    status, shown = site.doctor()
    assert status == 2 and "keeps the state of its jobs" in shown
    site.run(f"rm {site.hermes}/cron/runtime.db")
    site.wait_for_syncs()
    site.oscron("sync")
    wait_for(lambda: site.outputs(job_id), 30)
