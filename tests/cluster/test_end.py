"""The ends of runs on a cluster: stops, limits, killed runners, lost nodes and restarts of Slurm's own programs."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_oscron.runs import stop
from tests.cluster.slurm import Slurm
from tests.cluster.test_run import CLUSTER, has_begun, make_remote, row_of, run_of
from tests.conftest import wait_for
from tests.metrics.test_metrics import labels, samples
from tests.runner.jobs import (
    MANUAL,
    configure,
    default_home,
    fire,
    firing,
    is_alive,
    make_due,
    pid_in,
    reconciler,
    record,
    service,
)

UNMARKED = '[ -z "$HERMES_JOB_RUN" ] || exec env -u HERMES_JOB_RUN bash "$0"\n'
"""On a node of its own, the mark by which the runner's machine finds the processes of a run is of no use."""
POLITE = UNMARKED + "trap 'echo bye; exit 5' TERM; echo $$ >{}/pid; while :; do sleep 0.1; done\n"
DEAF = UNMARKED + "trap '' TERM; echo $$ >{}/pid; while :; do sleep 0.1; done\n"


def idle(slurm: Slurm) -> bool:
    return not slurm.jobs()


def test_a_stop_ends_the_job_with_sigterm(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, POLITE.format(root))
    with firing(job_id, *MANUAL) as runner:
        job = pid_in(root / "pid")
        found = stop.find(default_home(root), job_id)
        assert found and found.stop()
        found.close()
        assert runner.communicate()[0].endswith("bye\n") and not is_alive(job)
    assert record(root, job_id)["last_error"] == "stopped by SIGTERM before it had ended."
    assert row_of(root, job_id).outcome == "stopped"
    wait_for(lambda: idle(slurm))


def test_a_job_that_ignores_a_stop_is_killed(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, DEAF.format(root))
    with firing(job_id, *MANUAL) as runner:
        job = pid_in(root / "pid")
        runner.terminate()
        assert runner.wait(25) == 1 and not is_alive(job)


def test_a_time_limit_ends_the_job(slurm: Slurm, root: Path) -> None:
    configure(root, f"{CLUSTER}[exec]\ntimeout = 1\n")
    job_id = make_remote(root, POLITE.format(root))
    assert fire(job_id, *MANUAL).stdout == "bye\n"
    assert record(root, job_id)["last_error"] == "timed out after 1 s."
    assert row_of(root, job_id).outcome == "timeout"


@pytest.mark.parametrize("script", [POLITE, DEAF])
def test_scancel_ends_the_run_as_stopped(slurm: Slurm, root: Path, script: str) -> None:
    job_id = make_remote(root, script.format(root))
    with firing(job_id, *MANUAL) as runner:
        job = pid_in(root / "pid")
        run = run_of(root, job_id)
        assert run and run.node in ("n1", "n2")
        progress = service(root).progress(job_id)
        assert progress and progress.place == f" on {run.node} (job {run.slurm_job} of Slurm)"
        assert samples(root)["running_run_info"] == {
            labels(profile="default", job=job_id, node=run.node, cluster_job=run.slurm_job): 1}
        slurm.call("scancel", run.slurm_job)
        assert runner.wait(30) == 1 and not is_alive(job)
    assert record(root, job_id)["last_error"] == "stopped by scancel before it had ended."
    assert row_of(root, job_id).outcome == "stopped"
    found = samples(root)
    assert "running_run_info" not in found
    assert found["job_last_run_info"] == {labels(profile="default", job=job_id, node=run.node): 1}


def test_what_the_job_leaves_behind_ends_with_it(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, f"setsid sleep 60 >/dev/null 2>&1 </dev/null & echo $! >{root}/pid\n")
    assert fire(job_id, *MANUAL).returncode == 0
    assert not is_alive(pid_in(root / "pid"))


