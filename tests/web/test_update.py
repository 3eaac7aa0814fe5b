import datetime
import json
import time
from pathlib import Path
from typing import Any

import pytest

from ..conftest import (
    Api,
    TimedApi,
    in_seconds,
    release_script,
    stored,
    wait_for,
    write_jobs,
    write_script,
    write_waiting_script,
)

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def test_it_returns_the_updated_job(api: Api) -> None:
    job = api.create()
    answer = api.post("/api/crons/update", {"job_id": job["id"], "name": "New"})
    assert answer == {"ok": True, "job": {**job, "name": "New"}}
    assert api.job(job["id"]) == answer["job"]


def test_every_field_of_create_can_be_changed(api: Api, root: Path, tmp_path: Path) -> None:
    job = api.create()
    fields = {"prompt": "q", "name": "n", "deliver": "slack", "skills": ["a"], "model": "m", "provider": "p",
              "profile": "default", "toast_notifications": False, "no_agent": True,
              "script": write_script(root, "a.sh", ""), "workdir": str(tmp_path), "context_from": "x",
              "enabled_toolsets": ["web"]}
    changed = api.post("/api/crons/update", {"job_id": job["id"], **fields})["job"]
    assert {key: changed[key] for key in fields} == fields


def test_a_null_key_changes_nothing(api: Api) -> None:
    job = api.create(name="kept", model="m", skills=["s"], repeat=4, toast_notifications=False)
    nothing = dict.fromkeys(("name", "prompt", "schedule", "model", "skills", "repeat", "toast_notifications",
                             "enabled", "profile", "workdir", "state", "id"))
    assert api.post("/api/crons/update", {"job_id": job["id"], **nothing})["job"] == job


def test_model_and_provider_are_removed_if_both_are_null(api: Api, root: Path) -> None:
    job = api.create(model="m", provider="p")
    form = {"job_id": job["id"], "name": "say hello", "schedule": job["schedule_display"], "prompt": "say hello",
            "deliver": "local", "skills": [], "model": None, "provider": None, "profile": "",
            "toast_notifications": True}
    assert api.post("/api/crons/update", form)["job"] == {**job, "model": None, "provider": None}
    assert (stored(root)[0]["model"], stored(root)[0]["provider"]) == (None, None)


def test_one_null_of_model_and_provider_changes_nothing(api: Api) -> None:
    job = api.create(model="m", provider="p")
    assert api.post("/api/crons/update", {"job_id": job["id"], "model": None, "name": "n"})["job"] == {
        **job, "name": "n"}
    assert api.post("/api/crons/update", {"job_id": job["id"], "model": "x", "provider": None})["job"] == {
        **job, "name": "n", "model": "x"}


RECORDS = (
    {"id": "theirs", "prompt": "p", "schedule": DAILY, "from_the_future": {"deep": [1, None, 2.5, "é"]},
     "origin": {"platform": "telegram"}, "deliver": ["telegram", "slack:1"], "skill": "s", "base_url": "http://x/v1",
     "repeat": {"times": 3, "completed": 1, "more": 2}, "context_from": ["a"], "created_at": "2026-03-01T09:00:00",
     "last_run_at": 1772355600, "last_status": "delivery_failed", "profile": "gone", "workdir": "/gone",
     "script": "gone.sh", "model_snapshot": "gpt-9", "attach_to_session": True},
    {"id": "paused", "prompt": "p", "name": "n", "schedule": DAILY, "state": "paused", "enabled": False,
     "paused_reason": "later", "paused_at": "2026-03-01T09:00:00+00:00"},
    {"id": "done", "prompt": "p", "schedule": {"kind": "once", "run_at": "2024-03-15T09:00:00+00:00"},
     "state": "completed", "enabled": False, "repeat": {"times": 1, "completed": 1}},
    {"id": "broken", "prompt": "p", "name": "n", "schedule": {"kind": "cron"}, "repeat": "often"},
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["id"])
def test_a_job_as_it_was_got_can_be_posted_back(api: Api, root: Path, record: dict[str, Any]) -> None:
    write_jobs(root, record)
    job = api.job(record["id"])
    before = stored(root)[0]
    assert api.post("/api/crons/update", {"job_id": job["id"], **job})["job"] == {**job, "name": job["name"]}
    changed = api.post("/api/crons/update", {"job_id": job["id"], **job, "prompt": "other", "name": "edited"})["job"]
    assert changed == {**job, "prompt": "other", "name": "edited"}
    kept = before.keys() - {"prompt", "name", "deliver"}
    assert {key: stored(root)[0][key] for key in kept} == {key: before[key] for key in kept}


