"""Faults of a machine around hermes-oscron; when it works again, one sync repairs everything."""

import random
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.sites import Site


def assert_one_sync_is_enough(site: Site, jobs: list[Any]) -> None:
    """Assert that after one sync doctor finds no problem, and exactly `jobs` are armed."""
    site.oscron("sync")
    assert site.armed_timers() == {f"hermes-job@default:{job['id']}.timer" for job in jobs}
    assert "OK: no problems found." in site.doctor()[1]


def refusal(site: Site, path: str, body: Any) -> str:
    """Return the error that the API answers to a POST that cannot be done now."""
    status, answer = site.api.call("POST", path, body)
    assert status == 503, (status, answer)
    return str(answer["error"])


@pytest.fixture
def system(sites: dict[str, Site]) -> Any:
    yield sites["hermes"]
    sites["hermes"].clear()


def test_without_root_s_helper_commands_change_nothing_and_armed_jobs_fire(system: Site) -> None:
    job = system.create(schedule="0 9 * * *")
    soon = system.create("echo fired", schedule=system.soon(6))
    system.systemctl("stop hermes-oscron-root.socket")
    try:
        for path, body in (("create", {"prompt": "x", "schedule": "every 2h"}), ("delete", {"job_id": job["id"]}),
                           ("pause", {"job_id": job["id"]})):
            assert "systemctl restart hermes-oscron-root.socket" in refusal(system, f"/api/crons/{path}", body), path
        assert {each["id"] for each in system.stored_jobs()} == {job["id"], soon["id"]}
        assert system.api.get("/api/crons")["cron_unavailable"]
        status, told = system.doctor()
        assert status == 2 and "hermes-oscron-root.socket" in told
        wait_for(lambda: "fired" in system.outputs(soon["id"]), 20)
    finally:
        system.systemctl("start hermes-oscron-root.socket")
    assert_one_sync_is_enough(system, [job])


def test_without_the_bus_commands_change_nothing_and_armed_jobs_fire(system: Site) -> None:
    job = system.create(schedule="0 9 * * *")
    soon = system.create("echo fired", schedule=system.soon(6))
    system.box.run("systemctl stop dbus.socket dbus.service")
    try:
        answers = [system.api.call("POST", "/api/crons/create", {"prompt": "x", "schedule": "every 2h"}),
                   system.api.call("POST", "/api/crons/pause", {"job_id": job["id"]})]
        assert all(status in (200, 503) for status, _ in answers), answers
        wait_for(lambda: system.api.job(soon["id"])["state"] == "completed", 20)
    finally:
        system.box.run("systemctl start dbus.socket dbus.service")
    jobs = [each for each in system.api.get("/api/crons")["jobs"] if each["state"] == "scheduled"]
    assert_one_sync_is_enough(system, jobs)


def test_a_missing_user_manager_is_an_error_that_names_it(sites: dict[str, Site]) -> None:
    ada = sites["ada"]
    job = ada.create(schedule="0 9 * * *")
    uid = ada.run("id -u").stdout.strip()
    ada.box.run(f"systemctl stop user@{uid}.service")
    script = ada.script("x.sh", "echo")
    told = ada.run(f"{ada.bin}/hermes-oscron create --no-agent --script {script} 'every 2h'", check=False)
    assert told.returncode == 1 and f"/run/user/{uid}" in told.stderr and "Traceback" not in told.stderr
    assert [each["id"] for each in ada.stored_jobs()] == [job["id"]]
    ada.box.run(f"systemctl start user@{uid}.service")
    ada.start_server()
    assert_one_sync_is_enough(ada, [job])
    ada.clear()


def test_one_sync_repairs_a_helper_killed_at_any_moment(system: Site) -> None:
    jobs = [system.create(schedule=f"{minute} 9 * * *") for minute in range(5)]
    for _ in range(10):
        system.box.run("systemctl stop 'hermes-job@*.timer'; hermes-oscron sync >/dev/null 2>&1 & "
                       f"sleep {random.uniform(0.1, 0.7):.2f}; systemctl kill -s KILL hermes-oscron-root.service; wait")
    assert_one_sync_is_enough(system, jobs)


def test_a_timer_removed_or_changed_by_hand_is_repaired(site: Site) -> None:
    jobs = [site.create(schedule="0 9 * * *") for _ in range(3)]
    with site.unwatched():
        unit = f"hermes-job@default:{jobs[0]['id']}.timer"
        site.administer(f"printf '# caf\\351' >>{site.unit_dir}/{unit}; "
                        f"rm {site.unit_dir}/hermes-job@default:{jobs[1]['id']}.timer")
        site.disarm_by_hand(jobs[2]["id"])
        assert site.doctor()[0] == 2
        assert_one_sync_is_enough(site, jobs)


def test_a_sync_that_hangs_is_ended(site: Site) -> None:
    assert site.systemctl("show -P TimeoutStartUSec hermes-oscron-sync.service").strip() == "10min"
