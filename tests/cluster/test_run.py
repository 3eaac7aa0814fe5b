"""A run on a cluster is like one on this machine: output, exit code, input, environment, folder, agent and queue."""

import os
import signal
from pathlib import Path

import pytest

from hermes_oscron.runs import ledger, lock
from hermes_oscron.runs.ledger import Row
from tests.cluster.slurm import Slurm
from tests.conftest import wait_for
from tests.runner.jobs import (
    MANUAL,
    change_record,
    configure,
    default_home,
    fire,
    firing,
    make,
    make_due,
    make_script,
    page,
    record,
    section,
)

CLUSTER = '[cluster]\nengine = "slurm"\n'
LONG_LINE = 100_000


def on_cluster(root: Path, job_id: str, run_on: str = "cluster", **policy: object) -> str:
    """Make `job_id` run on the cluster, and return it."""
    change_record(root, job_id, policy={"run_on": run_on, **policy})
    return job_id


def make_remote(root: Path, text: str, run_on: str = "cluster", file: str = "job.sh", **policy: object) -> str:
    """Create a job that runs a script of `text` on the cluster; its id."""
    return on_cluster(root, make_script(root, text, file), run_on, **policy)


def row_of(root: Path, job_id: str) -> Row:
    """Return the only row of a run of `job_id`."""
    with ledger.reading(default_home(root)) as books:
        [row] = ledger.select(books, "job = ? AND started IS NOT NULL", job_id)
    return row


def run_of(root: Path, job_id: str) -> lock.Run | None:
    return lock.find(default_home(root), job_id)


def has_begun(root: Path, job_id: str) -> bool:
    run = run_of(root, job_id)
    return run is not None and not run.queued and run.group > 0


def test_a_due_job_runs_on_a_node(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, "echo $SLURMD_NODENAME $SLURM_JOB_ID; echo oops >&2\n")
    make_due(root, job_id)
    ended = fire(job_id)
    assert (ended.returncode, ended.stderr) == (0, "oops\n")
    node, job = ended.stdout.split()
    assert node in ("n1", "n2") and job.isdecimal()
    assert record(root, job_id)["last_status"] == "ok"
    assert section(page(root, job_id), "Response") == f"{node} {job}"
    row = row_of(root, job_id)
    assert (row.outcome, row.exit_code, row.node, row.cluster_job) == ("ok", 0, node, job)
    assert row.cpu_s and row.memory_bytes


def test_a_job_without_a_policy_runs_on_this_machine(slurm: Slurm, root: Path) -> None:
    job_id = make_script(root, "echo here${SLURM_JOB_ID}\n")
    assert fire(job_id, *MANUAL).stdout == "here\n"


@pytest.mark.parametrize(("script", "error", "code", "number"), [
    ("echo reason >&2; exit 7\n", "exited with code 7: reason", 7, None),
    ("kill -SEGV $$\n", "killed by SIGSEGV.", None, signal.SIGSEGV),
    ("kill -KILL $$\n", "killed by SIGKILL.", None, signal.SIGKILL),
])
def test_the_way_it_ended_passes(slurm: Slurm, root: Path, script: str, error: str, code: int | None,
                                 number: int | None) -> None:
    job_id = make_remote(root, script)
    ended = fire(job_id, *MANUAL)
    assert (ended.returncode, ended.stderr) == (1, "reason\n" if code else "")
    assert record(root, job_id)["last_error"] == error
    row = row_of(root, job_id)
    assert (row.outcome, row.exit_code, row.signal) == ("error", code, number)


def test_slurm_has_the_exit_code_too(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, "exit 7\n")
    fire(job_id, *MANUAL)
    assert f" Comment=default:{job_id} " in slurm.call("scontrol", "show", "job", "-o").splitlines()[-1]
    assert " ExitCode=7:0 " in slurm.call("scontrol", "show", "job", "-o").splitlines()[-1]


def test_all_output_passes(slurm: Slurm, root: Path) -> None:
    """Also long lines, bytes that are not text, many lines at once, and a last line that has no end."""
    job_id = make_remote(root, f"head -c {LONG_LINE} /dev/zero | tr '\\0' x; echo; printf 'end 5\\nnode 3\\n'; "
                               "printf '\\001\\377\\n'; seq 20000; seq 3 >&2; printf last\n")
    ended = fire(job_id, *MANUAL)
    numbers = "".join(f"{number}\n" for number in range(1, 20001))
    assert ended.stdout == f"{LONG_LINE * 'x'}\nend 5\nnode 3\n\x01\N{REPLACEMENT CHARACTER}\n{numbers}last\n"
    assert ended.stderr == "1\n2\n3\n"


def test_output_streams(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, f"echo first; printf part; until [ -e {root}/go ]; do sleep 0.05; done; echo last\n")
    with firing(job_id, *MANUAL) as runner:
        assert runner.stdout
        os.set_blocking(runner.stdout.fileno(), False)
        seen = b""

        def output() -> bytes:
            nonlocal seen
            try:
                seen += os.read(runner.stdout.fileno(), 4096)  # type: ignore[union-attr]
            except BlockingIOError:
                pass
            return seen

        wait_for(lambda: output().endswith(b"first\npart"))
        (root / "go").touch()
        wait_for(lambda: output().endswith(b"s\n"))
        assert runner.wait() == 0 and b"partlast\n" in seen


