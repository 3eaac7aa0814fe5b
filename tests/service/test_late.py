"""Jobs that were due and have not started: reads show it, and no file stores it."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.hermes.home import Home
from hermes_oscron.runs import lock
from hermes_oscron.runs.model import SCHEDULE, Result, Run
from tests.conftest import in_seconds, write_jobs
from tests.fuzz.world import Ledger

from .world import LATE_JOB, diagnosis, reconciler, service


def test_a_job_that_is_due_and_has_not_started_is_an_error_that_no_file_stores(root: Path, home: Home) -> None:
    due = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=20)).replace(microsecond=0)
    path = write_jobs(root, {**LATE_JOB, "next_run_at": due.isoformat()})
    before = path.read_bytes()
    ledger = Ledger(str(root))
    ledger.armed.update(reconciler(root, ledger).plans(due))
    commands = service(root, ledger)
    [listed] = commands.list_jobs()["jobs"]
    for job in (listed, commands.show("a")):
        assert (job["last_status"], job["state"], job["last_run_at"]) == ("error", "scheduled", LATE_JOB["last_run_at"])
        assert f"It was due at {due:%Y-%m-%d %H:%M:%S %z} and has not started" in job["last_error"]
        assert datetime.datetime.fromisoformat(job["next_run_at"]) == due, "the next sync runs it"
    assert any("default:a: It was due at" in sentence for sentence in diagnosis(root, ledger))
    held = lock.acquire(home, "a")
    assert held and (running := commands.show("a"))["last_status"] == "ok", "it runs"
    assert datetime.datetime.fromisoformat(running["next_run_at"]) > datetime.datetime.now(datetime.UTC)
    held.release()
    assert path.read_bytes() == before


@pytest.mark.parametrize(("has_result", "what"), [(True, "has ended"), (False, "was cut off")])
def test_a_job_whose_run_waits_to_be_recorded_has_started(root: Path, home: Home, has_result: bool, what: str) -> None:
    due = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=90)).replace(microsecond=0)
    write_jobs(root, {**LATE_JOB, "next_run_at": due.isoformat()})
    ledger = Ledger(str(root))
    ledger.armed.update(reconciler(root, ledger).plans(due))
    run, held = Run("a", due.timestamp() + 1, SCHEDULE), lock.acquire(home, "a")
    assert held
    held.write(run)
    if has_result:
        held.write_result(run, Result(due.timestamp() + 2, None))
    held.close()
    assert diagnosis(root, ledger) == [
        f"default:a: its last run {what} and is not recorded yet. 'hermes-oscron sync' records it."]


def test_a_job_that_has_just_become_due_is_not_late(root: Path) -> None:
    due = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)
    write_jobs(root, {**LATE_JOB, "next_run_at": due.replace(microsecond=0).isoformat()})
    assert service(root, Ledger(str(root))).show("a")["last_status"] == "ok"


@pytest.mark.parametrize("fields", [{"enabled": False}, {"state": "paused"}, {"state": "completed"},
                                    {"run_claim": {"by": "the gateway"}}])
def test_a_job_that_should_not_start_or_that_the_gateway_runs_is_not_late(root: Path, fields: dict[str, Any]) -> None:
    if "run_claim" in fields:
        fields = {"run_claim": {**fields["run_claim"], "at": in_seconds(-1)}}  # of now, not of when tests are collected
    write_jobs(root, {**LATE_JOB, "next_run_at": "2026-01-02T09:00:00+00:00", **fields})
    assert service(root, Ledger(str(root))).show("a")["last_status"] == "ok"
