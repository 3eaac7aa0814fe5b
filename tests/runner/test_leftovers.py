"""The processes that a job leaves behind, wherever no unit of systemd contains them: real ones, of each kind."""

import configparser
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_oscron.hermes.home import Home
from hermes_oscron.runs import processes
from tests.conftest import wait_for
from tests.runner.jobs import (
    MANUAL,
    command_line,
    configure,
    fire,
    firing,
    is_alive,
    kill,
    make_due,
    make_script,
    page,
    pid_in,
    record,
    section,
)

pytestmark = pytest.mark.usefixtures("without_systemd_environment")

KINDS = ("child", "group", "session", "daemon", "bare")
LEAVES_ALL = """cd "$HERMES_HOME"
quiet() { exec >/dev/null 2>&1; }
(quiet; exec sleep 60) & echo $! >child
(quiet; set -m; sleep 60 & echo $! >group; wait) &
(quiet; exec setsid sh -c 'echo $$ >session; sleep 60; true') &
(quiet; (setsid sh -c 'echo $$ >daemon; exec sleep 60' &) &)
(quiet; exec env -i /usr/bin/setsid /bin/sh -c 'echo $$ >bare; exec sleep 60') &
while ! [ -s child -a -s group -a -s session -a -s daemon -a -s bare ]; do sleep 0.01; done
echo all
"""
"""Leaves a process of each kind: in the job's group, in another group, in a session of its own with a child, an orphan
in a session of its own, and one without an environment."""
DEAF = """cd "$HERMES_HOME"
setsid sh -c 'trap "echo asked >asked" TERM; echo $$ >deaf; while :; do sleep 0.05; done' >/dev/null 2>&1 &
while ! [ -s deaf ]; do sleep 0.01; done
"""


@pytest.fixture(autouse=True)
def nothing_left(root: Path) -> Iterator[None]:
    yield
    for name in (*KINDS, "deaf", "other"):
        with contextlib.suppress(FileNotFoundError, ValueError):
            kill(int((root / name).read_text()))


def all_started(root: Path) -> list[int]:
    return [pid_in(root / name) for name in KINDS]


def alive(root: Path) -> list[str]:
    return [name for name in KINDS if is_alive(pid_in(root / name))]


def test_what_a_job_leaves_behind_ends_with_the_run(root: Path) -> None:
    job_id = make_script(root, LEAVES_ALL)
    ended = fire(job_id, *MANUAL)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "all\n", "")
    assert alive(root) == []
    assert (record(root, job_id)["last_status"], section(page(root, job_id), "Response")) == ("ok", "all")


def test_at_the_time_limit_all_descendants_end(root: Path) -> None:
    configure(root, "[exec]\ntimeout = 2\n")
    job_id = make_script(root, LEAVES_ALL + "sleep 30\n")
    assert fire(job_id, *MANUAL).returncode == 1
    assert record(root, job_id)["last_error"] == "timed out after 2 s."
    assert alive(root) == []


def test_at_a_stop_all_descendants_end(root: Path) -> None:
    job_id = make_script(root, LEAVES_ALL + "sleep 30\n")
    with firing(job_id, *MANUAL) as runner:
        all_started(root)
        runner.terminate()
        assert runner.wait(10) == 1
    assert record(root, job_id)["last_error"] == "stopped by SIGTERM before it had ended."
    assert alive(root) == []


def test_what_a_killed_runner_left_ends_when_its_run_is_recorded(root: Path) -> None:
    """The process without an environment is then recognized by nothing, and stays."""
    job_id = make_script(root, LEAVES_ALL + "sleep 30\n")
    with firing(job_id, *MANUAL) as runner:
        all_started(root)
        runner.kill()
        runner.wait()
    assert alive(root) == list(KINDS)
    fire(job_id, "--settle")
    assert wait_for(lambda: alive(root) == ["bare"])


