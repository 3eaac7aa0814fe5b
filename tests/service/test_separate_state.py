"""If an agent keeps the state of its jobs in cron/runtime.db, nothing runs or changes, and commands give the reason."""

import time
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.files import StateFileError
from hermes_oscron.schedulers.foreground import Foreground
from tests.runner.jobs import MANUAL, fire, make_due, make_script, reconciler, service

from .world import diagnosis

REASON = "keeps the state of its jobs"


@pytest.fixture
def job_id(root: Path) -> str:
    job_id = make_script(root, "echo ran\n")
    make_due(root, job_id)
    (root / "cron" / "runtime.db").touch()
    return job_id


@pytest.mark.parametrize(("command", "arguments"), [
    ("list_jobs", ()), ("show", ("ID",)), ("create", ({"schedule": "every 2h", "prompt": "x"},)),
    ("update", ("ID", {"name": "x"})), ("pause", ("ID",)), ("resume", ("ID",)), ("delete", ("ID",)), ("run", ("ID",)),
])
def test_every_command_refuses_with_the_reason(
        root: Path, job_id: str, command: str, arguments: tuple[Any, ...]) -> None:
    before = (root / "cron" / "jobs.json").read_bytes()
    with pytest.raises(StateFileError, match=REASON):
        getattr(service(root), command)(*(job_id if argument == "ID" else argument for argument in arguments))
    assert (root / "cron" / "jobs.json").read_bytes() == before


@pytest.mark.parametrize("arguments", [(), MANUAL])
def test_no_job_runs(root: Path, job_id: str, arguments: tuple[str, ...]) -> None:
    before, begun = (root / "cron" / "jobs.json").read_bytes(), time.monotonic()
    ended = fire(job_id, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert REASON in ended.stderr
    assert time.monotonic() - begun < 20
    assert (root / "cron" / "jobs.json").read_bytes() == before


def test_a_sync_and_doctor_report_it_and_nothing_is_disarmed(root: Path, job_id: str) -> None:
    before = (root / "cron" / "jobs.json").read_bytes()
    report = reconciler(root).sync()
    assert REASON in report.problems[0].sentence and report.problems[0].needs_edit
    assert not report.disarmed
    assert (root / "cron" / "jobs.json").read_bytes() == before
    scheduler = Foreground(str(root))
    with scheduler.firing(lambda now: {}):
        assert any(REASON in sentence for sentence in diagnosis(root, scheduler))


def test_when_it_is_moved_away_the_jobs_run_again(root: Path, job_id: str) -> None:
    (root / "cron" / "runtime.db").unlink()
    assert fire(job_id).stdout == "ran\n"