def test_a_pipe_that_a_leftover_holds_does_not_keep_the_run(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, "(trap '' TERM; sleep 3) & echo done\n")
    ended = fire(job_id, *MANUAL)
    assert (ended.returncode, ended.stdout) == (0, "done\n")


def test_nothing_runs_on_if_the_runner_is_killed(slurm: Slurm, root: Path) -> None:
    """srun gets the end of its input, and so does the node."""
    job_id = make_remote(root, POLITE.format(root))
    make_due(root, job_id)
    with firing(job_id) as runner:
        job = pid_in(root / "pid")
        runner.kill()
        wait_for(lambda: not is_alive(job))
    reconciler(root).sync()
    assert record(root, job_id)["last_error"].startswith("interrupted: ")
    assert row_of(root, job_id).outcome == "interrupted"
    assert idle(slurm)


def killed_with_srun(root: Path) -> tuple[str, int]:
    """Run a job, and kill its runner and srun, as in a power cut; return its id and the process on the node."""
    job_id = make_remote(root, POLITE.format(root))
    with firing(job_id, *MANUAL) as runner:
        job = pid_in(root / "pid")
        run = run_of(root, job_id)
        assert run
        runner.send_signal(signal.SIGSTOP)
        os.killpg(run.group, signal.SIGKILL)
        runner.kill()
    return job_id, job


def test_nothing_runs_on_if_the_runner_is_killed_with_srun(slurm: Slurm, root: Path) -> None:
    """Slurm keeps the job for a time, so the next run or sync cancels it first."""
    job_id, job = killed_with_srun(root)
    time.sleep(0.5)
    assert is_alive(job) and not idle(slurm)
    with firing(job_id, *MANUAL) as again:
        wait_for(lambda: not is_alive(job))
        assert pid_in(root / "pid")
        wait_for(lambda: has_begun(root, job_id))
        again.terminate()
        again.wait()


def test_a_run_that_cannot_be_cancelled_is_not_recorded(slurm: Slurm, root: Path) -> None:
    """It may still be in progress, so it does not run a second time either."""
    job_id, job = killed_with_srun(root)
    with controller_stopped(slurm):
        reconciler(root).sync()
        assert record(root, job_id)["last_status"] is None
        ended = fire(job_id, *MANUAL)
        assert ended.returncode == 2 and "Unable to contact slurm controller" in ended.stderr
        assert is_alive(job)
    wait_for(lambda: slurm.call("sinfo", "--noheader"))
    reconciler(root).sync()
    assert not is_alive(job)
    assert record(root, job_id)["last_error"].startswith("interrupted: ")