def test_a_command_gets_its_prompt_folder_and_environment(slurm: Slurm, root: Path, tmp_path: Path) -> None:
    configure(root, f'{CLUSTER}[exec]\ncommand = ["sh", "-c", "pwd; cat; echo; env"]\n'
                    'environment = {WORD = "é \'"}\n')
    prompt = f"say hello\n{'x' * 200_000}\nbye"
    job_id = on_cluster(root, make(root, prompt=prompt, name="Grüße", workdir=str(tmp_path)))
    old = os.umask(0o027)
    try:
        ended = fire(job_id, *MANUAL, SYSTEMD_EXEC_PID="1", JOURNAL_STREAM="8:1")
    finally:
        os.umask(old)
    folder, rest = ended.stdout.split("\n", 1)
    assert folder == str(tmp_path)
    assert rest.startswith(prompt + "\n")
    variables = dict(line.partition("=")[::2] for line in rest.removeprefix(prompt).strip().splitlines())
    assert variables["WORD"] == "é '" and variables["HERMES_JOB_NAME"] == "Grüße"
    assert variables["HERMES_HOME"] == str(root) and variables["HERMES_JOB_RUN"].startswith(job_id)
    assert variables["PATH"] == os.environ["PATH"] and variables["SLURM_JOB_ID"]
    assert "SYSTEMD_EXEC_PID" not in variables and "JOURNAL_STREAM" not in variables


def test_the_umask_passes(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, "umask\n")
    old = os.umask(0o027)
    try:
        assert fire(job_id, *MANUAL).stdout == "0027\n"
    finally:
        os.umask(old)


def test_a_folder_that_is_not_on_the_node_is_an_error(slurm: Slurm, root: Path, tmp_path: Path) -> None:
    """With --chdir, srun would run the job in /tmp."""
    folder = tmp_path / "gone"
    folder.mkdir()
    configure(root, f'{CLUSTER}[exec]\ncommand = ["pwd"]\n')
    job_id = on_cluster(root, make(root, workdir=str(folder)))
    folder.rmdir()
    ended = fire(job_id, *MANUAL)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert record(root, job_id)["last_error"] == f"pwd could not be started in {folder}: No such file or directory."


def test_resources_are_asked_of_slurm(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, "echo $SLURM_JOB_PARTITION $SLURMD_NODENAME $SLURM_CPUS_PER_TASK; "
                               "scontrol show job $SLURM_JOB_ID -o\n",
                         "partition:small", cpus=2, memory_max=700 * 1024**2)
    configure(root, f"{CLUSTER}[exec]\ntimeout = 600\n")
    ended = fire(job_id, *MANUAL)
    assert ended.stdout.startswith("small n1 2\n")
    assert "TimeLimit=00:11:00" in ended.stdout and "MinMemoryNode=700M" in ended.stdout


def test_options_of_the_configuration_are_passed(slurm: Slurm, root: Path) -> None:
    configure(root, '[cluster]\nengine = "slurm"\npartition = "small"\noptions = ["--exclude=n2", "--nice=7"]\n')
    job_id = make_remote(root, "scontrol show job $SLURM_JOB_ID -o\n")
    ended = fire(job_id, *MANUAL)
    assert "Partition=small " in ended.stdout and "ExcNodeList=n2 " in ended.stdout and "Nice=7 " in ended.stdout


def test_a_job_that_slurm_never_takes_fails_with_the_reason(slurm: Slurm, root: Path) -> None:
    job_id = make_remote(root, "echo never\n", "partition:none")
    make_due(root, job_id)
    ended = fire(job_id)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert record(root, job_id)["last_error"] == "Slurm has no place for it: Invalid partition name specified"
    assert row_of(root, job_id).outcome == "error"


@pytest.mark.parametrize(("settings", "policy", "error"), [
    ("", {"run_on": "cluster"}, "names none: set engine of [cluster]"),
    (CLUSTER, {"run_on": "elsewhere"}, "'policy.run_on' must be \"local\", \"cluster\", \"partition:NAME\""),
    (CLUSTER, {"run_on": "cluster", "cpus": "many"}, "'policy.cpus' must be a whole number from 1"),
    ('[exec]\npath = "/nowhere"\n' + CLUSTER, {"run_on": "cluster"}, "Install Slurm's commands, or set [exec] path"),
])
def test_a_placement_that_cannot_be_used_is_an_error(slurm: Slurm, root: Path, settings: str, policy: object,
                                                     error: str) -> None:
    configure(root, settings)
    job_id = make_script(root, "echo never\n")
    change_record(root, job_id, policy=policy)
    ended = fire(job_id, *MANUAL)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert error in record(root, job_id)["last_error"]


def test_secrets_of_the_environment_are_not_in_the_arguments(slurm: Slurm, root: Path) -> None:
    """Any account of a node can read them."""
    (root / ".env").write_text("TOKEN=swordfish\n")
    job_id = make_remote(root, "cat /proc/*/cmdline | tr '\\0' ' ' | grep -c sword[f]ish; echo $TOKEN\n")
    assert fire(job_id, *MANUAL).stdout.split() == ["0", "swordfish"]