def test_other_keys_of_a_job_cannot_be_changed(api: Api, root: Path) -> None:
    write_jobs(root, RECORDS[0])
    job, before = api.job("theirs"), (root / "cron" / "jobs.json").read_bytes()
    for key, value in {"from_the_future": {"deep": [True, None, 2.5, "é"]}, "owner_profile": "work", "read_only": 0,
                       "attach_to_session": 1, "schedule_display": "Daily", "origin": {}, "id": "other",
                       "repeat": {"times": 3, "completed": 0}, "state": "paused"}.items():
        status, sentence = api.refused("/api/crons/update", {"job_id": "theirs", **job, "name": "x", key: value})
        assert status == 400 and f"'{key}" in sentence, sentence
    assert (root / "cron" / "jobs.json").read_bytes() == before


def test_values_are_accepted_in_the_form_of_answers_and_of_older_clients(api: Api, root: Path) -> None:
    job = api.create(name="n", skills=["a", "b"])
    every_2h = api.create(schedule="every 2h")["schedule"]
    for given, key, shown in (
            ({"deliver": ["telegram", " slack:1 ", ""]}, "deliver", "telegram,slack:1"),
            ({"deliver": []}, "deliver", "local"),
            ({"repeat": {"times": 3}}, "repeat", {"times": 3, "completed": 0}),
            ({"repeat": {"times": 4, "completed": 0}}, "repeat", {"times": 4, "completed": 0}),
            ({"repeat": {"times": None, "completed": 0}}, "repeat", {"times": None, "completed": 0}),
            ({"schedule": every_2h}, "schedule", every_2h),
            ({"schedule": job["schedule"]}, "schedule", job["schedule"]),
            ({"skill": "c"}, "skills", ["c"]), ({"skill": ""}, "skills", []),
            ({"skills": ["d", "e"], "skill": "c"}, "skills", ["d", "e"]),
            ({"base_url": "http://x/v1"}, "base_url", "http://x/v1"), ({"base_url": ""}, "base_url", None)):
        assert api.post("/api/crons/update", {"job_id": job["id"], **given})["job"][key] == shown, given
        assert api.create(**given)[key] == shown, given
    assert stored(root)[0]["skill"] == "d"


def test_a_schedule_of_another_kind_than_it_says_is_refused(api: Api) -> None:
    job = api.create()
    wrong = {"kind": "once", "expression": "30m"}
    assert "interval" in api.refused("/api/crons/update", {"job_id": job["id"], "schedule": wrong})[1]
    assert "interval" in api.refused("/api/crons/create", {"prompt": "p", "schedule": wrong})[1]
    for wrong in ({}, {"kind": "cron"}, {"kind": "cron", "expression": 5}, {"expression": "30m"},
                  {"kind": "interval", "expression": "30m", "minutes": 30}, {"kind": None, "expression": "30m"}):
        assert api.refused("/api/crons/update", {"job_id": job["id"], "schedule": wrong})[0] == 400
    assert api.job(job["id"]) == job


def test_an_empty_text_clears_the_field(api: Api, root: Path, tmp_path: Path) -> None:
    job = api.create(name="n", model="m", provider="p", deliver="slack", script=write_script(root, "a.sh", ""),
                     workdir=str(tmp_path), profile="default")
    cleared = dict.fromkeys(("name", "model", "provider", "deliver", "script", "workdir", "profile"), "")
    changed = api.post("/api/crons/update", {"job_id": job["id"], **cleared})["job"]
    assert {key: changed[key] for key in cleared} == {
        "name": "say hello", "model": None, "provider": None, "deliver": "local", "script": None, "workdir": None,
        "profile": None}


def test_fields_of_the_server_are_refused_and_nothing_changes(api: Api, root: Path) -> None:
    job = api.create()
    before = (root / "cron" / "jobs.json").read_bytes()
    for key in ("id", "state", "next_run_at", "last_run_at", "last_status", "last_error", "last_delivery_error",
                "created_at"):
        status, sentence = api.refused("/api/crons/update", {"job_id": job["id"], "name": "x", key: "x"})
        assert status == 400 and f"'{key}'" in sentence
    assert (root / "cron" / "jobs.json").read_bytes() == before


