"""The agent worker without a unit: of an installation with a real cron, and of a foreground server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.conftest import AGENT as AGENT_HERE
from tests.conftest import wait_for
from tests.machine.agents import AGENT, PATH, RUN_S, HeldModel
from tests.machine.box import INSIDE, Box
from tests.machine.sites import CrontabSite, ForegroundSite, Site, add_account, free_port


@pytest.fixture
def model() -> Iterator[HeldModel]:
    model = HeldModel()
    yield model
    model.released.set()
    model.close()


@pytest.fixture
def cron(machine: Box, model: HeldModel) -> CrontabSite:
    add_account(machine, "walt")
    site = CrontabSite(machine, "walt", free_port(), PATH=PATH)
    site.put(site.config, f'[exec]\nagent = "{AGENT}/hermes"\n')
    site.install()
    site.put(f"{site.hermes}/config.yaml", model.config)
    site.run(f"{AGENT}/python -c 'import cron.scheduler, run_agent, openai.resources'")  # a cold disk takes a minute
    return site


@pytest.fixture
def foreground(tmp_path: Path, model: HeldModel) -> Iterator[ForegroundSite]:
    site = ForegroundSite(tmp_path)
    (tmp_path / "hermes").mkdir()
    site.put(site.config, f'[exec]\nagent = "{AGENT_HERE}/hermes"\n')
    site.put(f"{site.hermes}/config.yaml", model.config)
    site.start_server()
    yield site
    site.stop_server()


def processes(site: Site) -> list[tuple[str, str, str]]:
    """Return process, parent and session of the worker of `site`, its waiters and its forks."""
    listed = site.run("ps -axww -o pid=,ppid=,sid=,args=").stdout.splitlines()
    return [(pid, parent, session) for pid, parent, session, command in (line.split(None, 3) for line in listed)
            if "worker.py " in command and f"{site.hermes}/cron/oscron/agent-worker" in command]


def runs_are_forks_of_one_worker(site: Site, model: HeldModel) -> str:
    """Check two runs that are due at once; return the process of their worker."""
    due = site.soon(5)
    jobs = {prompt: site.api.create(prompt=prompt, schedule=due)["id"] for prompt in ("Say one.", "Say two.")}
    for prompt in jobs:
        wait_for(lambda prompt=prompt: model.calls_with(prompt), RUN_S)
    found = processes(site)
    [worker] = [pid for pid, _, session in found if pid == session]
    waiters = [pid for pid, parent, _ in found if parent == worker]
    assert sorted(parent for _, parent, _ in found if parent in waiters) == sorted(waiters) and len(waiters) == 2
    assert "fire_due.py" not in site.run(f"ps -ww -o args= -p {','.join(pid for pid, _, _ in found)}").stdout
    model.released.set()
    for prompt, job_id in jobs.items():
        wait_for(lambda job_id=job_id: "The model was here." in site.outputs(job_id), RUN_S)
        assert len(model.calls_with(prompt)) == 1
    wait_for(lambda: [pid for pid, _, _ in processes(site)] == [worker], 10)
    return worker


def test_runs_by_cron_are_forks_of_one_worker_which_ends(cron: CrontabSite, model: HeldModel) -> None:
    runs_are_forks_of_one_worker(cron, model)
    assert "is not used" not in cron.box.run("journalctl --no-pager -o cat -t hermes-job", check=False).stdout
    cron.administer(f"{INSIDE}/install.sh --uninstall")
    wait_for(lambda: not processes(cron), 75)
    assert not cron.run(f"ls {cron.hermes}/cron/oscron/agent-worker", check=False).stdout


def test_runs_by_a_foreground_server_are_forks_of_one_worker(foreground: ForegroundSite, model: HeldModel) -> None:
    worker = runs_are_forks_of_one_worker(foreground, model)
    with contextlib.suppress(ProcessLookupError):
        foreground.run(f"kill {worker}")
    assert "is not used" not in (Path(foreground.home) / "serve.log").read_text()
