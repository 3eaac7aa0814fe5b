"""The agent worker and its client, with a small agent: a run begins once in a fork, or provably not."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_oscron.in_agent import worker as worker_module
from hermes_oscron.runner import agent_worker
from hermes_oscron.runner.agent_worker import Unavailable, begun
from hermes_oscron.runner.process import Command
from hermes_oscron.runner.worker_socket import connect
from tests.conftest import wait_for
from tests.runner.jobs import is_alive, pid_in
from tests.runner.workers import SmallAgent, result

SCRIPT = """
import json, os, signal, sys
import cron.scheduler
print(json.dumps({
    "argv": sys.argv, "directory": os.getcwd(), "environment": dict(os.environ), "input": sys.stdin.read(),
    "umask": os.umask(0), "imported_by": cron.scheduler.PID, "pid": os.getpid(), "group": os.getpgid(0),
    "descriptors": len(os.listdir("/proc/self/fd")),
    "signals": [signal.getsignal(n) == signal.SIG_DFL for n in (signal.SIGTERM, signal.SIGCHLD)]}))
print("an error", file=sys.stderr)
sys.exit(int(os.environ.get("HERMES_JOB_EXIT", "0")))
"""
SLEEPER = "import os, time\nopen('begun', 'w').write(f'{os.getpid()}\\n')\ntime.sleep(60)\n"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[SmallAgent]:
    with contextlib.closing(SmallAgent(tmp_path)) as worker:
        yield worker


def test_a_run_is_a_fork_that_is_like_a_process_of_its_own(worker: SmallAgent) -> None:
    before = os.umask(0o027)
    try:
        process = worker.begin(worker.command(SCRIPT, HERMES_JOB_EXIT="7", INVOCATION_ID="of the job"))
    finally:
        os.umask(before)
    status, output, errors = result(process)
    assert (status, errors) == (7, "an error\n")
    seen = json.loads(output)
    assert seen["imported_by"] == worker.process.pid and seen["pid"] == seen["group"] == process.pid
    assert seen["argv"] == [f"{worker.place}/script.py", "an argument"]
    assert (seen["directory"], seen["umask"], seen["input"]) == (str(worker.place), 0o027, "")
    assert seen["environment"] == {**worker.environment, "HERMES_JOB_RUN": "this@1", "HERMES_JOB_EXIT": "7",
                                   "INVOCATION_ID": "of the job"}
    assert seen["signals"] == [True, True]


def test_the_variables_that_the_import_sets_are_those_of_each_run(tmp_path: Path) -> None:
    sets = "import os\nPID = 0\nos.environ['OF_DOTENV'] = 'x'\ndel os.environ['HERMES_JOB_OLD'], os.environ['GONE']\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMES_JOB_OLD", "of no run")
        patch.setenv("GONE", "soon")
        with contextlib.closing(SmallAgent(tmp_path, sets)) as worker:
            for run in ("one", "two"):
                seen = json.loads(result(worker.begin(worker.command(SCRIPT, HERMES_JOB_RUN=run)))[1])["environment"]
                assert seen["OF_DOTENV"] == "x" and seen["HERMES_JOB_RUN"] == run and "GONE" not in seen


def test_nothing_of_one_run_is_in_the_next_or_in_the_worker(worker: SmallAgent) -> None:
    result(worker.begin(worker.command(SCRIPT, HERMES_JOB_SECRET="hunter2")))
    seen = json.loads(result(worker.begin(worker.command(SCRIPT)))[1])
    assert "HERMES_JOB_SECRET" not in seen["environment"]
    memory = subprocess.run(["grep", "-c", "hunter2", f"/proc/{worker.process.pid}/environ"], check=False)
    assert memory.returncode == 1
    assert len(os.listdir(f"/proc/{worker.process.pid}/fd")) == 8, "the standard ones, the socket and two pipes"


def test_the_end_by_a_signal_is_reported(worker: SmallAgent) -> None:
    process = worker.begin(worker.command(SLEEPER))
    assert pid_in(worker.place / "begun") == process.pid
    os.killpg(process.pid, signal.SIGTERM)
    assert result(process)[0] == -signal.SIGTERM


def test_a_run_that_exhausts_its_memory_ends_and_the_worker_serves_the_next(worker: SmallAgent) -> None:
    greedy = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2 ** 28, 2 ** 28))\nwant = bytearray(2 ** 29)\n"
    status, _, errors = result(worker.begin(worker.command(greedy)))
    assert status == 1 and "MemoryError" in errors
    seen = json.loads(result(worker.begin(worker.command(SCRIPT)))[1])
    assert seen["imported_by"] == worker.process.pid


def test_a_run_goes_on_without_the_worker(worker: SmallAgent) -> None:
    process = worker.begin(worker.command(SCRIPT))
    worker.process.kill()
    worker.process.wait()
    assert result(process)[0] == 0


@pytest.mark.parametrize("change", ["settings", "module", "new module"])
def test_a_worker_whose_files_have_changed_makes_room_for_another(worker: SmallAgent, change: str) -> None:
    old = json.loads(result(worker.begin(worker.command(SCRIPT)))[1])["imported_by"]
    if change == "settings":
        worker.settings.write_text("a: 2\n")
    elif change == "module":
        worker.scheduler.write_text("import os\nPID = os.getpid()  # another\n")
    else:
        (worker.scheduler.parent / "new.py").touch()
    first = worker.process

    def systemd() -> None:
        first.wait(10)
        worker.start()

    starting = threading.Thread(target=systemd)
    starting.start()
    new = json.loads(result(worker.begin(worker.command(SCRIPT)))[1])["imported_by"]
    starting.join()
    assert new == worker.process.pid != old


def test_a_worker_that_ends_waits_for_the_begin_of_its_runs(worker: SmallAgent) -> None:
    """Their waiters are in its unit until then, and systemd kills what is in the unit of a service that has ended."""

    def move(_pid: int) -> None:
        worker.settings.write_text("a: 2\n")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(worker.address)
            for file in agent_worker._request(connection, worker.command(SCRIPT)):
                file.close()
            assert json.loads(connection.recv(1000)) == {"stale": True}
        time.sleep(0.5)
        assert worker.process.poll() is None

    assert result(worker.begin(worker.command(SCRIPT), move))[0] == 0
    assert worker.process.wait(10) == 0


def test_a_file_that_changes_during_the_import_makes_the_worker_stale(tmp_path: Path) -> None:
    touching = f"import os, time\nPID = 0\ntime.sleep(0.05)\nos.utime('{tmp_path}/config.yaml')\n"
    with contextlib.closing(SmallAgent(tmp_path, touching)) as worker:
        threading.Timer(1, lambda: (worker.process.wait(), worker.start())).start()
        with pytest.raises(Unavailable, match="has just changed"):
            worker.begin(worker.command(SCRIPT))


def refused_because(worker: SmallAgent, reason: str, command: Command) -> None:
    """Check that `command` does not begin, and that the worker then runs others."""
    with pytest.raises(Unavailable, match=reason):
        worker.begin(command)
    assert result(worker.begin(worker.command(SCRIPT)))[0] == 0


def test_a_run_in_another_environment_is_refused(worker: SmallAgent) -> None:
    refused_because(worker, "another LANG", worker.command(SCRIPT, LANG="xx"))


def test_a_run_of_another_python_is_refused(worker: SmallAgent) -> None:
    command = worker.command(SCRIPT)
    refused_because(worker, "it runs ", command._replace(argv=["/usr/bin/other", *command.argv[1:]]))


def test_a_run_in_a_folder_that_is_gone_is_refused(worker: SmallAgent) -> None:
    refused_because(worker, "No such file", worker.command(SCRIPT)._replace(directory="/nowhere"))


def test_a_run_that_cannot_be_moved_does_not_begin(worker: SmallAgent) -> None:
    waiters = []

    def fail(pid: int) -> None:
        waiters.append(pid)
        raise Unavailable("not delegated")

    with pytest.raises(Unavailable, match="not delegated"):
        worker.begin(worker.command(SLEEPER), fail)
    wait_for(lambda: not is_alive(waiters[0]))
    assert not (worker.place / "begun").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_waiter_that_does_not_answer_has_not_begun_the_run(worker: SmallAgent, number: int,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_worker, "ANSWER_TIMEOUT_S", 0.5)
    with pytest.raises((Unavailable, OSError)):
        worker.begin(worker.command(SLEEPER), lambda pid: os.kill(pid, number))
    time.sleep(0.3)
    assert not (worker.place / "begun").exists()


def test_a_run_whose_waiter_is_killed_is_killed(worker: SmallAgent) -> None:
    waiters: list[int] = []
    process = worker.begin(worker.command(SLEEPER), waiters.append)
    pid = pid_in(worker.place / "begun")
    os.kill(waiters[0], signal.SIGKILL)
    assert result(process)[0] == -signal.SIGKILL
    assert not is_alive(pid)


def test_a_client_that_is_killed_before_the_begin_has_begun_nothing(worker: SmallAgent) -> None:
    """The connection closes, as if the runner was killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(worker.address)
        for file in agent_worker._request(connection, worker.command(SLEEPER)):
            file.close()
        waiter = json.loads(connection.recv(1000))["waiter"]
    wait_for(lambda: not is_alive(waiter))
    assert not (worker.place / "begun").exists()


