"""The runs in the ledger, and the times to come."""

import contextlib
import datetime
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.hermes.home import Home
from hermes_oscron.runs import ledger, lock
from hermes_oscron.runs.model import Run

from ..conftest import Api, TimedApi, write_jobs, write_script

BASE = (datetime.datetime.now(datetime.UTC).timestamp() // 3600 - 20) * 3600
"""The hour 0 of these rows. Retention would remove those of other years."""
UTC = datetime.UTC


@pytest.fixture
def filled(home: Home) -> None:
    """Ten rows: of the jobs a and b by turns, the last ones newer."""
    with ledger.writing(home) as books:
        for hour in range(9):
            due = BASE + hour * 3600
            row = ledger.begin_row(books, "ab"[hour % 2], "name", "schedule", due, due + 0.5)
            ledger.end_row(books, row, ledger.End(due + 2, "ok" if hour % 3 else "error"))
        ledger.insert_not_run(books, "a", "name", BASE + 9 * 3600, "missed", "off")


def due(answer: Any) -> list[int]:
    return [int(datetime.datetime.fromisoformat(run["due_at"]).timestamp() - BASE) // 3600 for run in answer["runs"]]


def test_a_run_has_its_row(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "exit 3"), name="n")
    api.run_to_end(job["id"])
    [run] = api.get("/api/crons/runs")["runs"]
    assert (run["job_id"], run["name"], run["trigger"], run["outcome"], run["exit_code"], run["profile"]) == (
        job["id"], "n", "manual", "error", 3, "default")
    [entry] = api.get(f"/api/crons/history?job_id={job['id']}")["runs"]
    assert entry["run"] == run and entry["filename"] == run["output"]
    assert api.get(f"/api/crons/run?job_id={job['id']}&filename={run['output']}")["run"] == run


@pytest.mark.usefixtures("filled")
def test_the_runs_are_filtered(api: Api) -> None:
    assert due(api.get("/api/crons/runs")) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert due(api.get("/api/crons/runs?job_id=b")) == [7, 5, 3, 1]
    assert due(api.get("/api/crons/runs?outcome=error")) == [6, 3, 0]
    assert due(api.get("/api/crons/runs?outcome=missed&job_id=a")) == [9]
    assert due(api.get("/api/crons/runs?trigger=manual")) == []
    assert due(api.get(f"/api/crons/runs?since={BASE + 3 * 3600}&until={BASE + 5 * 3600}")) == [4, 3]


@pytest.mark.usefixtures("filled")
def test_a_cursor_gives_the_next_page(api: Api) -> None:
    found, cursor, pages = list[int](), "", 0
    while cursor is not None:
        answer = api.get(f"/api/crons/runs?limit=4{cursor and f'&cursor={cursor}'}")
        found, cursor, pages = found + due(answer), answer["next_cursor"], pages + 1
    assert found == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0] and pages == 3


@pytest.mark.parametrize("query", ["cursor=x", "outcome=good", "trigger=", "since=soon", "until=1_0",
                                   "limit=x", "job_id=../x"])
def test_a_wrong_parameter_is_refused(api: Api, query: str) -> None:
    status, answer = api.call("GET", f"/api/crons/runs?{query}", None)
    assert status == 400 and answer["error"].endswith(".")


@pytest.mark.usefixtures("filled")
def test_a_client_polls_for_the_runs_that_have_ended(api: Api, root: Path, home: Home) -> None:
    cursor = api.get("/api/crons/recent")["cursor"]
    assert api.get(f"/api/crons/recent?after={cursor}")["completions"] == []
    with ledger.writing(home) as books:
        for minute in range(2):
            row = ledger.begin_row(books, "a", "name", "manual", BASE + 40000.5 + minute, BASE + 40000.5 + minute)
            ledger.end_row(books, row, ledger.End(BASE + 40001 + minute, "timeout"))
    answer = api.get(f"/api/crons/recent?after={cursor}")
    assert [(each["job_id"], each["status"], each["completed_at"]) for each in answer["completions"]] == [
        ("a", "error", BASE + 40001), ("a", "error", BASE + 40002)]
    assert api.get(f"/api/crons/recent?after={answer['cursor']}")["completions"] == []
    write_jobs(root, {"id": "c", "prompt": "p", "last_run_at": 50000, "last_status": "ok"})
    assert [each["job_id"] for each in api.get("/api/crons/recent?after=other-1")["completions"]] == ["c"]


def test_the_times_to_come_are_in_order(timed_api: TimedApi) -> None:
    often = timed_api.create(schedule="every 6h", name="often")["id"]
    once = timed_api.create(schedule=timed_api.in_seconds(3600), name="once")["id"]
    paused = timed_api.create(schedule="every 1h", name="paused")["id"]
    limited = timed_api.create(schedule="every 10h", name="limited", repeat=1)["id"]
    timed_api.post("/api/crons/pause", {"job_id": paused})
    answer = timed_api.get("/api/crons/upcoming")
    assert [each["job_id"] for each in answer["upcoming"]] == [once, often, limited, often, often, often]
    first = datetime.datetime.fromisoformat(answer["upcoming"][1]["due_at"])
    assert first == datetime.datetime.fromisoformat(timed_api.job(often)["next_run_at"])
    assert len(timed_api.get("/api/crons/upcoming?hours=7")["upcoming"]) == 2
    assert timed_api.call("GET", "/api/crons/upcoming?hours=x", None)[0] == 400


