"""Runs of the real agent in forks of its worker, which imports it once."""

import contextlib
import os
from pathlib import Path

import pytest

from hermes_oscron import config
from hermes_oscron.hermes import agent
from hermes_oscron.runner import agent_worker
from hermes_oscron.runner.agent_worker import Unavailable
from hermes_oscron.runner.command import command_for
from hermes_oscron.runner.process import Command
from tests.agent.model import Model
from tests.agent.test_fire import executions
from tests.conftest import wait_for
from tests.runner.jobs import default_home, make, page, record
from tests.runner.workers import Listener, result


def command_of(root: Path, job_id: str) -> Command:
    """Return the command of a manual run of `job_id`."""
    return command_for(record(root, job_id), default_home(root), config.load(str(root)))


def worker_of(root: Path, place: Path) -> Listener:
    python = agent.python_of(str(root), config.load(str(root)))
    assert python
    return Listener(place, agent.worker_command(python, default_home(root)), os.environ)


def test_the_agent_runs_prompts_in_forks_of_one_worker(hermes: Path, model: Model, tmp_path: Path) -> None:
    jobs = [make(hermes, prompt=f"Say {number}.") for number in ("one", "two")]
    with contextlib.closing(worker_of(hermes, tmp_path)) as worker:
        runs = [worker.begin(command_of(hermes, job_id)) for job_id in jobs]
        for job_id, run in zip(jobs, runs, strict=True):
            status, _, errors = result(run)
            assert status == 0, errors
            assert record(hermes, job_id)["last_status"] == "ok"
            assert "The model was here." in page(hermes, job_id)
            assert executions(hermes, job_id) == ["completed"]
        assert worker.process.poll() is None
    assert [len(model.calls_with(f"Say {number}.")) for number in ("one", "two")] == [1, 1]


def test_a_change_of_the_agent_s_settings_discards_its_worker(hermes: Path, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = make(hermes, prompt="Say three.")
    with contextlib.closing(worker_of(hermes, tmp_path)) as worker:
        assert result(worker.begin(command_of(hermes, job_id)))[0] == 0
        (hermes / ".env").write_text("SOME=thing\n")
        monkeypatch.setattr(agent_worker, "IMPORT_TIMEOUT_S", 1.0)  # nothing starts another one
        with pytest.raises((Unavailable, OSError)):
            worker.begin(command_of(hermes, job_id))
        assert wait_for(lambda: worker.process.poll() is not None)
