from pathlib import Path

from ..conftest import Api, TimedApi, release_script, wait_for, write_waiting_script


def test_it_returns_the_paused_job(api: Api) -> None:
    job = api.create()
    answer = api.post("/api/crons/pause", {"job_id": job["id"], "reason": "holidays"})
    assert answer["ok"] is True and answer["job"] == api.job(job["id"])
    paused = answer["job"]
    assert (paused["state"], paused["enabled"], paused["next_run_at"]) == ("paused", False, None)
    assert paused["paused_reason"] == "holidays" and paused["paused_at"] >= job["created_at"]


def test_no_reason_is_needed(api: Api) -> None:
    for body in ({}, {"reason": None}):
        job = api.create()
        assert api.post("/api/crons/pause", {"job_id": job["id"], **body})["job"]["paused_reason"] is None


def test_a_second_pause_changes_nothing(api: Api) -> None:
    job = api.create()
    once = api.post("/api/crons/pause", {"job_id": job["id"], "reason": "holidays"})
    assert api.post("/api/crons/pause", {"job_id": job["id"], "reason": "holidays"}) == once


def test_a_paused_job_does_not_fire(timed_api: TimedApi) -> None:
    job, other = (timed_api.create(schedule=timed_api.in_seconds(60)) for _ in range(2))
    timed_api.post("/api/crons/pause", {"job_id": job["id"]})
    timed_api.advance(120)
    assert (timed_api.started, timed_api.job(job["id"])["state"]) == ([other["id"]], "paused")


def test_a_job_paused_while_it_runs_ends_and_stays_paused(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_waiting_script(root))
    api.start_run(job["id"])
    api.post("/api/crons/pause", {"job_id": job["id"]})
    release_script(root)
    wait_for(lambda: api.job(job["id"])["last_status"] == "ok")
    assert (api.job(job["id"])["state"], api.job(job["id"])["next_run_at"]) == ("paused", None)


def test_a_missing_job_is_404(api: Api) -> None:
    assert api.refused("/api/crons/pause", {"job_id": "never-was"})[0] == 404


def test_a_malformed_request_is_refused_and_pauses_nothing(api: Api) -> None:
    job = api.create()
    for body in ({}, {"job_id": ""}, {"job_id": "../x"}, {"job_id": job["id"], "reason": 5},
                 {"job_id": job["id"], "until": "tomorrow"}):
        assert api.refused("/api/crons/pause", body)[0] == 400, body
    assert api.job(job["id"]) == job