def test_a_clock_change_is_marked(timed_api: TimedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERMES_TIMEZONE", "Europe/Berlin")
    timed_api.create(schedule="0 9 * * *")
    now = timed_api.clock.now()
    changes = timed_api.get("/api/crons/upcoming?hours=744")["clock_changes"]
    later = datetime.datetime(now.year, 10, 20, tzinfo=UTC)
    later = later if later > now else later.replace(year=now.year + 1)
    timed_api.advance((later - now).total_seconds())
    [change] = timed_api.get("/api/crons/upcoming?hours=744")["clock_changes"]
    assert (change["zone"], change["shift_seconds"]) == ("Europe/Berlin", -3600)
    assert all(each["zone"] == "Europe/Berlin" for each in changes)


def end_runs(home: Home, *runs: tuple[str, float]) -> None:
    with ledger.writing(home) as books:
        for job_id, ended in runs:
            row = ledger.begin_row(books, job_id, f"name of {job_id}", "manual", ended - 1, ended - 1)
            ledger.end_row(books, row, ledger.End(ended, "ok"))


def completions(api: Api, since: float) -> list[tuple[str, float]]:
    answer = api.get(f"/api/crons/recent?since={since}")
    return [(each["job_id"], each["completed_at"]) for each in answer["completions"]]


def test_the_last_run_of_each_job_is_found_in_the_ledger_if_it_goes_back_so_far(
        api: Api, root: Path, home: Home) -> None:
    write_jobs(root, *({"id": job_id, "prompt": "p", "last_run_at": 50, "last_status": "ok"} for job_id in "ab"))
    end_runs(home)
    now = float(int(time.time()) + 1)
    end_runs(home, ("a", now + 1), ("b", now + 2), ("a", now + 3), ("gone", now + 4))
    assert completions(api, now) == [("b", now + 2), ("a", now + 3)], "jobs.json has not one of them"
    assert completions(api, now + 2) == [("a", now + 3)]
    assert completions(api, 0) == [("a", 50), ("b", 50)]
    (root / "cron" / "output" / "gone").mkdir(parents=True)
    assert completions(api, now + 3) == [("gone", now + 4)], "the agent removes a job, and not its outputs"


def test_jobs_json_has_the_last_runs_if_they_may_be_too_many(api: Api, root: Path, home: Home,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    from hermes_oscron.runs import recent

    monkeypatch.setattr(recent, "MAX_RUNS", 2)
    end_runs(home)
    now = time.time()
    write_jobs(root, {"id": "a", "prompt": "p", "last_run_at": now + 1, "last_status": "ok"})
    end_runs(home, ("b", now + 1), ("b", now + 2))
    assert [job_id for job_id, _ in completions(api, now)] == ["a"]


def test_outputs_are_listed_while_the_ledger_cannot_be_read(api: Api, root: Path, home: Home) -> None:
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "echo fine"))
    api.run_to_end(job["id"])
    [entry] = api.get(f"/api/crons/history?job_id={job['id']}")["runs"]
    assert entry["run"]
    with contextlib.closing(sqlite3.connect(f"{root}/empty")) as empty:
        empty.execute(f"PRAGMA user_version = {ledger.VERSION}")
    os.replace(f"{root}/empty", home.state.ledger)
    assert api.get(f"/api/crons/history?job_id={job['id']}")["runs"] == [entry | {"run": None}]
    assert api.get(f"/api/crons/run?job_id={job['id']}&filename={entry['filename']}")["run"] is None
    answer = api.get("/api/crons/recent?after=1")
    assert [each["job_id"] for each in answer["completions"]] == [job["id"]] and answer["cursor"] == ""


def test_a_run_that_waits_for_its_turn_is_listed(api: Api, root: Path, home: Home) -> None:
    write_jobs(root, {"id": "a", "name": "n", "prompt": "p"}, {"id": "b", "prompt": "p"})
    run_lock = lock.acquire(home, "a")
    assert run_lock
    run_lock.write(Run("a", BASE + 5.5, "schedule", queued=True, due=BASE))
    answer = api.get("/api/crons/runs")
    assert answer["runs"] == [] and api.get("/api/crons/runs?job_id=b")["queued"] == []
    [waiting] = answer["queued"]
    assert (waiting["job_id"], waiting["name"], waiting["profile"]) == ("a", "n", "default")
    assert [datetime.datetime.fromisoformat(waiting[key]).timestamp() for key in ("due_at", "queued_at")] == [
        BASE, BASE + 5.5]
    run_lock.release()
    assert api.get("/api/crons/runs?job_id=a")["queued"] == []