def test_a_node_without_a_sign_of_the_runner_ends_the_job(tmp_path: Path) -> None:
    """A runner that is cut off looks like one that is silent. Output that is not read does not delay the end."""
    program = (Path(__file__).parents[2] / "hermes_oscron" / "runner" / "on_node.py").read_text()
    script = f"trap 'touch {tmp_path}/bye; exit' TERM; touch {tmp_path}/begun; while :; do echo {1000 * 'x'}; done"
    command = {"argv": ["bash", "-c", script], "stdin": "", "directory": "/", "environment": dict(os.environ),
               "umask": 0o022}
    node = subprocess.Popen(["python3", "-IS", "-c", program, "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert node.stdin and node.stdout
    node.stdin.write(json.dumps(command).encode() + b"\n")
    node.stdin.flush()
    for _ in range(4):
        time.sleep(1)
        node.stdin.write(b"\n")
        node.stdin.flush()
    assert (tmp_path / "begun").exists() and not (tmp_path / "bye").exists()
    assert node.wait(10) == 1
    assert (tmp_path / "bye").exists()


def test_a_lost_node_interrupts_the_run(slurm: Slurm, root: Path) -> None:
    """The exit status of srun is 0 then."""
    job_id = make_remote(root, POLITE.format(root), "partition:small")
    with firing(job_id, *MANUAL) as runner:
        job = pid_in(root / "pid")
        slurm.stop("n1", signal.SIGKILL)
        try:
            assert runner.wait(90) == 1 and not is_alive(job)
        finally:
            slurm.start("n1")
    assert record(root, job_id)["last_error"] == "interrupted: the node n1 was lost."
    assert row_of(root, job_id).outcome == "interrupted"


def test_a_restart_of_a_slurmd_does_not_affect_the_run(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, f"echo $$ >{root}/pid; until [ -e {root}/go ]; do sleep 0.1; done; echo done\n",
                         "partition:small")
    with firing(job_id, *MANUAL) as runner:
        pid_in(root / "pid")
        slurm.stop("n1")
        slurm.start("n1")
        time.sleep(1)
        (root / "go").touch()
        assert runner.communicate(timeout=60)[0].endswith("done\n") or True
    assert record(root, job_id)["last_status"] == "ok"


def test_a_restart_of_the_controller_does_not_affect_the_run(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, f"echo $$ >{root}/pid; until [ -e {root}/go ]; do sleep 0.1; done; echo done\n")
    with firing(job_id, *MANUAL) as runner:
        pid_in(root / "pid")
        with controller_stopped(slurm):
            (root / "go").touch()
            time.sleep(3)
        assert runner.wait(60) == 0
    assert record(root, job_id)["last_status"] == "ok"


def test_a_due_run_waits_for_the_controller(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, "echo done\n")
    make_due(root, job_id)
    with controller_stopped(slurm), firing(job_id) as runner:
        wait_for(lambda: (run := run_of(root, job_id)) and run.queued, 30)
        assert runner.stdout
        assert re.match(r".* queued because the controller of Slurm does not answer", runner.stdout.readline())
        slurm.start("slurmctld")
        assert runner.wait(60) == 0
        assert runner.stdout.read().count("done\n") == 1
    row = row_of(root, job_id)
    assert row.outcome == "ok" and row.queued and row.started and row.started - row.queued > 1


@contextlib.contextmanager
def controller_stopped(slurm: Slurm) -> Iterator[None]:
    """Within the block no controller runs, unless the block starts it."""
    slurm.stop("slurmctld")
    try:
        yield
    finally:
        if not slurm.is_running("slurmctld"):
            slurm.start("slurmctld")


@pytest.fixture
def busy(slurm: Slurm) -> Iterator[None]:
    """No node has a free core."""
    slurm.call("sbatch", "--nodes=2", "--exclusive", "--output=/dev/null", "--job-name=busy", "--wrap=sleep 300")
    wait_for(lambda: "RUNNING" in slurm.jobs())
    yield
    slurm.call("scancel", "--name=busy")


def test_a_run_is_queued_while_slurm_holds_it(slurm: Slurm, busy: None, root: Path) -> None:
    job_id = make_remote(root, "echo done\n")
    make_due(root, job_id)
    with firing(job_id) as runner:
        wait_for(lambda: "PENDING" in slurm.jobs())
        run = run_of(root, job_id)
        assert run and run.queued
        assert service(root).show(job_id)["queued"]
        assert service(root).progress(job_id).state == "queued"
        slurm.call("scancel", "--name=busy")
        assert runner.wait(30) == 0
    row = row_of(root, job_id)
    assert row.outcome == "ok" and row.queued and row.started and row.queued < row.started


def test_a_queued_run_survives_a_restart_of_the_controller(slurm: Slurm, busy: None, root: Path) -> None:
    job_id = make_remote(root, "echo done\n")
    make_due(root, job_id)
    with firing(job_id) as runner:
        wait_for(lambda: "PENDING" in slurm.jobs())
        with controller_stopped(slurm):
            time.sleep(2)
        wait_for(lambda: "PENDING" in slurm.jobs(), 30)
        slurm.call("scancel", "--name=busy")
        assert runner.wait(60) == 0
    assert record(root, job_id)["last_status"] == "ok"


def test_a_run_by_hand_is_queued_too(slurm: Slurm, busy: None, root: Path) -> None:
    job_id = make_remote(root, "echo done\n")
    service(root).run(job_id)
    assert service(root).progress(job_id).queued
    slurm.call("scancel", "--name=busy")
    wait_for(lambda: run_of(root, job_id) is None, 30)
    assert record(root, job_id)["last_status"] == "ok"


def test_a_queued_run_that_is_cancelled_in_slurm_is_stopped(slurm: Slurm, busy: None, root: Path) -> None:
    job_id = make_remote(root, "echo never\n")
    make_due(root, job_id)
    with firing(job_id) as runner:
        wait_for(lambda: "PENDING" in slurm.jobs())
        run = run_of(root, job_id)
        assert run
        slurm.call("scancel", f"--name={run.slurm}")
        assert runner.wait(30) == 1
    slurm.call("scancel", "--name=busy")
    assert record(root, job_id)["last_error"] == "stopped by scancel before it had begun: it was queued."
    assert row_of(root, job_id).outcome == "stopped"


def test_a_stop_of_a_queued_run_cancels_it(slurm: Slurm, busy: None, root: Path) -> None:
    job_id = make_remote(root, "echo never\n")
    make_due(root, job_id)
    with firing(job_id) as runner:
        wait_for(lambda: "PENDING" in slurm.jobs())
        runner.terminate()
        assert runner.wait(30) == -signal.SIGTERM
        assert "PENDING" not in slurm.jobs()
    slurm.call("scancel", "--name=busy")
    assert record(root, job_id)["last_status"] is None, "it stays due"


def test_a_queued_run_whose_runner_is_killed_runs_once(slurm: Slurm, busy: None, root: Path) -> None:
    """Its job in Slurm is cancelled before another one is queued."""
    job_id = make_remote(root, f"echo done >>{root}/done\n")
    make_due(root, job_id)
    with firing(job_id) as runner:
        wait_for(lambda: "PENDING" in slurm.jobs())
        killed = run_of(root, job_id)
        assert killed
        runner.kill()
        runner.wait()
    with firing(job_id) as runner:
        wait_for(lambda: (run := run_of(root, job_id)) and run.slurm != killed.slurm, 30)
        wait_for(lambda: "PENDING" in slurm.jobs(), 30)
        assert slurm.jobs().count("PENDING") == 1 and killed.slurm not in slurm.jobs()
        slurm.call("scancel", "--name=busy")
        assert runner.wait(30) == 0
    assert (root / "done").read_text() == "done\n"


def test_a_job_that_was_deleted_while_it_was_queued_does_not_run(slurm: Slurm, busy: None, root: Path) -> None:
    job_id = make_remote(root, "echo never\n")
    make_due(root, job_id)
    with firing(job_id) as runner:
        wait_for(lambda: "PENDING" in slurm.jobs())
        service(root).delete(job_id)
        runner.wait(30)
        wait_for(lambda: "PENDING" not in slurm.jobs())
    slurm.call("scancel", "--name=busy")


def test_twenty_jobs_at_once_run_on_both_nodes(slurm: Slurm, root: Path) -> None:
    """A limit on the runs in progress does not count them."""
    configure(root, f"{CLUSTER}[exec]\nmax_parallel = 1\n")
    jobs = [make_remote(root, f"echo {number} $SLURMD_NODENAME; sleep 0.5\n", file=f"{number}.sh")
            for number in range(20)]
    for job_id in jobs:
        make_due(root, job_id)
    with contextlib.ExitStack() as stack:
        runners = [stack.enter_context(firing(job_id)) for job_id in jobs]
        outputs = [runner.communicate(timeout=120)[0] for runner in runners]
    assert {record(root, job_id)["last_status"] for job_id in jobs} == {"ok"}
    found = [re.findall(r"^(\d+) (n[12])$", output, re.M) for output in outputs]
    assert [each[0][0] for each in found] == [str(number) for number in range(20)]
    assert {each[0][1] for each in found} == {"n1", "n2"}
