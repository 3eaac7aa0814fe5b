import os
import signal
import subprocess
from pathlib import Path

from ..conftest import release_script, stored, wait_for, write_jobs, write_script, write_waiting_script
from ..runner.jobs import MANUAL, firing, is_alive, make_script, pid_in, record
from .conftest import COMMAND, Cli, Installed

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
WAITS = 'echo $$ > "$HERMES_HOME/started"\nread -t 20 < "$HERMES_HOME/pipe"\n'


def write_script_job(root: Path, text: str) -> None:
    write_jobs(root, {"id": "a", "no_agent": True, "script": write_script(root, "a.sh", text), "schedule": DAILY})


def test_a_run_is_stopped_and_its_job_stays(cli: Cli, root: Path) -> None:
    job_id = make_script(root, WAITS)
    os.mkfifo(root / "pipe")
    with firing(job_id, *MANUAL) as runner:
        job = pid_in(root / "started")
        answer = cli.json("stop", job_id)
        assert (answer["job_id"], answer["state"], answer["queued"]) == (job_id, "stopped", False)
        assert not is_alive(job)
        runner.wait(10)
    assert record(root, job_id)["state"] == "scheduled"
    assert "stopped by SIGTERM" in record(root, job_id)["last_error"]
    assert cli.refused("stop", job_id) == f"{job_id} is not running."


def test_every_run_in_progress_is_stopped(cli: Cli, root: Path) -> None:
    job_id = make_script(root, WAITS)
    make_script(root, "true", "other.sh")
    os.mkfifo(root / "pipe")
    with firing(job_id, *MANUAL) as runner:
        pid_in(root / "started")
        assert cli.out("stop", "--state", "running").startswith(f"Stopped {job_id}, which had been running for ")
        runner.wait(10)
    assert cli.run("stop", "--state", "running").stderr == "No job matches.\n"


def test_it_waits_for_the_end_and_prints_the_output(cli: Cli, root: Path) -> None:
    write_script_job(root, "echo one; echo two")
    assert cli.out("run", "a", "--wait") == "one\ntwo\n"
    assert stored(root)[0]["last_status"] == "ok", "the run is recorded"
    answer = cli.json("run", "a", "--wait")
    assert (answer["outcome"], answer["response"], answer["exit_status"]) == ("ok", "one\ntwo", 0)
    assert b"one\r\ntwo\r\n" in cli.on_terminal("run", "a", "--wait")


def test_the_exit_status_is_that_of_the_job(cli: Cli, root: Path) -> None:
    write_script_job(root, "echo out; exit 7")
    result = cli.run("run", "a", "--wait")
    assert result.returncode == 7 and result.stdout.startswith("out\n")
    assert result.stderr.startswith("Error: a: ") and "7" in result.stderr
    write_script_job(root, "kill -9 $$")
    assert cli.run("run", "a", "--wait").returncode == 128 + signal.SIGKILL


def test_a_run_that_is_stopped_or_takes_too_long_is_a_failure(cli: Cli, root: Path) -> None:
    with (root / "oscron.toml").open("a") as settings:
        settings.write("timeout = 1\n")
    write_script_job(root, "sleep 60")
    result = cli.run("run", "a", "--wait")
    assert result.returncode == 124 and "timed out after 1" in result.stderr


def test_several_jobs_are_waited_for(cli: Cli, root: Path) -> None:
    jobs = [{"id": name, "no_agent": True, "script": write_script(root, f"{name}.sh", f"echo {name}; exit {code}"),
             "schedule": DAILY} for name, code in (("a", 0), ("b", 4), ("c", 2))]
    write_jobs(root, *jobs)
    result = cli.run("run", "--all", "--wait")
    assert result.returncode == 4
    assert [line for line in result.stdout.splitlines() if len(line) == 1] == ["a", "b", "c"]
    assert [answer["status"] for answer in cli.json("run", "a", "b")] == ["running", "running"]
    wait_for(lambda: stored(root)[1]["repeat"]["completed"] == 2)


def test_ctrl_c_ends_the_command_quietly_and_not_the_run(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "no_agent": True, "script": write_waiting_script(root), "schedule": DAILY})
    process = subprocess.Popen([*COMMAND, "run", "a", "--wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: "running" in cli.out("list"))
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == (b"", b"")
    assert process.returncode == 130
    assert "running" in cli.out("list")
    release_script(root)
    wait_for(lambda: stored(root)[0].get("last_status") == "ok")


def test_root_waits_for_a_run_of_the_account(as_root: Installed) -> None:
    write_jobs(as_root.root, {"id": "a", "no_agent": True, "schedule": DAILY,
                              "script": write_script(as_root.root, "a.sh", "id -un; exit 3")})
    as_root.own()
    result = as_root.run("run", "a", "--wait")
    assert (result.returncode, result.stdout.splitlines()[0]) == (3, "nobody")


def test_ctrl_c_during_the_imports_ends_the_command_quietly(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen([*COMMAND, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={
        **os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"})
    assert process.stdout and process.stdout.readline() == b"importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == (b"", b"") and process.returncode == -signal.SIGINT
