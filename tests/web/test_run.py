import time
from pathlib import Path

from ..conftest import Api, in_seconds, release_script, wait_for, write_jobs, write_script, write_waiting_script


def test_it_returns_before_the_run_ends(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_waiting_script(root))
    assert api.post("/api/crons/run", {"job_id": job["id"]}) == {"ok": True, "job_id": job["id"], "status": "running"}
    wait_for(api.running)
    assert api.job(job["id"])["last_run_at"] is None
    release_script(root)
    wait_for(lambda: api.job(job["id"])["last_status"] == "ok")


def test_the_run_is_recorded_and_its_output_is_saved(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "echo out; echo err >&2"))
    done = api.run_to_end(job["id"])
    assert (done["last_status"], done["last_error"], done["repeat"]["completed"]) == ("ok", None, 1)
    assert (done["state"], done["next_run_at"]) == ("scheduled", job["next_run_at"])
    output, = api.outputs(job["id"])
    assert "## Response\n\nout" in output and "err" in output


def test_a_failed_run_is_recorded_with_its_error(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "echo broken pump >&2; exit 3"))
    done = api.run_to_end(job["id"])
    assert (done["last_status"], done["state"]) == ("error", "scheduled")
    assert "3" in done["last_error"] and "broken pump" in done["last_error"]
    write_script(root, "a.sh", "echo mended")
    done = api.run_to_end(job["id"])
    assert (done["last_status"], done["last_error"]) == ("ok", None)


def test_a_running_job_is_not_started_again_and_its_elapsed_time_is_returned(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_waiting_script(root))
    api.start_run(job["id"])
    time.sleep(0.3)
    answer = api.post("/api/crons/run", {"job_id": job["id"]})
    assert {**answer, "elapsed": 0} == {"ok": False, "job_id": job["id"], "status": "already_running", "elapsed": 0}
    assert 0.2 <= answer["elapsed"] < 5
    release_script(root)
    wait_for(lambda: not api.running())
    assert len(api.outputs(job["id"])) == 1


def test_a_status_request_after_the_response_shows_the_run(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_waiting_script(root))
    assert api.post("/api/crons/run", {"job_id": job["id"]})["ok"]
    assert api.get(f"/api/crons/status?job_id={job['id']}")["running"]
    assert api.post("/api/crons/run", {"job_id": job["id"]})["status"] == "already_running"
    release_script(root)


def test_simultaneous_requests_cause_one_run(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_waiting_script(root))
    for _ in range(3):
        api.post("/api/crons/run", {"job_id": job["id"]})
    wait_for(api.running)
    time.sleep(0.5)
    release_script(root)
    wait_for(lambda: not api.running())
    assert (len(api.outputs(job["id"])), api.job(job["id"])["repeat"]["completed"]) == (1, 1)


def test_a_paused_job_runs_and_stays_paused(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "echo hi"), enabled=False)
    done = api.run_to_end(job["id"])
    assert (done["last_status"], done["state"], done["enabled"], done["next_run_at"]) == ("ok", "paused", False, None)


def test_a_completed_job_runs_and_stays_completed(api: Api, root: Path) -> None:
    job = api.create(schedule=in_seconds(-1), no_agent=True, script=write_script(root, "a.sh", "echo hi"))
    wait_for(lambda: api.job(job["id"])["state"] == "completed" and not api.running())
    assert api.run_to_end(job["id"])["state"] == "completed"
    assert len(api.outputs(job["id"])) == 2


def test_a_job_whose_repeat_is_used_up_is_completed(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "echo hi"), repeat=2)
    assert api.run_to_end(job["id"])["state"] == "scheduled"
    done = api.run_to_end(job["id"])
    assert (done["state"], done["next_run_at"], done["repeat"]) == ("completed", None, {"times": 2, "completed": 2})


def test_the_configured_command_gets_the_prompt_and_the_job_s_name(api: Api, root: Path) -> None:
    (root / "oscron.toml").write_text(
        '[exec]\ncommand = ["sh", "-c", "tr a-z A-Z; echo $HERMES_JOB_ID/$HERMES_JOB_NAME/$HERMES_HOME"]\n')
    job = api.create(prompt="say hello", name="Hello")
    assert api.run_to_end(job["id"])["last_status"] == "ok"
    assert f"## Response\n\nSAY HELLO{job['id']}/Hello/{root}" in api.outputs(job["id"])[0]


def test_without_an_executor_the_error_names_the_setting_to_change(api: Api) -> None:
    done = api.run_to_end(api.create()["id"])
    assert done["last_status"] == "error"
    assert "[exec]" in done["last_error"] and "oscron.toml" in done["last_error"]


def test_a_job_with_another_profile_runs_in_its_home(api: Api, root: Path) -> None:
    home = root / "profiles" / "work"
    (home / "scripts").mkdir(parents=True)
    write_script(home, "a.sh", "echo in $HERMES_HOME")
    write_script(root, "a.sh", "echo in the wrong home")
    job = api.create(no_agent=True, script="a.sh", profile="work")
    api.run_to_end(job["id"])
    assert f"in {home}" in api.outputs(job["id"])[0]


def test_a_missing_job_is_404(api: Api, root: Path) -> None:
    write_jobs(root / "profiles" / "work", {"id": "foreign", "prompt": "p"})
    for job_id in ("never-was", "foreign"):
        assert api.refused("/api/crons/run", {"job_id": job_id})[0] == 404


def test_a_missing_malformed_or_repeated_job_id_is_refused(api: Api) -> None:
    job = api.create()
    for body in ({}, {"job_id": None}, {"job_id": "a/b"}, {"job_id": True}, {"job_id": job["id"], "wait": True}):
        assert api.refused("/api/crons/run", body)[0] == 400, body
    assert api.running() == {}
