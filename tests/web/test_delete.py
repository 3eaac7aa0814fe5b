import time
from pathlib import Path

from ..conftest import (
    Api,
    TimedApi,
    release_script,
    stored,
    wait_for,
    write_jobs,
    write_script,
    write_waiting_script,
)


def test_it_returns_the_id_and_deletes_the_job(api: Api, root: Path) -> None:
    stays, goes = api.create(name="stays"), api.create(name="goes")
    assert api.post("/api/crons/delete", {"job_id": goes["id"]}) == {"ok": True, "job_id": goes["id"]}
    assert api.get("/api/crons")["jobs"] == [stays]
    assert [record["id"] for record in stored(root)] == [stays["id"]]


def test_the_outputs_are_deleted_too(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "echo hi"))
    api.run_to_end(job["id"])
    assert (root / "cron" / "output" / job["id"]).is_dir()
    api.post("/api/crons/delete", {"job_id": job["id"]})
    assert not (root / "cron" / "output" / job["id"]).exists()
    assert api.outputs(job["id"]) == []


def test_a_deleted_job_does_not_fire(timed_api: TimedApi) -> None:
    job, other = (timed_api.create(schedule=timed_api.in_seconds(60)) for _ in range(2))
    timed_api.post("/api/crons/delete", {"job_id": job["id"]})
    timed_api.advance(120)
    assert timed_api.started == [other["id"]]


def test_a_run_in_progress_ends_by_itself_and_leaves_nothing(api: Api, root: Path) -> None:
    script = write_waiting_script(root)
    (root / "scripts" / script).open("a").write(f"touch {root}/ended\n")
    job = api.create(no_agent=True, script=script)
    api.start_run(job["id"])
    answer = api.post("/api/crons/delete", {"job_id": job["id"]})
    assert answer["run"]["state"] == "continues" and 0 <= answer["run"]["elapsed"] < 30
    release_script(root)
    wait_for((root / "ended").exists)
    assert api.get("/api/crons")["jobs"] == [] and api.running() == {}
    time.sleep(0.5)  # the runner ends
    assert not (root / "cron" / "output" / job["id"]).exists()
    assert list((root / "cron" / "oscron" / "runs").iterdir()) == []


def test_a_run_in_progress_is_stopped_on_request_and_leaves_nothing(api: Api, root: Path) -> None:
    script = write_waiting_script(root)
    (root / "scripts" / script).open("a").write(f"touch {root}/ended\n")
    job = api.create(no_agent=True, script=script)
    api.start_run(job["id"])
    assert api.post("/api/crons/delete", {"job_id": job["id"], "stop": True})["run"]["state"] == "stopped"
    release_script(root)
    assert api.running() == {} and not (root / "cron" / "output" / job["id"]).exists()
    assert list((root / "cron" / "oscron" / "runs").iterdir()) == [] and not (root / "ended").exists()


def test_outputs_are_kept_on_request_also_that_of_a_run_in_progress(api: Api, root: Path) -> None:
    script = write_waiting_script(root)
    (root / "scripts" / script).open("a").write("echo whole\n")
    job = api.create(no_agent=True, script=script)
    api.start_run(job["id"])
    assert api.post("/api/crons/delete", {"job_id": job["id"], "keep_outputs": True})["run"]["state"] == "continues"
    release_script(root)
    wait_for(lambda: any("whole" in content for content in api.outputs(job["id"])))
    wait_for(lambda: list((root / "cron" / "oscron" / "runs").iterdir()) == [])
    assert api.get("/api/crons")["jobs"] == [] and api.running() == {}


def test_the_flags_are_booleans(api: Api) -> None:
    job = api.create()
    for name in ("stop", "keep_outputs"):
        assert api.refused("/api/crons/delete", {"job_id": job["id"], name: "yes"})[0] == 400
    assert api.post("/api/crons/delete", {"job_id": job["id"], "stop": True, "keep_outputs": None})["ok"]


def test_a_missing_job_is_404(api: Api, root: Path) -> None:
    job = api.create()
    write_jobs(root / "profiles" / "work", {"id": "foreign", "prompt": "p"})
    api.post("/api/crons/delete", {"job_id": job["id"]})
    for job_id in (job["id"], "never-was", "foreign"):
        assert api.refused("/api/crons/delete", {"job_id": job_id})[0] == 404
    assert [record["id"] for record in stored(root / "profiles" / "work")] == ["foreign"]


def test_a_missing_malformed_or_repeated_job_id_is_refused(api: Api) -> None:
    job = api.create()
    for body in ({}, {"job_id": ""}, {"job_id": "../../x"}, {"job_id": 7}, {"job_id": job["id"], "force": True}):
        assert api.refused("/api/crons/delete", body)[0] == 400, body
    assert api.job(job["id"])
