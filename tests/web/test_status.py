import json
import os
import signal
import time
from pathlib import Path

from hermes_oscron.runs.lock import PART_BYTES

from ..conftest import Api, release_script, wait_for, write_script, write_waiting_script


def test_without_a_job_id_nothing_running_is_an_empty_object(api: Api) -> None:
    api.create()
    assert api.get("/api/crons/status") == {"running": {}}


def test_a_running_job_has_its_elapsed_seconds_with_one_decimal(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_script(root, "slow.sh", "sleep 1"))
    api.start_run(job["id"])
    first = api.get(f"/api/crons/status?job_id={job['id']}")
    assert (first["job_id"], first["running"]) == (job["id"], True)
    time.sleep(0.4)
    second = api.get(f"/api/crons/status?job_id={job['id']}")["elapsed"]
    assert second - first["elapsed"] >= 0.3
    assert round(second, 1) == second and isinstance(second, float)
    wait_for(lambda: not api.running())


def test_without_a_job_id_every_running_job_is_listed(api: Api, root: Path) -> None:
    script = write_waiting_script(root)
    jobs = [api.create(no_agent=True, script=script)["id"] for _ in range(3)]
    for job_id in jobs[:2]:
        api.start_run(job_id)
    running = api.running()
    assert set(running) == set(jobs[:2])
    assert all(isinstance(elapsed, float) for elapsed in running.values())
    release_script(root)
    wait_for(lambda: not api.running())


def test_a_job_that_has_ended_is_not_running(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "echo hi"))
    api.run_to_end(job["id"])
    assert api.get(f"/api/crons/status?job_id={job['id']}") == {"job_id": job["id"], "running": False, "elapsed": 0.0}


def test_an_unknown_job_is_not_running(api: Api) -> None:
    for job_id in ("never-was", "a" * 64, "_.-"):
        assert api.get(f"/api/crons/status?job_id={job_id}") == {"job_id": job_id, "running": False, "elapsed": 0.0}


def test_a_malformed_job_id_is_refused(api: Api) -> None:
    for job_id in ("..%2Fx", ".x", "a" * 65, "a%20b", "a%0A", "%C3%A4", "a%2Fb"):
        status, answer = api.call("GET", f"/api/crons/status?job_id={job_id}")
        assert status == 400 and set(answer) == {"error"}, job_id


def test_a_runner_that_is_killed_is_an_interrupted_run_and_the_next_one_works(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_waiting_script(root))
    api.start_run(job["id"])
    run = root / "cron" / "oscron" / "runs" / job["id"]
    os.kill(wait_for(lambda: json.loads(run.read_text()[:PART_BYTES] or "{}").get("pid")), signal.SIGKILL)
    wait_for(lambda: not api.running())
    killed = api.job(job["id"])
    assert killed["last_status"] == "error" and "interrupted" in killed["last_error"]
    release_script(root)
    assert api.run_to_end(job["id"])["last_status"] == "ok"


def test_a_job_id_that_is_not_text_is_malformed(api: Api) -> None:
    assert api.call("GET", "/api/crons/status?job_id=%ff")[0] == 400


def test_the_status_reads_no_jobs(api: Api, root: Path) -> None:
    """So that it costs the same with any number of them."""
    api.create()
    (root / "cron" / "jobs.json").write_text("{")
    assert api.get("/api/crons/status") == {"running": {}}
    assert not api.get("/api/crons/status?job_id=a")["running"]
