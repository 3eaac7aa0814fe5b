"""The agent worker without systemd, by real runs of a small agent."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_oscron.hermes.home import Home
from tests.conftest import wait_for
from tests.runner.jobs import (
    MANUAL,
    command_line,
    configure,
    fire,
    firing,
    is_alive,
    kill,
    make,
    page,
    pid_in,
    record,
    section,
)
from tests.runner.workers import own_workers

pytestmark = pytest.mark.usefixtures("without_systemd_environment")

MODULES = {
    "__init__": "",
    "scheduler_provider": "class CronScheduler:\n    pass\n",
    "executions": "RUNS = []\ndef create_execution(job_id, source):\n"
                  "    RUNS.append({'id': '1', 'status': 'completed', 'error': None})\n    return RUNS[-1]\n"
                  "def list_executions(job_id, limit):\n    return RUNS\n",
    "jobs": "import contextlib\ndef claim_job_for_fire(job_id):\n    return True\n"
            "def get_job(job_id):\n    return {'id': job_id}\n"
            "@contextlib.contextmanager\ndef use_cron_store(home):\n    yield\n",
    "scheduler": "import os\nIMPORTED_BY = os.getpid()\nrun_job = save_job_output = mark_job_run = None\n"
                 "def run_one_job(job):\n    os.chdir(os.environ['HERMES_HOME'])\n"
                 "    exec(open('run.py').read(), {})\n",
}
REPORT = "import cron.scheduler, os\nprint(cron.scheduler.IMPORTED_BY, os.getpid(), os.getppid(), flush=True)\n"
SLEEPER = "import os, time\nopen('started', 'w').write(f'{os.getpid()} {os.getppid()}\\n')\ntime.sleep(60)\n"
KINDS = ("child", "session", "bare", "fork")
LEAVES_ALL = """
import os, subprocess, time
def quiet(command, **options):
    null = subprocess.DEVNULL
    subprocess.Popen(["setsid", "sh", "-c", command], stdout=null, stderr=null, **options)
