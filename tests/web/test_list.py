import datetime
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Api, in_seconds, wait_for, write_jobs, write_script

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
FIELDS = {"id", "name", "prompt", "schedule", "schedule_display", "enabled", "state", "next_run_at", "last_run_at",
          "last_status", "last_error", "last_delivery_error", "repeat", "deliver", "skills", "model", "provider",
          "profile", "toast_notifications", "owner_profile", "read_only"}


@pytest.fixture
def berlin(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HERMES_TIMEZONE")
    (root / "config.yaml").write_text("model: m\ntimezone: 'Europe/Berlin'  # where we are\n")


def add_profile(root: Path, name: str, *job_ids: str) -> None:
    home = root / "profiles" / name
    home.mkdir(parents=True)
    write_jobs(home, *({"id": job_id, "prompt": "p", "schedule": DAILY} for job_id in job_ids))


def ids(answer: Any) -> list[str]:
    return [job["id"] for job in answer["jobs"]]


def test_the_list_of_a_home_without_jobs_is_empty(api: Api) -> None:
    assert api.get("/api/crons") == {"jobs": [], "active_profile": "default", "all_profiles": False,
                                     "other_profile_count": 0, "armed": True, "paused_profiles": {}}


def test_jobs_are_listed_in_the_order_of_their_creation(api: Api) -> None:
    made = [api.create(name=name)["id"] for name in ("b", "a", "c")]
    assert ids(api.get("/api/crons")) == made


def test_a_job_is_listed_as_create_returned_it(api: Api) -> None:
    assert api.get("/api/crons")["jobs"] == []
    job = api.create(name="x", skills=["s"])
    assert api.job(job["id"]) == job


def test_every_field_is_present_even_if_the_record_has_none(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "bare", "schedule": DAILY})
    job = api.job("bare")
    assert set(job) >= FIELDS
    shown = {key: job[key] for key in FIELDS - {"next_run_at", "schedule", "schedule_display", "name"}}
    assert shown == {
        "id": "bare", "prompt": "", "enabled": True, "state": "scheduled", "last_run_at": None, "last_status": None,
        "last_error": None, "last_delivery_error": None, "repeat": {"times": None, "completed": 0},
        "deliver": "local", "skills": [], "model": None, "provider": None, "profile": None,
        "toast_notifications": True, "owner_profile": "default", "read_only": False,
    }


def test_an_old_record_is_shown_with_current_fields(api: Api, root: Path) -> None:
    old = {"schedule": DAILY, "name": None, "prompt": None, "deliver": None}
    write_jobs(root, {"id": "a", "skill": "mail", "skills": None, **old}, {"id": "b", "script": "b.sh", **old},
               {"id": "c", **old})
    shown = [(job["name"], job["skills"], job["prompt"], job["deliver"]) for job in api.get("/api/crons")["jobs"]]
    assert shown == [("mail", ["mail"], "", "local"), ("b.sh", [], "", "local"), ("c", [], "", "local")]


def test_unknown_keys_of_a_record_are_shown(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "more", "schedule": DAILY, "script": "a.sh", "from_the_future": [1, 2]})
    assert (api.job("more")["script"], api.job("more")["from_the_future"]) == ("a.sh", [1, 2])


def test_a_schedule_is_a_kind_and_an_expression(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "c", "schedule": DAILY},
               {"id": "i", "schedule": {"kind": "interval", "minutes": 120, "display": "every 120m"}},
               {"id": "o", "schedule": {"kind": "once", "run_at": "2036-03-15T10:00:00+01:00", "display": "x"}})
    assert [(job["schedule"], job["schedule_display"]) for job in api.get("/api/crons")["jobs"]] == [
        ({"kind": "cron", "expression": "0 9 * * *"}, "Daily at 9:00 AM"),
        ({"kind": "interval", "expression": "every 2h"}, "Every 2 hours"),
        ({"kind": "once", "expression": "2036-03-15T09:00:00+00:00"}, "Once at 2036-03-15 09:00"),
    ]


def test_dates_of_any_form_are_shown_in_iso_with_an_offset(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "unix", "schedule": DAILY, "last_run_at": 1711900000.0, "created_at": 1711900000})
    job = api.job("unix")
    assert job["last_run_at"] == job["created_at"] == "2024-03-31T15:46:40+00:00"
    assert datetime.datetime.fromisoformat(job["next_run_at"]).utcoffset() == datetime.timedelta(0)


def test_the_next_run_is_the_coming_occurrence(api: Api) -> None:
    now = datetime.datetime.now(datetime.UTC)
    today = now.replace(hour=9, minute=0, second=0, microsecond=0)
    due = datetime.datetime.fromisoformat(api.create(schedule="0 9 * * *")["next_run_at"])
    assert due == today if today > now else due == today + datetime.timedelta(days=1)


