"""Runs of the real agent in forks of its worker, which imports it once."""

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from hermes_oscron import config
from hermes_oscron.hermes import agent
from hermes_oscron.runner import agent_worker
from hermes_oscron.runner.agent_worker import Unavailable
from hermes_oscron.runner.command import command_for
from hermes_oscron.runner.process import Command
from tests.agent.model import Call, Model
from tests.agent.test_fire import executions
from tests.conftest import wait_for
from tests.runner.jobs import MANUAL, configure, default_home, fire, make, page, record
from tests.runner.workers import Listener, own_workers, result


def command_of(root: Path, job_id: str) -> Command:
    """Return the command of a manual run of `job_id`."""
    return command_for(record(root, job_id), default_home(root), config.load(str(root)))


def worker_of(root: Path, place: Path) -> Listener:
    python = agent.python_of(str(root), config.load(str(root)))
    assert python
    return Listener(place, agent.worker_command(python, default_home(root), ""), os.environ)


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


def test_without_systemd_runs_are_forks_of_a_worker_that_the_first_one_starts(
        hermes: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYSTEMD_EXEC_PID", raising=False)
    seen = []

    def answer(_call: Call) -> str:
        listed = subprocess.run(["ps", "-axww", "-o", "ppid=,args="], capture_output=True, text=True, check=True).stdout
        seen.append((own_workers(hermes), listed))
        return "The model was here."

    model.answer = answer
    for _ in range(2):
        job_id = make(hermes, prompt="Say four.")
        ended = fire(job_id, *MANUAL)
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        assert "The model was here." in page(hermes, job_id)
        assert f"{agent.FIRE_DUE_SCRIPT} {job_id}" not in seen[-1][1]
    [worker] = seen[0][0]
    for workers, listed in seen:
        assert workers == [worker]
        assert sum(line.split()[0] == str(worker) for line in listed.splitlines()) == 1, "the waiter"


def test_a_fork_offers_the_model_the_same_tools_as_a_process_of_its_own(hermes: Path, model: Model,
                                                                      tmp_path: Path) -> None:
    (hermes / ".env").write_text("FIRECRAWL_API_KEY=x\n")  # with it, the agent can search the web
    forked, alone = make(hermes, prompt="Say five."), make(hermes, prompt="Say six.")
    with contextlib.closing(worker_of(hermes, tmp_path)) as worker:
        assert result(worker.begin(command_of(hermes, forked)))[0] == 0
    settings = (hermes / "oscron.toml").read_text()
    configure(hermes, f"{settings}agent_worker = false\n")
    assert fire(alone, *MANUAL).returncode == 0
    [in_fork], [by_itself] = (model.calls_with(f"Say {number}.") for number in ("five", "six"))
    assert in_fork.body["tools"] == by_itself.body["tools"]
    assert "web_search" in {tool["function"]["name"] for tool in in_fork.body["tools"]}


def test_the_worker_checks_the_tools_of_its_runs_at_the_import(hermes: Path, model: Model) -> None:
    job_id = make(hermes, prompt="Say seven.")
    python = agent.python_of(str(hermes), config.load(str(hermes)))
    assert python
    program = f"""import fire_due, worker
worker._import_agent()
from tools import registry
checked = dict(registry._check_fn_cache)
status = fire_due.run_once("{job_id}", "{hermes}")
assert checked and checked.items() <= registry._check_fn_cache.items(), "a tool was checked once more"
fire_due._exit(status)
"""
    ended = subprocess.run([python, "-c", program], cwd=Path(agent.WORKER_SCRIPT).parent, capture_output=True,
                           text=True, check=False)
    assert ended.returncode == 0, ended
    assert model.calls_with("Say seven.")
