import os
import sqlite3
import time
from pathlib import Path

from ..conftest import Api, write_jobs, write_script
from .test_history import write


def test_what_ended_since_is_told_oldest_first(api: Api, root: Path) -> None:
    before = time.time() - 1
    well = api.create(name="well", no_agent=True, script=write_script(root, "a.sh", "true"))["id"]
    badly = api.create(name="badly", no_agent=True, script=write_script(root, "b.sh", "exit 3"),
                       toast_notifications=False)["id"]
    api.create(name="never ran")
    for job_id in (well, badly):
        api.run_to_end(job_id)
    answer = api.get(f"/api/crons/recent?since={before}")
    assert answer["since"] == before
    first, second = answer["completions"]
    assert before < first.pop("completed_at") <= second.pop("completed_at") <= time.time() + 1
    assert first == {"job_id": well, "name": "well", "status": "ok", "toast_notifications": True, "session_id": None}
    assert second == {"job_id": badly, "name": "badly", "status": "error", "toast_notifications": False,
                      "session_id": None}
    assert api.get(f"/api/crons/recent?since={time.time() + 1}")["completions"] == []


def test_without_a_number_all_is_told(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "last_run_at": "2026-01-01T00:00:00+00:00", "last_status": "ok",
                      "schedule": {"kind": "cron", "expr": "0 9 * * *"}})
    for query in ("", "?since=", "?since=yesterday", "?since=nan", "?since=-inf", "?since=0"):
        answer = api.get(f"/api/crons/recent{query}")
        assert answer["since"] == 0.0 and [each["job_id"] for each in answer["completions"]] == ["a"]


def test_the_last_run_of_a_job_that_the_agent_has_removed_is_told(api: Api, root: Path) -> None:
    now = time.time()
    for job_id, title in (("once", "# Cron Job: Call home"), ("failed", "# Cron Job: Call mum (FAILED)"),
                          ("old", "# x")):
        path = write(root, job_id, "2027-03-01_09-00-00.md", f"{title}\n\n## Response\n\nx\n")
        os.utime(path, (now - 500 * (job_id == "old"),) * 2)
    told = {each["job_id"]: (each["name"], each["status"]) for each in
            api.get(f"/api/crons/recent?since={now - 100}")["completions"]}
    assert told == {"once": ("Call home", "ok"), "failed": ("Call mum", "error")}


def test_the_session_of_a_run_is_the_agent_s_last_one_for_it(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "last_run_at": "2026-01-02T00:00:00+00:00",
                      "schedule": {"kind": "cron", "expr": "0 9 * * *"}})
    connection = sqlite3.connect(root / "state.db")
    connection.execute("CREATE TABLE sessions (id TEXT PRIMARY KEY, started_at REAL NOT NULL)")
    for session, at in (("cron_a_20260101_000000", 1767225600), ("cron_a_20260102_000000", 1767311999),
                        ("cron_a_20270101_000000", 1798761600), ("cron_ab_20260102_000000", 1767312000)):
        connection.execute("INSERT INTO sessions VALUES (?, ?)", (session, at))
    connection.commit()
    connection.close()
    assert api.get("/api/crons/recent")["completions"][0]["session_id"] == "cron_a_20260102_000000"
    (root / "state.db").write_text("not a database at all")
    assert api.get("/api/crons/recent")["completions"][0]["session_id"] is None