def test_an_agent_that_cannot_be_imported_refuses_the_connections_that_wait(tmp_path: Path) -> None:
    with contextlib.closing(SmallAgent(tmp_path, "import nothing_like_that\n")) as worker:
        with pytest.raises((Unavailable, OSError)):
            worker.begin(worker.command(SCRIPT))
        assert worker.process.wait(10) == 1


def test_an_agent_whose_import_leaves_a_thread_is_not_forked(tmp_path: Path) -> None:
    thread = ("import sys, threading, time\nsys.modules['__main__'].THREADS_TIMEOUT_S = 0.1\n"
              "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n")
    with contextlib.closing(SmallAgent(tmp_path, thread)) as worker, pytest.raises((Unavailable, OSError)):
        worker.begin(worker.command(SCRIPT))


def test_an_agent_whose_import_leaves_a_connection_is_not_forked(tmp_path: Path) -> None:
    connected = "import socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
    with contextlib.closing(SmallAgent(tmp_path, connected)) as worker, pytest.raises((Unavailable, OSError)):
        worker.begin(worker.command(SCRIPT))


def test_a_stop_during_the_import_ends_the_wait(tmp_path: Path) -> None:
    with contextlib.closing(SmallAgent(tmp_path, "import time\ntime.sleep(60)\n")) as worker:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="being stopped"):
            begun(worker.command(SCRIPT), lambda: connect(worker.address), lambda: True, lambda _pid: None)
        assert time.monotonic() - began < 5