def test_a_wrong_type_or_an_unknown_key_is_refused_and_nothing_changes(api: Api, root: Path) -> None:
    job = api.create()
    before = (root / "cron" / "jobs.json").read_bytes()
    for wrong in ({"name": 1}, {"skills": "x"}, {"repeat": 0}, {"enabled": "no"}, {"colour": "red"},
                  {"profile": "nobody"}, {"schedule": "never"}, {"schedule": ""}, {"script": "../x"}):
        assert api.refused("/api/crons/update", {"job_id": job["id"], "prompt": "q", **wrong})[0] == 400, wrong
    assert (root / "cron" / "jobs.json").read_bytes() == before


def test_a_missing_job_is_404(api: Api, root: Path) -> None:
    write_jobs(root / "profiles" / "work", {"id": "foreign", "schedule": DAILY, "prompt": "p"})
    for job_id in ("000000000000", "foreign"):
        assert api.refused("/api/crons/update", {"job_id": job_id, "name": "x"})[0] == 404


def test_a_missing_or_malformed_job_id_is_refused(api: Api) -> None:
    for job_id in (None, "", "../x", 5, ["x"], ".x", "a" * 65, "a b", "a\n"):
        assert api.refused("/api/crons/update", {"job_id": job_id, "name": "x"})[0] == 400, job_id


def test_a_new_schedule_counts_from_now(api: Api) -> None:
    job = api.create()
    changed = api.post("/api/crons/update", {"job_id": job["id"], "schedule": "every 2h"})["job"]
    assert (changed["schedule"], changed["schedule_display"]) == (
        {"kind": "interval", "expression": "every 2h"}, "Every 2 hours")
    ahead = datetime.datetime.fromisoformat(changed["next_run_at"]) - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(minutes=119, seconds=50) < ahead <= datetime.timedelta(hours=2)


def test_a_new_schedule_fires(api: Api, root: Path) -> None:
    job = api.create(schedule="in 2h", no_agent=True, script=write_script(root, "a.sh", "echo hi"))
    api.post("/api/crons/update", {"job_id": job["id"], "schedule": in_seconds(0.5)})
    assert wait_for(lambda: api.job(job["id"])["state"] == "completed")


def test_an_old_schedule_no_longer_fires(timed_api: TimedApi) -> None:
    job, other = (timed_api.create(schedule=timed_api.in_seconds(60)) for _ in range(2))
    timed_api.post("/api/crons/update", {"job_id": job["id"], "schedule": "in 2h"})
    timed_api.advance(120)
    assert timed_api.started == [other["id"]]
    timed_api.advance(7200)
    assert timed_api.started == [other["id"], job["id"]]


def test_posting_the_display_back_keeps_the_schedule_and_the_next_run(api: Api) -> None:
    for schedule in ("0 9 * * 1-5", "30 8 * * 1,3", "*/7 3-5 L * *", "every 90m", "2036-03-15T09:00:30"):
        job = api.create(schedule=schedule)
        time.sleep(0.01)
        for again in (job["schedule_display"], job["schedule"]["expression"]):
            fields = {"schedule": again, "name": "edited"}
            changed = api.post("/api/crons/update", {"job_id": job["id"], **fields})["job"]
            assert changed == {**job, "name": "edited"}, schedule


def test_the_form_of_a_completed_one_shot_can_be_posted_back(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "done", "prompt": "p", "name": "n", "state": "completed", "enabled": False,
                      "schedule": {"kind": "once", "run_at": "2024-03-15T09:00:00+00:00", "display": "x"}})
    job = api.job("done")
    fields = {"schedule": job["schedule_display"], "name": "edited"}
    assert api.post("/api/crons/update", {"job_id": "done", **fields})["job"] == {**job, "name": "edited"}


def test_a_completed_job_with_a_new_schedule_fires_again(api: Api, root: Path) -> None:
    job = api.create(schedule=in_seconds(-1), no_agent=True, script=write_script(root, "a.sh", "echo hi"))
    wait_for(lambda: api.job(job["id"])["state"] == "completed")
    changed = api.post("/api/crons/update", {"job_id": job["id"], "schedule": in_seconds(0.5)})["job"]
    assert changed["state"] == "scheduled"
    wait_for(lambda: api.job(job["id"])["state"] == "completed")
    assert len(api.outputs(job["id"])) == 2


def test_a_one_shot_in_the_past_is_refused(api: Api) -> None:
    job = api.create()
    assert api.refused("/api/crons/update", {"job_id": job["id"], "schedule": in_seconds(-125)})[0] == 400
    assert api.job(job["id"]) == job


