"""Runs and servers that are killed, and jobs that fail."""

import http.client
import random
import threading
import time

from tests.conftest import wait_for
from tests.machine.conftest import Site, soon


def start_long_run(site: Site, script: str = "echo begun; sleep 60", **fields: object) -> str:
    job_id: str = site.create(script, schedule="0 9 * * *", **fields)["id"]
    site.api.post("/api/crons/run", {"job_id": job_id})
    wait_for(lambda: site.api.get("/api/crons/status")["running"])
    return job_id


def main_pid(site: Site, job_id: str) -> str:
    return site.systemctl(f"show -P MainPID hermes-job@default:{job_id}.service").strip()


def test_a_killed_runner_is_a_failed_run_and_the_next_fire_works(site: Site) -> None:
    job_id = start_long_run(site)
    site.run(f"kill -9 {main_pid(site, job_id)}")
    wait_for(lambda: site.api.job(job_id)["last_status"] == "error")
    assert not site.api.get("/api/crons/status")["running"]
    assert "interrupted" in site.api.job(job_id)["last_error"]
    assert site.armed(job_id)
    site.api.post("/api/crons/update", {"job_id": job_id, "schedule": soon(1)})
    wait_for(lambda: site.api.get("/api/crons/status")["running"])
    site.systemctl(f"stop hermes-job@default:{job_id}.service")


def test_nothing_of_a_killed_run_goes_on(site: Site) -> None:
    job_id = start_long_run(site, "exec sleep 4711")
    site.run(f"kill -9 {main_pid(site, job_id)}")
    wait_for(lambda: not site.run("pgrep -f '[s]leep 4711'", check=False).stdout)


def test_systemctl_stop_ends_a_run_as_an_error_that_says_so(site: Site) -> None:
    job_id = start_long_run(site)
    site.systemctl(f"stop hermes-job@default:{job_id}.service")
    job = site.api.job(job_id)
    assert job["last_status"] == "error" and "SIGTERM" in job["last_error"]
    content = site.api.get(f"/api/crons/output?job_id={job_id}")["outputs"][0]["content"]
    assert "begun" in content


def test_a_timeout_ends_the_whole_group(site: Site) -> None:
    site.box.put(f"{site.hermes}/oscron.toml", "[exec]\ntimeout = 1\n", site.user)
    try:
        job_id = start_long_run(site, "sleep 4712 & sleep 4713")
        wait_for(lambda: site.api.job(job_id)["last_status"] == "error")
        assert "timed out after 1 s" in site.api.job(job_id)["last_error"]
        assert not site.run("pgrep -f '[s]leep 471[23]'", check=False).stdout
    finally:
        site.run(f"rm {site.hermes}/oscron.toml")


def test_a_server_killed_at_any_point_leaves_what_sync_puts_right(site: Site) -> None:
    """Clients create and delete while the server is killed again and again."""
    ended = threading.Event()
    dice = random.Random(4)

    def client() -> None:
        made: list[str] = []
        while not ended.is_set():
            try:
                if len(made) > 3:
                    site.api.post("/api/crons/delete", {"job_id": made.pop(0)})
                else:
                    made.append(site.api.create(schedule="0 9 * * *")["id"])
            except (OSError, http.client.HTTPException, AssertionError, ValueError):
                continue

    clients = [threading.Thread(target=client) for _ in range(3)]
    for each in clients:
        each.start()
    for _ in range(12):
        time.sleep(dice.uniform(0.2, 0.9))
        site.systemctl("kill --kill-whom=main -s KILL hermes-oscron.service", check=False)
        site.systemctl("reset-failed hermes-oscron.service hermes-oscron.socket", check=False)
        site.systemctl("start hermes-oscron.socket")
    ended.set()
    for each in clients:
        each.join()
    site.oscron("sync")
    wanted = {f"hermes-job@default:{job['id']}.timer" for job in site.stored_jobs() if job["state"] == "scheduled"}
    assert site.armed_timers() == wanted and wanted
    assert "All is as it should be" in site.oscron("doctor")


def test_a_bad_configuration_is_answered_and_mended_without_a_restart(site: Site) -> None:
    site.systemctl("stop hermes-oscron.service")
    site.box.put(f"{site.hermes}/oscron.toml", "[exec", site.user)
    try:
        for _ in range(3):
            status, answer = site.api.call("GET", "/api/crons")
            assert status == 503 and "oscron.toml" in answer["error"]
    finally:
        site.run(f"rm {site.hermes}/oscron.toml")
    wait_for(lambda: site.api.call("GET", "/api/crons")[0] == 200)


def test_a_server_killed_after_every_call_is_there_for_the_next(site: Site) -> None:
    for _ in range(8):
        assert site.api.call("GET", "/api/crons")[0] == 200
        site.systemctl("kill --kill-whom=main -s KILL hermes-oscron.service")
    assert site.systemctl("is-failed hermes-oscron.socket", check=False).strip() == "active"