def test_a_stop_while_the_fork_is_moved_begins_nothing(worker: SmallAgent, tmp_path: Path) -> None:
    moved: list[int] = []
    command = worker.command(f"open({str(tmp_path / 'begun')!r}, 'w')")
    with pytest.raises(Unavailable, match="being stopped"):
        begun(command, lambda: connect(worker.address), lambda: bool(moved), moved.append)
    wait_for(lambda: not is_alive(moved[0]))
    assert not (tmp_path / "begun").exists()


def test_an_import_that_hangs_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_worker, "IMPORT_TIMEOUT_S", 0.3)
    with (contextlib.closing(SmallAgent(tmp_path, "import time\ntime.sleep(60)\n")) as worker,
          pytest.raises(Unavailable, match="did not answer")):
        worker.begin(worker.command(SLEEPER))


@pytest.mark.parametrize("limit", ["IDLE_S", "MAX_AGE_S"])
def test_the_worker_ends_when_it_is_idle_or_old(tmp_path: Path, limit: str) -> None:
    idle = f"import os, sys\nPID = os.getpid()\nsys.modules['__main__'].{limit} = 0.3\n"
    with contextlib.closing(SmallAgent(tmp_path, idle)) as worker:
        process = worker.begin(worker.command(SLEEPER))
        assert worker.process.wait(10) == 0
        assert is_alive(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        assert result(process)[0] == -signal.SIGKILL
    assert (worker_module.IDLE_S, worker_module.MAX_AGE_S) == (60.0, 600.0)