subprocess.Popen(["sh", "-c", "echo $$ >child; exec sleep 60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
quiet("(echo $$ >session; exec sleep 60 &); wait; echo $$ >session; exec sleep 60")
quiet("echo $$ >bare; exec sleep 60", env={"PATH": os.environ["PATH"]})
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        with open("fork", "w") as file:
            file.write(f"{os.getpid()}\\n")
        time.sleep(60)
    os._exit(0)
while not all(os.path.exists(name) and os.path.getsize(name) for name in ("child", "session", "bare", "fork")):
    time.sleep(0.01)
"""
"""Leaves a process of each kind: in the job's group, in a session of its own, without an environment, and an orphan
that has not called execve(2), so that it shows the environment of the worker."""


class Agent:
    """A small agent, whose runs execute the file `run.py` of the home."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "agent"
        (self.folder / "cron").mkdir(parents=True)
        for name, text in MODULES.items():
            (self.folder / "cron" / f"{name}.py").write_text(text)
        command = self.folder / "hermes"
        command.write_text(f"#!{sys.executable}\n")
        command.chmod(0o755)
        configure(root, f'[exec]\nagent = "{command}"\n')
        self.job_id = make(root)

    def does(self, script: str) -> None:
        (self.root / "run.py").write_text(script)

    def at_import(self, text: str) -> None:
        (self.folder / "cron" / "scheduler.py").write_text(f"import sys\nWORKER = sys.modules['__main__']\n{text}\n"
                                                           f"{MODULES['scheduler']}")

    def workers(self) -> list[int]:
        return own_workers(self.root)

    def reported(self, job_id: str = "", **environment: str) -> tuple[int, int, int]:
        """Run REPORT; return the process that has imported the agent, that of the run, and its parent."""
        self.does(REPORT)
        ended = fire(job_id or self.job_id, *MANUAL, **environment)
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        imported_by, pid, parent = map(int, ended.stdout.split())
        return imported_by, pid, parent


@pytest.fixture
def agent(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.setenv("PYTHONPATH", f"{root}/agent")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    agent = Agent(root)
    yield agent
    for pid in agent.workers():
        kill(pid)
    for name in (*KINDS, "started"):
        if (root / name).exists():
            kill(int((root / name).read_text().split()[0]))


def started(root: Path) -> tuple[int, int]:
    """Return the process of a run of SLEEPER, and its waiter."""
    pid, waiter = wait_for(lambda: (root / "started").exists() and (root / "started").read_text().split())
    return int(pid), int(waiter)


def alive(root: Path) -> list[str]:
    return [name for name in KINDS if is_alive(pid_in(root / name))]


def test_runs_are_forks_of_one_worker_that_has_no_mark_of_a_run(agent: Agent) -> None:
    first, second = agent.reported(), agent.reported()
    assert first[0] == second[0] and first[1] != second[1]
    assert agent.workers() == [first[0]]
    assert b"HERMES_JOB_RUN=worker@" in Path(f"/proc/{first[0]}/environ").read_bytes()
    assert os.readlink(f"/proc/{first[0]}/fd/1") == "/dev/null"
    assert record(agent.root, agent.job_id)["last_status"] == "ok"
    assert (agent.root / "cron/oscron/agent-worker").stat().st_mode & 0o777 == 0o600


def test_a_home_with_a_long_path(root: Path, agent: Agent) -> None:
    path = root / "profiles" / ("a" * 60)
    path.mkdir(parents=True)
    other = make(root, profile=path.name)
    (path / "run.py").write_text(REPORT)
    ended = fire(other, *MANUAL)
    assert ended.returncode == 0, ended
    imported_by, pid, _ = map(int, ended.stdout.split())
    assert imported_by != pid and os.stat(f"{path}/cron/oscron/agent-worker")
    assert len(f"{path}/cron/oscron/agent-worker") > 108
    kill(imported_by)


def test_each_profile_has_a_worker_of_its_own(root: Path, agent: Agent) -> None:
    (root / "profiles/work").mkdir(parents=True)
    (root / "profiles/work/run.py").write_text(REPORT)
    other = make(root, profile="work")
    own, of_other = agent.reported()[0], agent.reported(other)[0]
    kill(of_other)
    assert own != of_other


def test_runs_that_begin_at_once_start_one_worker(root: Path, agent: Agent) -> None:
    agent.does(REPORT)
    jobs = [agent.job_id, *(make(root) for _ in range(4))]
    runners = [subprocess.Popen(command_line(job_id, *MANUAL), stdout=subprocess.DEVNULL) for job_id in jobs]
    assert [runner.wait(60) for runner in runners] == [0] * len(jobs)
    assert len({section(page(root, job_id), "Response").split()[0] for job_id in jobs}) == 1
    assert len(agent.workers()) == 1


def test_after_a_change_of_the_settings_the_next_run_starts_another_worker(root: Path, agent: Agent) -> None:
    before = agent.reported()[0]
    (root / ".env").write_text("SOME=thing\n")
    after = agent.reported()[0]
    assert after != before
    assert wait_for(lambda: agent.workers() == [after])


@pytest.mark.parametrize("different", ["environment", "nice", "limit"])
def test_a_run_in_other_surroundings_starts_another_worker(agent: Agent, different: str) -> None:
    before = agent.reported()[0]
    if different == "environment":
        after, pid, _ = agent.reported(SOME="thing")
    else:
        command = {"nice": ["nice", "-n", "1"], "limit": ["prlimit", "--core=0:0"]}[different]
        ended = subprocess.run([*command, *command_line(agent.job_id, *MANUAL)], env=dict(os.environ),
                               capture_output=True, text=True)  # readline(3) has changed environ(7)
        after, pid, _ = map(int, ended.stdout.splitlines()[1].split())
    assert after not in (before, pid)
    assert wait_for(lambda: agent.workers() == [after])


def test_after_a_kill_of_the_worker_the_run_goes_on_and_the_next_starts_another(root: Path, agent: Agent) -> None:
    agent.does("import time\nopen('begun', 'w').close()\ntime.sleep(1)\n")
    with firing(agent.job_id, *MANUAL) as runner:
        wait_for((root / "begun").exists)
        [worker] = agent.workers()
        kill(worker)
        assert runner.wait(10) == 0
    assert agent.reported()[0] not in (worker, 0)


def test_an_idle_worker_ends_and_removes_its_socket(root: Path, agent: Agent) -> None:
    agent.at_import("WORKER.IDLE_S = 0.5")
    agent.reported()
    assert wait_for(lambda: agent.workers() == [])
    assert not (root / "cron/oscron/agent-worker").exists()


def test_what_a_run_leaves_behind_ends_with_it(root: Path, agent: Agent) -> None:
    agent.does(LEAVES_ALL)
    ended = fire(agent.job_id, *MANUAL)
    assert ended.returncode == 0, ended
    assert alive(root) == [] and len(agent.workers()) == 1


def test_at_a_stop_all_of_the_run_ends(root: Path, agent: Agent) -> None:
    agent.does(LEAVES_ALL + SLEEPER)
    with firing(agent.job_id, *MANUAL) as runner:
        pid, waiter = started(root)
        runner.terminate()
        assert runner.wait(20) == 1
    assert record(root, agent.job_id)["last_error"] == "stopped by SIGTERM before it had ended."
    assert alive(root) == [] and not is_alive(pid)
    wait_for(lambda: not is_alive(waiter))


def test_what_a_killed_runner_left_ends_when_its_run_is_recorded(root: Path, agent: Agent) -> None:
    agent.does(LEAVES_ALL + SLEEPER)
    with firing(agent.job_id, *MANUAL) as runner:
        pid, waiter = started(root)
        runner.kill()
        runner.wait()
    assert alive(root) == list(KINDS) and is_alive(pid)
    fire(agent.job_id, "--settle")
    assert alive(root) == [] and not is_alive(pid)
    wait_for(lambda: not is_alive(waiter))


def test_a_run_whose_waiter_is_killed_ends_with_what_it_has_left_behind(root: Path, agent: Agent) -> None:
    agent.does(LEAVES_ALL + SLEEPER)
    with firing(agent.job_id, *MANUAL) as runner:
        pid, waiter = started(root)
        os.kill(waiter, signal.SIGKILL)
        assert runner.wait(20) == 1
    assert "killed by SIGKILL" in record(root, agent.job_id)["last_error"]
    assert not is_alive(pid) and not {"child", "session"} & set(alive(root))


def test_a_run_that_a_run_starts_goes_on_in_the_same_worker(root: Path, agent: Agent) -> None:
    other = make(root)
    configure(root, (root / "oscron.toml").read_text() + '[scheduler]\nkind = "foreground"\n')
    agent.does(f"""
import os, subprocess, sys, time
if os.environ["HERMES_JOB_ID"] == "{other}":
    time.sleep(1)
    print("whole")
else:
    environment = {{**os.environ, "PYTHONPATH": os.environ["PYTHONPATH"] + ":{os.getcwd()}"}}
    subprocess.run([sys.executable, "-m", "hermes_oscron.cli", "run", "{other}"], check=True, env=environment)
""")
    ended = fire(agent.job_id, *MANUAL)
    assert ended.returncode == 0, ended
    assert wait_for(lambda: record(root, other)["last_status"]) == "ok"
    assert section(page(root, other), "Response") == "whole"


def test_a_folder_that_takes_no_socket_costs_no_run_and_no_message(root: Path, agent: Agent) -> None:
    (root / "cron/oscron/agent-worker/full").mkdir(parents=True)
    imported_by, pid, _ = agent.reported()
    assert imported_by == pid and agent.workers() == []


def test_a_worker_that_is_frozen_costs_no_run(root: Path, home: Home, agent: Agent) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(home.state.agent_worker)
        listener.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
            other.connect(home.state.agent_worker)
            began = time.monotonic()
            imported_by, pid, _ = agent.reported()
    assert imported_by == pid and time.monotonic() - began < 30


def test_an_agent_that_cannot_be_forked_is_named_and_runs_by_itself(agent: Agent) -> None:
    agent.at_import("import threading, time\nWORKER.THREADS_TIMEOUT_S = 0.1\n"
                    "if hasattr(WORKER, 'refuse_all'):\n"
                    "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()")
    agent.does(REPORT)
    ended = fire(agent.job_id, *MANUAL)
    imported_by, pid, _ = map(int, ended.stdout.split())
    assert ended.returncode == 0 and imported_by == pid
    assert "The agent worker is not used" in ended.stderr and "has started a thread" in ended.stderr
    assert not Path(f"{agent.root}/cron/oscron/agent-worker").exists()


def test_it_can_be_disabled(root: Path, agent: Agent) -> None:
    configure(root, (root / "oscron.toml").read_text() + "agent_worker = false\n")
    imported_by, pid, _ = agent.reported()
    assert imported_by == pid and agent.workers() == []
