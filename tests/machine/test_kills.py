"""Runs and servers that are killed, and jobs that fail."""

import secrets

from tests.conftest import wait_for
from tests.machine.sites import Site


def start_long_run(site: Site, script: str) -> str:
    job_id: str = site.create(script, schedule="0 9 * * *")["id"]
    site.api.post("/api/crons/run", {"job_id": job_id})
    wait_for(lambda: site.api.get("/api/crons/status")["running"])
    return job_id


def test_a_run_stopped_by_systemctl_is_recorded_as_stopped(site: Site) -> None:
    started = f"{site.hermes}/{secrets.token_hex(4)}"
    job_id = start_long_run(site, f"echo begun; touch '{started}'; sleep 60")
    wait_for(lambda: site.run(f"ls '{started}'", check=False).returncode == 0)
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
        site.run_prompts()


def test_a_bad_configuration_is_an_error_and_its_repair_needs_no_restart(site: Site) -> None:
    site.systemctl("stop hermes-oscron.service")
    site.box.put(f"{site.hermes}/oscron.toml", "[exec", site.user)
    try:
        for _ in range(3):
            status, answer = site.api.call("GET", "/api/crons")
            assert status == 503 and "oscron.toml" in answer["error"]
    finally:
        site.run_prompts()
    wait_for(lambda: site.api.call("GET", "/api/crons")[0] == 200)


def test_a_server_killed_after_every_call_answers_the_next_one(site: Site) -> None:
    for _ in range(8):
        assert site.api.call("GET", "/api/crons")[0] == 200
        site.systemctl("kill --kill-whom=main -s KILL hermes-oscron.service")
    assert site.systemctl("is-failed hermes-oscron.socket", check=False).strip() == "active"
