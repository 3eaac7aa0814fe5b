"""Every run ends in `finish`, once and with its own result."""

import datetime
import time
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.hermes import job_store, jobs_file
from hermes_oscron.hermes.home import Home
from hermes_oscron.jobs.model import Job
from hermes_oscron.runner import result
from hermes_oscron.runner.process import ProcessResult
from hermes_oscron.runs import interrupted, lock
from hermes_oscron.runs.finish import finish
from hermes_oscron.runs.model import MANUAL, Result, Run
from tests.conftest import write_jobs
from tests.service.world import DAILY_JOB, cut_off_run

WELL, BADLY = ProcessResult("fine\n", "", None), ProcessResult("", "no\n", "exited with code 3: no")


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Result | None]:
    """Return the list to which every call of `finish` adds the result of its run."""
    results: list[Result | None] = []

    def noting(home: Home, run: Run, before: Job | None = None) -> Job | None:
        results.append(run.result)
        return finish(home, run, before)

    for module in (result, interrupted):
        monkeypatch.setattr(module, "finish", noting)
    return results


def end_run(home: Home, process: ProcessResult, agent: dict[str, Any] | None = None, removed: bool = False) -> None:
    """End a run of the job `a` with `process`; the agent has recorded it as `agent`, or `removed` the job."""
    record = jobs_file.find(home, "a")
    run, run_lock = Run("a", time.time(), MANUAL), lock.acquire(home, "a")
    assert run_lock
    run_lock.write(run)
    if agent is not None:
        now = datetime.datetime.now(datetime.UTC).isoformat()
        job_store.change(home, "a", lambda job: job.with_fields({"last_run_at": now, **agent}))
    if removed:
        jobs_file.remove(home, "a")
    result.record_result(home, record, run, run_lock, process, by_agent=agent is not None or removed)
    run_lock.release()


@pytest.mark.parametrize(("process", "error"), [(WELL, None), (BADLY, BADLY.error)])
def test_a_run_ends_with_the_error_of_its_process(
        root: Path, home: Home, ended: list[Result | None], process: ProcessResult, error: str | None) -> None:
    write_jobs(root, DAILY_JOB)
    end_run(home, process)
    assert [end and end.error for end in ended] == [error]


@pytest.mark.parametrize(("recorded", "error", "undelivered"), [
    ({"last_status": "ok", "last_error": None}, None, None),
    ({"last_status": "error", "last_error": "the model refused"}, "the model refused", None),
    ({"last_status": "ok", "last_delivery_error": "no such chat"}, None, "no such chat"),
])
def test_a_run_by_the_agent_ends_with_the_result_that_the_agent_recorded(
        root: Path, home: Home, ended: list[Result | None], recorded: dict[str, Any], error: str | None,
        undelivered: str | None) -> None:
    write_jobs(root, DAILY_JOB)
    end_run(home, WELL, agent=recorded)
    assert [(end.error, end.delivery_error, end.by_agent) for end in ended if end] == [(error, undelivered, True)]


def test_the_last_run_of_a_job_that_the_agent_removed_ends_too(
        root: Path, home: Home, ended: list[Result | None]) -> None:
    write_jobs(root, {**DAILY_JOB, "repeat": {"times": 1, "completed": 0}})
    end_run(home, BADLY, removed=True)
    assert [end and end.error for end in ended] == [BADLY.error]
    assert job_store.read(home) == []


def test_a_run_that_was_cut_off_ends_without_a_result(root: Path, home: Home, ended: list[Result | None]) -> None:
    write_jobs(root, DAILY_JOB)
    cut_off_run(root, "a")
    interrupted.record_interrupted_runs(home)
    assert ended == [None]