@pytest.mark.usefixtures("berlin")
def test_times_are_in_the_zone_that_hermes_is_configured_for(api: Api) -> None:
    due = datetime.datetime.fromisoformat(api.create(schedule="0 9 * * *")["next_run_at"])
    assert (due.hour, due.utcoffset()) in [(9, datetime.timedelta(hours=hours)) for hours in (1, 2)]


def test_only_a_scheduled_job_has_a_next_run(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "s", "schedule": DAILY}, {"id": "p", "schedule": DAILY, "state": "paused"},
               {"id": "c", "schedule": DAILY, "state": "completed", "enabled": False},
               {"id": "d", "schedule": DAILY, "enabled": False, "next_run_at": in_seconds(600)})
    assert {job["id"]: (job["state"], job["enabled"], bool(job["next_run_at"])) for job in
            api.get("/api/crons")["jobs"]} == {
        "s": ("scheduled", True, True), "p": ("paused", False, False), "c": ("completed", False, False),
        "d": ("paused", False, False),
    }


def test_a_schedule_that_never_fires_is_an_error_and_hides_no_other_job(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "bad", "schedule": {"kind": "cron", "expr": "61 * * * *"}}, {"id": "none"},
               {"id": "good", "schedule": DAILY})
    assert [(job["id"], job["state"]) for job in api.get("/api/crons")["jobs"]] == [
        ("bad", "error"), ("none", "error"), ("good", "scheduled")]


def test_toasts_are_on_unless_they_were_set_to_false(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "a", "schedule": DAILY, "toast_notifications": None},
               {"id": "b", "schedule": DAILY, "toast_notifications": False}, {"id": "c", "schedule": DAILY})
    assert [job["toast_notifications"] for job in api.get("/api/crons")["jobs"]] == [True, False, True]


def test_a_status_recorded_by_the_agent_is_shown_unchanged(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "a", "schedule": DAILY, "last_status": "delivery_failed", "last_delivery_error": "no"})
    assert (api.job("a")["last_status"], api.job("a")["last_delivery_error"]) == ("delivery_failed", "no")


def test_a_job_added_by_another_program_is_in_the_next_response(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "first", "schedule": DAILY})
    assert ids(api.get("/api/crons")) == ["first"]
    write_jobs(root, {"id": "first", "schedule": DAILY}, {"id": "second", "schedule": DAILY})
    assert ids(api.get("/api/crons")) == ["first", "second"]


def test_a_scheduled_run_is_in_the_next_response(api: Api, root: Path) -> None:
    job = api.create(schedule=in_seconds(0.5), no_agent=True, script=write_script(root, "hi.sh", "echo hi"))
    assert api.job(job["id"])["state"] == "scheduled"
    assert wait_for(lambda: api.job(job["id"])["last_status"]) == "ok"


def test_jobs_of_other_profiles_are_counted_and_not_listed(api: Api, root: Path) -> None:
    add_profile(root, "work", "w1", "w2")
    add_profile(root, "empty")
    job = api.create()
    answer = api.get("/api/crons")
    assert (ids(answer), answer["all_profiles"], answer["other_profile_count"]) == ([job["id"]], False, 2)


def test_all_profiles_come_after_the_active_one_read_only(api: Api, root: Path) -> None:
    add_profile(root, "work", "w1")
    job = api.create()
    for yes in ("1", "true", "yes", "on", "True"):
        answer = api.get(f"/api/crons?all_profiles={yes}")
        assert (answer["all_profiles"], answer["other_profile_count"], answer["active_profile"]) == (True, 0, "default")
        assert [(each["id"], each["owner_profile"], each["read_only"]) for each in answer["jobs"]] == [
            (job["id"], "default", False), ("w1", "work", True)]


def test_any_other_value_lists_only_the_active_profile(api: Api, root: Path) -> None:
    add_profile(root, "work", "w1")
    for no in ("0", "false", "", "nonsense"):
        answer = api.get(f"/api/crons?all_profiles={no}")
        assert (answer["jobs"], answer["all_profiles"], answer["other_profile_count"]) == ([], False, 1)


def test_the_active_profile_is_the_one_that_its_file_names(api: Api, root: Path) -> None:
    add_profile(root, "work", "w1")
    assert ids(api.get("/api/crons")) == []
    (root / "active_profile").write_text("work\n")
    answer = api.get("/api/crons")
    assert (ids(answer), answer["active_profile"]) == (["w1"], "work")
    assert answer["jobs"][0]["read_only"] is False


def test_the_lack_of_a_usable_scheduler_is_in_the_response(idle_api: Api, root: Path) -> None:
    write_jobs(root, {"id": "first", "schedule": DAILY})
    assert idle_api.get("/api/crons") == {"jobs": [], "cron_unavailable": True}
