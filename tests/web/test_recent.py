import datetime
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from ..conftest import Api, write_jobs, write_script
from .test_output import write_outputs

NOON = datetime.datetime(2026, 3, 15, 12, 0, 0, tzinfo=datetime.UTC)


def write_sessions(home: Path, *ids: str, source: str = "cron", messages: object = 4) -> None:
    """Put sessions into `home`'s state.db as the agent does."""
    database = sqlite3.connect(home / "state.db")
    database.execute("CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, source TEXT NOT NULL, "
                     "message_count INTEGER DEFAULT 0)")
    database.executemany("INSERT INTO sessions VALUES (?, ?, ?)", [(each, source, messages) for each in ids])
    database.commit()
    database.close()


def record(job_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": job_id, "name": f"job {job_id}", "prompt": "p", "last_run_at": NOON.isoformat(), "last_status": "ok",
            **fields}


def session_of(api: Api, job_id: str = "a") -> Any:
    return {each["job_id"]: each["session_id"] for each in api.get("/api/crons/recent")["completions"]}[job_id]


def test_a_job_that_has_just_ended_is_listed(api: Api, root: Path) -> None:
    before = time.time()
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "exit 3"), name="n", toast_notifications=False)
    api.create()
    api.run_to_end(job["id"])
    answer = api.get(f"/api/crons/recent?since={before}")
    completion, = answer["completions"]
    assert answer["since"] == before
    assert before <= completion.pop("completed_at") <= time.time()
    assert completion == {"job_id": job["id"], "name": "n", "status": "error", "toast_notifications": False,
                          "session_id": "", "message_count": 0}


def test_a_run_that_ended_before_since_is_not_listed(api: Api, root: Path) -> None:
    write_jobs(root, record("a"), record("unix", last_run_at=NOON.timestamp() + 5), record("never", last_run_at=None),
               record("odd", last_run_at="yesterday"))
    for since, told in ((0, ["a", "unix"]), (NOON.timestamp() - 1, ["a", "unix"]), (NOON.timestamp(), ["unix"]),
                        (NOON.timestamp() + 5, [])):
        answer = api.get(f"/api/crons/recent?since={since}")
        assert [each["job_id"] for each in answer["completions"]] == told


def test_since_is_0_if_it_is_not_a_number(api: Api, root: Path) -> None:
    write_jobs(root, record("a"))
    for since in ("", "?since=", "?since=x", "?since=1_000", "?since=nan", "?since=inf", "?since=-1e999", "?since=%ff"):
        answer = api.get(f"/api/crons/recent{since}")
        assert (answer["since"], len(answer["completions"])) == (0, 1), since


def test_every_field_has_its_type_for_any_record(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "bare", "last_run_at": NOON.isoformat(), "name": None, "last_status": None,
                      "toast_notifications": None})
    completion, = api.get("/api/crons/recent")["completions"]
    assert completion == {"job_id": "bare", "name": "bare", "status": "unknown", "completed_at": NOON.timestamp(),
                          "toast_notifications": True, "session_id": "", "message_count": 0}


def test_jobs_of_other_profiles_are_not_listed(api: Api, root: Path) -> None:
    (root / "profiles" / "work").mkdir(parents=True)
    write_jobs(root / "profiles" / "work", record("a"))
    assert api.get("/api/crons/recent")["completions"] == []


def test_the_session_is_the_one_of_the_last_run(api: Api, root: Path) -> None:
    write_jobs(root, record("a"))
    write_sessions(root, "cron_a_20260314_115500", "cron_a_20260315_115500", "cron_a_20260315_130000",
                   "cron_ab_20260315_115800", "cron_a_b_20260315_115800", "cron_a_20269999_115500", "20260315_115900_x")
    assert session_of(api) == "cron_a_20260315_115500"


def test_a_session_has_its_number_of_messages(api: Api, root: Path) -> None:
    write_jobs(root, record("a"), record("b"), record("none"))
    write_sessions(root, "cron_a_20260315_115500", messages=7)
    write_sessions(root, "cron_b_20260315_115500", messages=None)
    told = {each["job_id"]: each["message_count"] for each in api.get("/api/crons/recent")["completions"]}
    assert told == {"a": 7, "b": 0, "none": 0}


def test_a_session_of_an_earlier_run_is_not_shown(api: Api, root: Path) -> None:
    write_jobs(root, record("a"))
    write_outputs(root, "a", **{"2026-03-14_12-00-00": "before", "2026-03-15_12-00-00": "last"})
    yesterday = NOON.timestamp() - 24 * 3600
    os.utime(root / "cron" / "output" / "a" / "2026-03-14_12-00-00.md", (yesterday, yesterday))
    write_sessions(root, "cron_a_20260314_115500")
    assert session_of(api) == ""


def test_a_session_that_belongs_to_no_run_is_not_shown(api: Api, root: Path) -> None:
    write_jobs(root, record("a"), record("script", no_agent=True))
    write_sessions(root, "cron_a_20260315_115500", source="telegram")
    write_sessions(root, "cron_script_20260315_115500")
    assert session_of(api) == session_of(api, "script") == ""


def test_the_session_of_a_job_of_another_profile_is_found(api: Api, root: Path) -> None:
    (root / "profiles" / "work").mkdir(parents=True)
    write_jobs(root, record("a", profile="work"), record("gone", profile="gone"))
    write_sessions(root / "profiles" / "work", "cron_a_20260315_115500")
    assert (session_of(api), session_of(api, "gone")) == ("cron_a_20260315_115500", "")


def test_an_unreadable_database_has_no_session(api: Api, root: Path) -> None:
    write_jobs(root, record("a"))
    (root / "state.db").write_bytes(b"no database")
    assert session_of(api) == ""


def test_the_last_run_of_a_job_that_the_agent_removed_is_listed(api: Api, root: Path) -> None:
    for job_id, title in (("once", "# Cron Job: Call home"), ("failed", "# Cron Job: Call mum (FAILED)"),
                          ("old", "# x")):
        write_outputs(root, job_id, **{"2027-03-01_09-00-00": f"{title}\n\n## Response\n\nx\n"})
    os.utime(root / "cron" / "output" / "old" / "2027-03-01_09-00-00.md", (0, 0))
    told = {each["job_id"]: (each["name"], each["status"]) for each in
            api.get(f"/api/crons/recent?since={time.time() - 100}")["completions"]}
    assert told == {"once": ("Call home", "ok"), "failed": ("Call mum", "error")}
