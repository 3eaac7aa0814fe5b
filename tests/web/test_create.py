import datetime
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Api, TimedApi, in_seconds, stored, wait_for, write_script
from ..wrong_reading import read_wrongly

FORMS = {
    "0 9 * * *": ("cron", "0 9 * * *", "Daily at 9:00 AM"),
    "0 9 * * MON-FRI": ("cron", "0 9 * * 1-5", "Weekdays at 9:00 AM"),
    "30 8 * * 1,3": ("cron", "30 8 * * 1,3", "Every Monday and Wednesday at 8:30 AM"),
    "@daily": ("cron", "0 0 * * *", "Daily at 12:00 AM"),
    "every monday 9am": ("cron", "0 9 * * 1", "Every Monday at 9:00 AM"),
    "WEEKDAYS at 9:30": ("cron", "30 9 * * 1-5", "Weekdays at 9:30 AM"),
    "weekends at noon": ("cron", "0 12 * * 0,6", "Weekends at 12:00 PM"),
    "monday, wednesday at 14:00": ("cron", "0 14 * * 1,3", "Every Monday and Wednesday at 2:00 PM"),
    "*/15 * * * *": ("cron", "*/15 * * * *", "*/15 * * * *"),
    "0 0 L * *": ("cron", "0 0 L * *", "0 0 L * *"),
    "30m": ("interval", "every 30m", "Every 30 minutes"),
    "every 2 hours": ("interval", "every 2h", "Every 2 hours"),
    "every hour": ("interval", "every 1h", "Every hour"),
    "1d": ("interval", "every 1d", "Every day"),
    "2036-03-15T09:00:00": ("once", "2036-03-15T09:00:00+00:00", "Once at 2036-03-15 09:00"),
    "once at 2036-03-15 09:00": ("once", "2036-03-15T09:00:00+00:00", "Once at 2036-03-15 09:00"),
    "2036-03-15T09:00:00+01:00": ("once", "2036-03-15T08:00:00+00:00", "Once at 2036-03-15 08:00"),
}


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def test_it_returns_and_stores_the_job(api: Api, root: Path) -> None:
    answer = api.post("/api/crons/create", {"prompt": "say hello", "schedule": "0 9 * * *", "name": "Hello"})
    assert set(answer) == {"ok", "job"} and answer["ok"] is True
    assert re.fullmatch("[0-9a-f]{12}", answer["job"]["id"])
    record, = stored(root)
    assert (record["id"], record["name"], record["prompt"]) == (answer["job"]["id"], "Hello", "say hello")
    assert record["schedule"] == {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def test_omitted_fields_have_the_defaults_of_the_contract(api: Api) -> None:
    job = api.create()
    assert {key: job[key] for key in ("deliver", "skills", "model", "provider", "profile", "toast_notifications",
                                      "repeat", "enabled", "state", "last_status", "read_only")} == {
        "deliver": "local", "skills": [], "model": None, "provider": None, "profile": None,
        "toast_notifications": True, "repeat": {"times": None, "completed": 0}, "enabled": True,
        "state": "scheduled", "last_status": None, "read_only": False,
    }


def test_every_field_that_a_client_may_set_is_stored(api: Api, root: Path, tmp_path: Path) -> None:
    given = {"name": "Näme 🕘", "deliver": "telegram", "skills": ["a", "b"], "model": "m", "provider": "p",
             "profile": "default", "toast_notifications": False, "no_agent": False,
             "script": write_script(root, "a.sh", ""), "workdir": str(tmp_path), "context_from": "4f2a9c1d07be",
             "enabled_toolsets": ["web"]}
    job = api.create(**given)
    assert {key: job[key] for key in given} == given
    assert api.job(job["id"]) == job


def test_a_policy_is_stored_in_one_form_and_merged_by_an_update(api: Api, root: Path) -> None:
    job = api.create(policy={"timeout": "15m", "stop_timeout": None})
    assert job["policy"] == job["effective_policy"] == stored(root)[0]["policy"] == {"timeout": 900}
    changed = api.post("/api/crons/update", {"job_id": job["id"], "policy": {"stop_timeout": 5}})["job"]
    assert changed["policy"] == {"timeout": 900, "stop_timeout": 5}
    assert api.post("/api/crons/update", {**changed, "job_id": job["id"]})["job"] == changed
    without = api.post("/api/crons/update", {"job_id": job["id"], "policy": dict.fromkeys(changed["policy"])})["job"]
    assert without["policy"] == {} and "policy" not in stored(root)[0]
    assert api.create()["policy"] == {}


@pytest.mark.parametrize("fields", [
    {"schedule": "0 9 * * *", "policy": {"timezone": "Asia/Tokyo"}}, {"schedule": "CRON_TZ=Asia/Tokyo 0 9 * * *"},
    {"schedule": "TZ=Asia/Tokyo daily at 9am", "policy": {"timezone": "Asia/Tokyo"}}])
def test_a_schedule_may_have_a_zone_of_its_own(api: Api, root: Path, fields: dict[str, Any]) -> None:
    job = api.create(**fields)
    assert job["schedule"]["expression"] == "0 9 * * *" and job["policy"] == {"timezone": "Asia/Tokyo"}
    assert moment(job["next_run_at"]).astimezone(datetime.UTC).hour == 0
    assert job["next_run_at"].endswith("T09:00:00+09:00")
    posted = api.post("/api/crons/update", {**job, "job_id": job["id"], "schedule": job["schedule_display"]})["job"]
    assert posted == job
    moved = api.post("/api/crons/update", {"job_id": job["id"], "schedule": "CRON_TZ=UTC 0 10 * * *"})["job"]
    assert moved["next_run_at"].endswith("T10:00:00+00:00") and moved["policy"] == {"timezone": "UTC"}


def test_two_zones_of_one_schedule_are_refused(api: Api) -> None:
    status, sentence = api.refused("/api/crons/create", {"prompt": "p", "schedule": "CRON_TZ=Asia/Tokyo 0 9 * * *",
                                                         "policy": {"timezone": "UTC"}})
    assert status == 400 and "'policy.timezone' is UTC, and the schedule names Asia/Tokyo" in sentence


def test_a_wrong_policy_is_refused_in_a_sentence(api: Api, root: Path) -> None:
    for policy, named in (({"timeout": 0}, "policy.timeout"), ({"nosuch": 1}, "policy.nosuch"), (7, "'policy'"),
                          ({"timeout": "soon"}, "policy.timeout")):
        status, sentence = api.refused("/api/crons/create", {"prompt": "p", "schedule": "0 9 * * *", "policy": policy})
        assert status == 400 and named in sentence
    assert stored(root) == []


def test_null_is_the_same_as_an_omitted_field(api: Api) -> None:
    job = api.create(name=None, deliver=None, skills=None, repeat=None, enabled=None, toast_notifications=None)
    assert (job["name"], job["deliver"], job["skills"], job["state"]) == ("say hello", "local", [], "scheduled")


def test_every_form_of_schedule_is_accepted_and_displayed(api: Api) -> None:
    for text, (kind, expression, display) in FORMS.items():
        job = api.create(schedule=text)
        assert (job["schedule"], job["schedule_display"]) == ({"kind": kind, "expression": expression}, display), text


def test_the_display_and_the_expression_create_the_same_schedule_again(api: Api) -> None:
    for text in FORMS:
        job = api.create(schedule=text)
        for again in (job["schedule_display"], job["schedule"]["expression"]):
            assert api.create(schedule=again)["schedule"] == job["schedule"], (text, again)


def test_a_delay_is_a_one_shot_counted_from_now(api: Api) -> None:
    job = api.create(schedule="in 30m")
    ahead = moment(job["next_run_at"]) - datetime.datetime.now(datetime.UTC)
    assert job["schedule"]["kind"] == "once"
    assert datetime.timedelta(minutes=29, seconds=50) < ahead < datetime.timedelta(minutes=30, seconds=2)


def test_an_interval_counts_from_now(api: Api) -> None:
    ahead = moment(api.create(schedule="every 2h")["next_run_at"]) - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(minutes=119, seconds=50) < ahead <= datetime.timedelta(hours=2)


def test_a_job_needs_a_prompt_and_a_schedule(api: Api, root: Path) -> None:
    for missing in ({"prompt": "p"}, {"prompt": "p", "schedule": " "}, {"prompt": "p", "schedule": None}):
        assert api.refused("/api/crons/create", missing) == (400, "schedule is missing.")
    for missing in ({"schedule": "30m"}, {"prompt": "", "schedule": "30m"}, {"prompt": " \n", "schedule": "30m"},
                    {"prompt": None, "schedule": "30m"}):
        assert api.refused("/api/crons/create", missing) == (400, "prompt is missing.")
    assert stored(root) == []


def test_a_job_without_an_agent_needs_a_script_and_no_prompt(api: Api, root: Path) -> None:
    script = write_script(root, "a.sh", "echo hi")
    job = api.post("/api/crons/create", {"schedule": "30m", "no_agent": True, "script": script})["job"]
    assert (job["no_agent"], job["script"]) == (True, script)
    assert api.refused("/api/crons/create", {"prompt": "p", "schedule": "30m", "no_agent": True})[0] == 400


def test_an_empty_name_becomes_the_first_50_characters_of_the_prompt(api: Api) -> None:
    for given in ({}, {"name": ""}):
        assert api.create(prompt="0123456789" * 6, **given)["name"] == "0123456789" * 5


def test_by_default_a_job_repeats_forever_and_a_one_shot_runs_once(api: Api) -> None:
    assert api.create()["repeat"] == {"times": None, "completed": 0}
    assert api.create(repeat=3)["repeat"] == {"times": 3, "completed": 0}
    assert str(api.create(repeat=3.0)["repeat"]["times"]) == "3"
    assert api.create(schedule="in 2h")["repeat"] == {"times": 1, "completed": 0}


def test_a_job_created_disabled_is_paused_and_does_not_fire(timed_api: TimedApi) -> None:
    job = timed_api.create(schedule=timed_api.in_seconds(60), enabled=False)
    enabled = timed_api.create(schedule=timed_api.in_seconds(60))
    assert (job["state"], job["enabled"], job["next_run_at"]) == ("paused", False, None)
    timed_api.advance(120)
    assert timed_api.started == [enabled["id"]]


def test_a_one_shot_fires_at_its_second_and_is_completed(api: Api, root: Path) -> None:
    job = api.create(schedule=in_seconds(0.5), no_agent=True, script=write_script(root, "hi.sh", "date +%s.%N"))
    wait_for(lambda: api.job(job["id"])["state"] == "completed")
    done = api.job(job["id"])
    assert (done["last_status"], done["next_run_at"], done["enabled"]) == ("ok", None, False)
    assert done["repeat"] == {"times": 1, "completed": 1}
    began = float(api.outputs(job["id"])[0].partition("## Response")[2])
    assert 0 <= began - moment(job["next_run_at"]).timestamp() < 1


def test_a_one_shot_just_missed_runs_at_once(api: Api, root: Path) -> None:
    job = api.create(schedule=in_seconds(-60), no_agent=True, script=write_script(root, "hi.sh", "echo hi"))
    assert wait_for(lambda: api.job(job["id"])["state"] == "completed")
    assert len(api.outputs(job["id"])) == 1


def test_a_one_shot_more_than_two_minutes_past_is_refused(api: Api, root: Path) -> None:
    status, sentence = api.refused("/api/crons/create", {"prompt": "p", "schedule": in_seconds(-125)})
    assert status == 400 and "past" in sentence
    assert stored(root) == []


def test_an_invalid_schedule_is_refused_with_the_accepted_forms(api: Api, root: Path) -> None:
    for schedule in ("0 0 30 2 *", "0m", "every 0 hours", "9999999h", "99999999999999999999d", "99 * * * *", "* * * *",
                     "tomorrow", "in 5 parsecs", "every monday at 25:00", "2036-02-30T09:00", "@reboot",
                     "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        status, sentence = api.refused("/api/crons/create", {"prompt": "p", "schedule": schedule})
        assert (status, "0 9 * * 1-5" in sentence, "every 2h" in sentence) == (400, True, True), (schedule, sentence)
    assert stored(root) == []


def test_a_schedule_that_croniter_reads_in_another_way_is_refused_with_both_times(
        api: Api, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_wrongly(monkeypatch, datetime.timedelta(hours=1))
    status, sentence = api.refused("/api/crons/create", {"prompt": "x", "schedule": "0 9 * * 1"})
    assert status == 400 and re.search(r" 10:00 as hermes-oscron .* 09:00 as croniter .* another form", sentence)
    assert stored(root) == []


def test_the_last_half_second_of_the_year_9999_is_refused(api: Api) -> None:
    assert api.refused("/api/crons/create", {"prompt": "p", "schedule": "9999-12-31T23:59:59.5"})[0] == 400


def test_a_wrong_type_is_refused_by_the_field_s_name(api: Api, root: Path) -> None:
    for wrong in ({"prompt": 5}, {"schedule": {"kind": "cron"}}, {"name": ["x"]}, {"deliver": 1}, {"skills": "a"},
                  {"skills": [1]}, {"model": False}, {"provider": {}}, {"profile": 1}, {"toast_notifications": "yes"},
                  {"repeat": "3"}, {"enabled": 1}, {"no_agent": "true"}, {"script": []}, {"workdir": 7},
                  {"context_from": {"a": 1}}, {"enabled_toolsets": [1]}):
        status, sentence = api.refused("/api/crons/create", {"prompt": "p", "schedule": "30m", **wrong})
        assert status == 400 and f"'{next(iter(wrong))}'" in sentence, (wrong, sentence)
    assert stored(root) == []


def test_a_repeat_is_a_whole_number_from_one_up(api: Api) -> None:
    for repeat in (0, -1, 1.5, True, 10**30):
        assert api.refused("/api/crons/create", {"prompt": "p", "schedule": "30m", "repeat": repeat})[0] == 400


def test_an_unknown_key_is_refused_by_its_name(api: Api, root: Path) -> None:
    status, sentence = api.refused("/api/crons/create", {"prompt": "p", "schedule": "30m", "shedule": "30m"})
    assert status == 400 and "'shedule'" in sentence
    assert stored(root) == []


def test_fields_of_the_server_cannot_be_set(api: Api, root: Path) -> None:
    for key in ("id", "state", "next_run_at", "last_run_at", "last_status", "last_error", "last_delivery_error",
                "created_at"):
        assert api.refused("/api/crons/create", {"prompt": "p", "schedule": "30m", key: "x"})[0] == 400, key
    assert stored(root) == []


def test_the_profile_must_exist(api: Api, root: Path) -> None:
    (root / "profiles" / "work").mkdir(parents=True)
    assert api.create(profile="work")["profile"] == "work"
    for profile in ("nobody", "../default", "."):
        status, _ = api.refused("/api/crons/create", {"prompt": "p", "schedule": "30m", "profile": profile})
        assert status == 400, profile


def test_a_script_outside_the_scripts_folder_is_refused(api: Api, root: Path) -> None:
    os.symlink("/etc/passwd", root / "scripts" / "link")
    for script in ("../a.sh", "/etc/passwd", "~/a.sh", "link", "a\0.sh"):
        status, sentence = api.refused("/api/crons/create", {"schedule": "30m", "no_agent": True, "script": script})
        assert status == 400 and "'script'" in sentence, script


def test_a_script_whose_name_no_file_can_have_is_refused(api: Api) -> None:
    assert api.refused("/api/crons/create", {"schedule": "30m", "no_agent": True, "script": "\ud800"})[0] == 400


def test_a_workdir_must_be_an_existing_folder(api: Api, root: Path) -> None:
    for workdir in ("here", "/no/such/folder", str(root / "scripts" / ".." / "none"), "/\0"):
        assert api.refused("/api/crons/create", {"prompt": "p", "schedule": "30m", "workdir": workdir})[0] == 400


def test_only_its_owner_can_read_the_file(api: Api, root: Path) -> None:
    api.create()
    assert stat.S_IMODE((root / "cron" / "jobs.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((root / "cron").stat().st_mode) == 0o700


def test_jobs_created_at_the_same_time_are_all_stored(api: Api, root: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda n: api.create(name=f"job {n}")["id"], range(24)))
    assert {record["id"] for record in stored(root)} == made
    assert len(made) == 24


def test_a_job_that_no_scheduler_can_fire_is_not_stored(idle_api: Api, root: Path) -> None:
    status, sentence = idle_api.refused("/api/crons/create", {"prompt": "p", "schedule": "30m"})
    assert status == 503 and "systemd" in sentence
    assert stored(root) == []


def test_a_surprising_schedule_is_answered_with_warnings_beside_the_job(api: Api) -> None:
    answer = api.post("/api/crons/create", {"prompt": "x", "schedule": "* 16 * * *"})
    assert set(answer) == {"ok", "job", "warnings"} and "warnings" not in answer["job"]
    [warning] = answer["warnings"]
    assert "60 times" in warning and "`0 16 * * *`" in warning


def test_an_unclear_schedule_is_refused_with_the_reason_and_then_a_form(api: Api, root: Path) -> None:
    said = api.refused("/api/crons/create", {"prompt": "x", "schedule": "9am"})[1]
    assert said.startswith("'9am' has a time and no day; write `daily at 9:00`, or `once at 9:00`")
    assert not stored(root)


def test_the_agent_s_further_fields_are_stored_and_returned(api: Api, root: Path) -> None:
    given = {"base_url": "http://127.0.0.1:1/v1", "attach_to_session": False, "failure_deliver": "telegram",
             "reasoning_effort": "high", "monitor_url": "https://example.org/status",
             "interpreter": "~/venv/bin/python", "context_from": ["self"]}
    job = api.create(**given)
    assert {key: job[key] for key in given} == given
    record, = stored(root)
    assert {key: record[key] for key in given} == given
    assert api.job(job["id"]) == job
    assert not {"monitor_script", "pinned", "paused"} & record.keys()


@pytest.mark.parametrize(("given", "reason"), [
    ({"monitor_url": "https://a.org", "monitor_script": "a.sh"}, "'monitor_script' or 'monitor_url', not both"),
    ({"monitor_url": "file:///etc/passwd"}, "must begin with http:// or https://"),
    ({"monitor_script": "../a.sh"}, "'monitor_script': The script"),
    ({"monitor_url": "https://a.org", "no_agent": True, "script": "a.sh"}, "a job with no_agent cannot have it"),
    ({"interpreter": "python3"}, "must be the absolute path of a Python"),
    ({"reasoning_effort": "huge"}, "must be one of none, minimal"), ({"attach_to_session": "yes"}, "true or false"),
    ({"paused": "yes"}, "true or false"), ({"paused_reason": "why"}, "set 'paused' too"),
])
def test_fields_that_the_agent_would_refuse_are_refused(api: Api, root: Path, given: Any, reason: str) -> None:
    write_script(root, "a.sh", "")
    status, sentence = api.refused("/api/crons/create", {"schedule": "30m", "prompt": "p", **given})
    assert status == 400 and reason in sentence
    assert stored(root) == []


def test_a_job_created_paused_has_the_reason(api: Api) -> None:
    assert api.create(paused=True)["paused_reason"] == "Created paused; awaiting operator approval."
    job = api.create(paused=True, paused_reason="not yet")
    assert (job["state"], job["paused_reason"], job["next_run_at"]) == ("paused", "not yet", None)
    for change in ({"paused": True}, {"paused_reason": "x"}):
        assert api.refused("/api/crons/update", {"job_id": job["id"], **change})[0] == 400