def test_a_paused_job_stays_paused_after_any_change(api: Api) -> None:
    job = api.create(enabled=False)
    changed = api.post("/api/crons/update", {"job_id": job["id"], "schedule": "30m", "prompt": "q"})["job"]
    assert (changed["state"], changed["next_run_at"]) == ("paused", None)


def test_enabled_pauses_and_resumes(api: Api) -> None:
    job = api.create()
    off = api.post("/api/crons/update", {"job_id": job["id"], "enabled": False})["job"]
    assert (off["state"], off["enabled"], off["next_run_at"]) == ("paused", False, None)
    on = api.post("/api/crons/update", {"job_id": job["id"], "enabled": True})["job"]
    assert (on["state"], on["enabled"], on["next_run_at"]) == ("scheduled", True, job["next_run_at"])


def test_unknown_keys_are_preserved(api: Api, root: Path) -> None:
    unknown = {"from_the_future": {"deep": [1, None]}, "origin": {"platform": "telegram"}}
    path = write_jobs(root, {"id": "a", "prompt": "p", "schedule": {**DAILY, "jitter": 3}, **unknown},
                      "not a job", {"no": "id"}, version=7, owner={"name": "x"})
    api.post("/api/crons/update", {"job_id": "a", "name": "edited"})
    content = json.loads(path.read_text())
    assert content["jobs"][0] == {**content["jobs"][0], **unknown, "schedule": {**DAILY, "jitter": 3}}
    assert content["jobs"][1] == "not a job" and content["jobs"][2]["no"] == "id"
    assert (content["version"], content["owner"]) == (7, {"name": "x"})


def test_a_run_in_progress_ends_normally_and_undoes_no_change(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_waiting_script(root), name="before")
    api.start_run(job["id"])
    other = write_script(root, "other.sh", "echo other")
    api.post("/api/crons/update", {"job_id": job["id"], "name": "after", "script": other, "schedule": "30m"})
    release_script(root)
    done = wait_for(lambda: (now := api.job(job["id"]))["last_run_at"] and now)
    assert (done["name"], done["schedule"]["expression"], done["last_status"]) == ("after", "every 30m", "ok")
    assert "waited" in api.outputs(job["id"])[0]


def test_a_one_shot_rescheduled_during_its_run_fires_at_the_new_time(api: Api, root: Path) -> None:
    job = api.create(schedule="in 2h", no_agent=True, script=write_waiting_script(root))
    api.start_run(job["id"])
    changed = api.post("/api/crons/update", {"job_id": job["id"], "schedule": in_seconds(1.5)})["job"]
    release_script(root)
    wait_for(lambda: api.outputs(job["id"]))
    assert api.job(job["id"])["next_run_at"] == changed["next_run_at"]
    wait_for(lambda: api.job(job["id"])["state"] == "completed")
    assert len(api.outputs(job["id"])) == 2


def test_a_schedule_of_another_kind_has_the_repeat_of_that_kind(api: Api) -> None:
    once = api.create(schedule="in 2h")
    assert api.post("/api/crons/update", {"job_id": once["id"], "schedule": "0 9 * * *"})["job"]["repeat"] == {
        "times": None, "completed": 0}
    daily = api.create(repeat=3)
    assert api.post("/api/crons/update", {"job_id": daily["id"], "schedule": "30m"})["job"]["repeat"] == {
        "times": 3, "completed": 0}


def test_a_schedule_that_cannot_be_armed_is_not_stored(idle_api: Api, root: Path) -> None:
    path = write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY})
    assert idle_api.refused("/api/crons/update", {"job_id": "a", "schedule": "30m", "name": "new"})[0] == 503
    assert json.loads(path.read_text())["jobs"] == [{"id": "a", "prompt": "p", "schedule": DAILY}]
    assert len(stored(root)) == 1


def test_a_surprising_schedule_is_answered_with_warnings_beside_the_job(api: Api) -> None:
    job = api.post("/api/crons/create", {"prompt": "x", "schedule": "0 9 * * *"})["job"]
    answer = api.post("/api/crons/update", {"job_id": job["id"], "schedule": "friday at 5pm"})
    assert set(answer) == {"ok", "job", "warnings"} and "`next friday at 17:00`" in answer["warnings"][0]
    assert set(api.post("/api/crons/update", {"job_id": job["id"], "name": "x"})) == {"ok", "job"}
