import datetime
from pathlib import Path

import pytest

from ..conftest import Api, TimedApi, in_seconds, stored, wait_for, write_jobs, write_script

YEARLY = {"kind": "cron", "expr": "0 0 1 1 *", "display": "x"}


def test_it_returns_the_job_as_it_was_before_the_pause(api: Api) -> None:
    job = api.create()
    api.post("/api/crons/pause", {"job_id": job["id"], "reason": "holidays"})
    answer = api.post("/api/crons/resume", {"job_id": job["id"]})
    assert answer["ok"] is True and answer["job"] == api.job(job["id"])
    kept = {key: value for key, value in answer["job"].items() if key != "armed_at"}
    assert kept == {key: value for key, value in job.items() if key != "armed_at"}
    assert (answer["job"]["paused_at"], answer["job"]["paused_reason"]) == (None, None)


def test_a_second_resume_changes_nothing(timed_api: TimedApi) -> None:
    job = timed_api.create(schedule="every 2h", enabled=False)
    once = timed_api.post("/api/crons/resume", {"job_id": job["id"]})
    timed_api.advance(60)
    assert timed_api.post("/api/crons/resume", {"job_id": job["id"]}) == once


def test_a_job_that_was_never_paused_is_returned_unchanged(api: Api) -> None:
    job = api.create(schedule="every 2h")
    assert api.post("/api/crons/resume", {"job_id": job["id"]})["job"] == job


def test_occurrences_missed_while_paused_never_fire(timed_api: TimedApi, root: Path) -> None:
    write_jobs(root, {"id": "cron", "prompt": "p", "enabled": False, "state": "paused",
                      "schedule": YEARLY, "next_run_at": "2025-01-01T00:00:00+00:00",
                      "last_run_at": "2024-01-01T00:00:00+00:00", "created_at": "2023-06-01T00:00:00+00:00"},
               {"id": "every", "prompt": "p", "enabled": False, "state": "paused",
                "schedule": {"kind": "interval", "minutes": 60, "display": "x"},
                "next_run_at": timed_api.in_seconds(-5000), "created_at": timed_api.in_seconds(-90000)})
    for job_id in ("cron", "every"):
        job = timed_api.post("/api/crons/resume", {"job_id": job_id})["job"]
        assert datetime.datetime.fromisoformat(job["next_run_at"]) > timed_api.clock.now()
    timed_api.advance(3500)
    assert timed_api.started == []
    assert timed_api.job("cron")["last_run_at"] == "2024-01-01T00:00:00+00:00"
    timed_api.advance(200)
    assert timed_api.started == ["every"], "an hour after it was resumed"


def test_a_one_shot_missed_while_paused_does_not_fire(timed_api: TimedApi) -> None:
    job = timed_api.create(schedule=timed_api.in_seconds(0), enabled=False)
    timed_api.advance(60)
    timed_api.call("POST", "/api/crons/resume", {"job_id": job["id"]})
    timed_api.advance(60)
    assert timed_api.started == []


def test_an_interval_counts_from_the_resume(api: Api) -> None:
    job = api.create(schedule="every 2h", enabled=False)
    due = datetime.datetime.fromisoformat(api.post("/api/crons/resume", {"job_id": job["id"]})["job"]["next_run_at"])
    ahead = due - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(minutes=119, seconds=50) < ahead <= datetime.timedelta(hours=2)


def test_a_resumed_job_fires_again(api: Api, root: Path) -> None:
    script = write_script(root, "a.sh", "echo hi")
    job = api.create(schedule=in_seconds(0.5), no_agent=True, script=script, enabled=False)
    api.post("/api/crons/resume", {"job_id": job["id"]})
    assert wait_for(lambda: api.job(job["id"])["state"] == "completed")
    assert len(api.outputs(job["id"])) == 1


@pytest.mark.parametrize("fields", [
    {"repeat": {"times": 3, "completed": 3}}, {"schedule": {"kind": "once", "run_at": "2030-01-01T00:00:00+00:00"}},
    {"schedule": {"kind": "cron", "expr": "0 0 31 2 *"}},
])
def test_a_completed_job_stays_completed(api: Api, root: Path, fields: dict[str, object]) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": YEARLY, "state": "completed", "enabled": False, **fields})
    api.call("POST", "/api/crons/resume", {"job_id": "a"})
    assert stored(root)[0]["state"] == "completed"


def test_a_completed_job_without_a_repeat_limit_runs_again(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": YEARLY, "state": "completed", "enabled": False,
                      "repeat": {"times": None, "completed": 17}})
    job = api.post("/api/crons/resume", {"job_id": "a"})["job"]
    assert (job["state"], job["enabled"], job["repeat"]["completed"]) == ("scheduled", True, 17)
    assert job["next_run_at"]


def test_a_missing_job_is_404(api: Api) -> None:
    assert api.refused("/api/crons/resume", {"job_id": "never-was"})[0] == 404


def test_a_missing_malformed_or_repeated_job_id_is_refused(api: Api) -> None:
    job = api.create(enabled=False)
    for body in ({}, {"job_id": ""}, {"job_id": "a b"}, {"job_id": job["id"], "reason": "x"}):
        assert api.refused("/api/crons/resume", body)[0] == 400, body
    assert api.job(job["id"])["state"] == "paused"


def test_a_job_that_no_scheduler_can_fire_stays_paused(idle_api: Api, root: Path) -> None:
    path = write_jobs(root, {"id": "a", "prompt": "p", "schedule": YEARLY, "state": "paused", "enabled": False})
    assert idle_api.refused("/api/crons/resume", {"job_id": "a"})[0] == 503
    assert '"state": "paused"' in path.read_text()
