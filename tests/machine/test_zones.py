"""Time zones on a booted machine: our computed times, the elapses of systemd, and the errors if they differ."""

import contextlib
import datetime
import json
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest

from tests.conftest import wait_for
from tests.machine.box import INSIDE, Box
from tests.machine.sites import Site

WELL = (0, "OK: no problems found.")
DAILY = "0 9 * * *"


@contextlib.contextmanager
def changed_zone(machine: Box, commands: str) -> Iterator[None]:
    """Change the zone of `machine` by `commands`, and restore it after the block."""
    machine.run("cp -a /etc/localtime /run/localtime.kept; cp -a /etc/timezone /run/timezone.kept")
    machine.run(commands)
    try:
        yield
    finally:
        machine.run("rm -f /etc/localtime /etc/timezone; mv /run/localtime.kept /etc/localtime; "
                    "mv /run/timezone.kept /etc/timezone")


def due(job: dict[str, str]) -> datetime.datetime:
    return datetime.datetime.fromisoformat(job["next_run_at"])


def doctor_result(site: Site) -> tuple[int, str]:
    status, told = site.doctor()
    return status, told.splitlines()[-1]


@pytest.mark.parametrize("commands", [
    "rm -f /etc/localtime /etc/timezone; cp /usr/share/zoneinfo/Asia/Tokyo /etc/localtime",
    "rm -f /etc/localtime; cp /usr/share/zoneinfo/Asia/Tokyo /etc/localtime; echo Etc/UTC >/etc/timezone",
    # the content is of no zone of this machine, as after a change of tzdata
    f"rm -f /etc/localtime; cp {INSIDE}/.venv/lib/python3*/site-packages/tzdata/zoneinfo/Asia/Tokyo /etc/localtime"])
def test_a_job_fires_when_it_is_due_where_localtime_is_a_copy(site: Site, commands: str) -> None:
    with changed_zone(site.box, commands):
        offset = datetime.timedelta(hours=9)
        daily = json.loads(site.oscron(f"create '{DAILY}' x --json"))
        assert due(daily).utcoffset() == offset and due(daily).hour == 9
        assert site.next_fire(daily["id"]) == due(daily)
        soon = datetime.datetime.now(datetime.UTC) + offset + datetime.timedelta(minutes=1)
        script = site.script("soon.sh", "echo fired")
        job = json.loads(site.oscron(f"create '{soon.minute} {soon.hour} * * *' --no-agent --script {script} --json"))
        assert doctor_result(site) == WELL
        with site.unwatched():  # no regular sync makes up for it
            wait_for(lambda: "fired" in site.outputs(job["id"]), 70)
        site.clear()


def test_a_zone_whose_name_systemd_does_not_know_is_armed_by_another_name(site: Site) -> None:
    """As US/Eastern on Debian 13 and Ubuntu 24.04 without tzdata-legacy."""
    site.box.run("mv /usr/share/zoneinfo/US /usr/share/zoneinfo.US")
    site.put(f"{site.hermes}/.env", "HERMES_TIMEZONE=US/Eastern\n")
    try:
        job = json.loads(site.oscron(f"create '{DAILY}' x --json"))
        assert due(job).astimezone(ZoneInfo("America/New_York")).hour == 9
        assert site.next_fire(job["id"]) == due(job)
        assert doctor_result(site) == WELL
        site.clear()
    finally:
        site.run(f"rm -f {site.hermes}/.env")
        site.box.run("mv /usr/share/zoneinfo.US /usr/share/zoneinfo/US")


def test_the_zone_of_a_terminal_does_not_count_in_a_system_installation(sites: dict[str, Site]) -> None:
    """The services do not have the variable: the next sync would arm the job in another zone."""
    site = sites["hermes"]
    site.run(f"HERMES_TIMEZONE=Asia/Tokyo {site.bin}/hermes-oscron create '{DAILY}' x")
    [job] = site.stored_jobs()
    before = site.next_fire(job["id"])
    assert before == datetime.datetime.fromisoformat(job["next_run_at"]) and before.hour == 9
    site.oscron("sync")
    assert site.next_fire(job["id"]) == before
    site.clear()


def test_a_timer_that_elapses_at_another_time_is_reported_by_doctor(site: Site) -> None:
    job_id = site.create(schedule=DAILY)["id"]
    timer = f"hermes-job@default:{job_id}.timer"
    dropin = f"{site.settings_dir}/{timer}.d"
    with site.unwatched():
        site.administer(f"mkdir -p {dropin}; printf '[Timer]\\nOnCalendar=\\nOnCalendar=10:00\\n' >{dropin}/later.conf")
        site.systemctl("daemon-reload")
        site.systemctl(f"restart {timer}")
        try:
            status, told = site.doctor()
            assert status != 0
            assert f"WRONG: default:{job_id}: systemd would fire it at " in told
            assert " 10:00:00 +0000, but it is due at " in told and " 09:00:00 +0000." in told
            change = site.run(f"{site.bin}/hermes-oscron update {job_id} --schedule '30 9 * * *'", check=False)
            assert change.returncode == 1 and " 10:00:00 +0000, but it is due at " in change.stderr
            status, answer = site.api.call("POST", "/api/crons/update", {"job_id": job_id, "schedule": "30 9 * * *"})
            assert status == 503 and " 10:00:00 +0000, but it is due at " in answer["error"]
            assert [job["schedule"]["expr"] for job in site.stored_jobs()] == [DAILY]
        finally:
            site.administer(f"rm -r {dropin}")
            site.systemctl("daemon-reload")
        site.oscron("sync")
    assert doctor_result(site) == WELL