def test_what_a_killed_runner_left_ends_before_the_next_run(root: Path) -> None:
    job_id = make_script(root, LEAVES_ALL + "sleep 30\n")
    with firing(job_id, *MANUAL) as runner:
        left = all_started(root)
        runner.kill()
        runner.wait()
    pids = ",".join(map(str, left[:-1]))
    (root / "scripts" / "job.sh").write_text(f"ps -o stat=,args= -p {pids} | grep -v ^Z; echo these\n")
    make_due(root, job_id)
    fire(job_id, *MANUAL)
    assert section(page(root, job_id), "Response") == "these"
    assert alive(root) == ["bare"]


def test_the_run_is_over_while_a_deaf_process_has_its_time_and_then_that_is_killed(
        root: Path, home: Home, tmp_path: Path) -> None:
    job_id = make_script(root, DEAF)
    program = tmp_path / "impatient.py"
    program.write_text("import sys\nfrom hermes_oscron.runner.main import main\nfrom hermes_oscron.runs import "
                       "processes\nprocesses.LEFTOVERS_TIMEOUT_S = 1.5\nsys.exit(main())\n")
    with subprocess.Popen([sys.executable, program, *command_line(job_id, *MANUAL)[3:]]) as runner:
        pid = pid_in(root / "deaf")
        wait_for((root / "asked").exists)
        assert record(root, job_id)["last_status"] == "ok" and os.listdir(home.state.runs) == []
        assert runner.poll() is None and is_alive(pid)
        assert runner.wait(10) == 0
    assert not is_alive(pid)


def test_the_time_is_that_of_the_unit() -> None:
    unit = configparser.RawConfigParser(strict=False, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string("".join(line for line in
                             Path(__file__).parents[2].joinpath("units/hermes-job@.service").open() if line[0] != "@"))
    assert unit["Service"]["KillMode"] == "control-group"
    assert unit["Service"]["TimeoutStopSec"] == f"{processes.LEFTOVERS_TIMEOUT_S:.0f}s"


def test_a_run_that_a_job_starts_does_not_end_with_it(root: Path) -> None:
    configure(root, '[scheduler]\nkind = "foreground"\n')
    other = make_script(root, 'echo $$ >"$HERMES_HOME/other"; sleep 1; echo whole\n', "other.sh")
    job_id = make_script(root, f"{sys.executable} -m hermes_oscron.cli run {other}\n", workdir=os.getcwd())
    ended = fire(job_id, *MANUAL)
    assert ended.returncode == 0, ended
    pid_in(root / "other")
    assert wait_for(lambda: record(root, other)["last_status"]) == "ok"
    assert section(page(root, other), "Response") == "whole"


def test_children_from_before_the_run_stay(root: Path) -> None:
    """As those of a shell that has started the runner with `exec`, or logger(1) under cron."""
    job_id = make_script(root, "true\n")
    line = " ".join(command_line(job_id, *MANUAL))
    ended = subprocess.run(["sh", "-c", f"sleep 60 >/dev/null 2>&1 & echo $! >'{root}/other'; exec {line}"],
                           capture_output=True, timeout=30)
    assert ended.returncode == 0 and is_alive(pid_in(root / "other"))


def test_orphans_that_end_during_a_long_run_are_reaped(root: Path) -> None:
    job_id = make_script(root, "for i in 1 2 3 4 5 6 7 8 9; do (sleep 0.05 &); done; sleep 0.3\n"
                               "cat /proc/$PPID/task/$PPID/children; echo; echo $$; sleep 0.1\n")
    ended = fire(job_id, *MANUAL)
    children, own = ended.stdout.splitlines()
    assert children.split() == [own]


def test_another_run_of_the_same_job_is_not_taken_for_the_one_whose_runner_is_gone() -> None:
    run = processes.with_process_group(processes.Run("a", 1000.5, "schedule"), 0)
    for started_at, killed in ((1000.25, False), (1000.5, True)):
        with subprocess.Popen(["sleep", "60"], env={**os.environ, "HERMES_JOB_RUN": f"a@{started_at}"}) as process:
            wait_for(lambda process=process: processes._mark_of(process.pid) is not None)
            processes.kill_leftover_processes(run)
            time.sleep(0.1)
            assert (process.poll() == -signal.SIGKILL) == killed
            process.kill()
