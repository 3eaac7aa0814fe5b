import contextlib
import os
import re
import time
from pathlib import Path

import pytest

from hermes_oscron.hermes.home import home_of
from hermes_oscron.runs import lock
from hermes_oscron.runs.model import SCHEDULE, Run

from ..conftest import release_script, stored, wait_for, write_jobs, write_script, write_waiting_script
from .conftest import Cli, Installed

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


@pytest.fixture
def ran(cli: Cli, root: Path) -> Path:
    """A root whose job `a` has failed, and then gone well; and whose job `b` has never run."""
    write_jobs(root, {"id": "a", "name": "disk", "no_agent": True, "schedule": DAILY,
                      "script": write_script(root, "a.sh", f"echo one; [ -e '{root}/good' ]")},
               {"id": "b", "prompt": "p", "schedule": DAILY})
    assert cli.run("run", "a", "--wait").returncode == 1
    (root / "good").touch()
    cli.out("run", "a", "--wait")
    return root


def test_the_runs_of_a_job_are_listed_newest_first(cli: Cli, ran: Path) -> None:
    head, *lines = cli.out("runs", "disk").splitlines()
    assert head.split() == ["RUN", "DUE", "TRIGGER", "OUTCOME", "TOOK", "DETAIL"]
    assert [line.split()[3:5] for line in lines] == [["manual", "ok"], ["manual", "error"]]
    assert re.search(r" \d+s +[-\d_]+\.md$", lines[0]) and "exit" in lines[1]
    assert cli.out("runs", "b") == "No runs.\n"


def test_the_runs_of_all_jobs_are_listed(cli: Cli, ran: Path) -> None:
    head, *lines = cli.out("runs").splitlines()
    assert head.split()[2:4] == ["JOB", "NAME"] and len(lines) == 2 and " a    disk  manual" in lines[0]


@pytest.mark.parametrize(("arguments", "outcomes"), [
    ((), ["ok", "error"]), (("-n", "1"), ["ok"]), (("--outcome", "error"), ["error"]), (("--trigger", "schedule"), []),
    (("--since", "2099-01-01"), []), (("--since", "2026-01-01"), ["ok", "error"])])
def test_runs_are_chosen(cli: Cli, ran: Path, arguments: tuple[str, ...], outcomes: list[str]) -> None:
    assert [run["outcome"] for run in cli.json("runs", "a", *arguments)] == outcomes


def test_json_has_the_path_of_the_output(cli: Cli, ran: Path) -> None:
    run, _ = cli.json("runs", "a")
    assert Path(run["path"]).read_text() == cli.out("output", "a")
    assert run["path"] == f"{ran}/cron/output/a/{run['output']}"


def test_a_run_in_progress_is_shown(cli: Cli, root: Path, server: str) -> None:
    job_id = cli.json("create", "every 1h", "--no-agent", "--script", write_waiting_script(root))["id"]
    cli.start(job_id)
    assert re.search(r" manual +running +\d+s +- *$", cli.out("runs", job_id), re.M)
    release_script(root)
    wait_for(lambda: " ok " in cli.out("runs", job_id))


def test_a_queued_run_is_shown(cli: Cli, ran: Path) -> None:
    home = home_of(str(ran), "default")
    waiting, running = lock.acquire(home, "b"), lock.acquire(home, "a")
    assert waiting and running
    with contextlib.ExitStack() as locks:
        locks.callback(waiting.release)
        locks.callback(running.release)
        waiting.write(Run("b", time.time() - 125, SCHEDULE, queued=True))
        running.write(Run("a", time.time() - 125, SCHEDULE, node="n1", slurm_job="7"))
        assert cli.out("runs", "b") == "Queued for 2m.\n"
        assert cli.out("runs", "a").splitlines()[0] == "Running for 2m on n1 (job 7 of Slurm)."
        assert cli.out("runs").splitlines()[0] == "b: queued for 2m."
        assert len(cli.out("runs").splitlines()) == 4
    assert cli.out("runs", "b") == "No runs.\n"


def test_times_in_another_zone_than_that_of_the_terminal_have_its_name(cli: Cli, ran: Path) -> None:
    assert cli.out("runs", "a", TZ="Asia/Tokyo").splitlines()[-1] == "Times are in UTC."
    assert "Times" not in cli.out("runs", "a", TZ="UTC")


def test_the_table_fits_a_terminal_of_80_columns(cli: Cli, ran: Path) -> None:
    write_jobs(ran, *({**record, "name": "n" * 200} for record in stored(ran)))
    cli.out("run", "a", "--wait")
    written = re.sub(r"\x1b\[[\d;]*m", "", cli.on_terminal("runs").decode())
    assert all(len(line) <= 80 for line in written.splitlines()) and len(written.splitlines()) == 4
    assert b"\x1b[31merror" in cli.on_terminal("runs", "a")
    assert "n" * 200 in cli.out("runs")


def test_the_runs_and_outputs_of_a_deleted_job_are_found_by_its_id(cli: Cli, ran: Path) -> None:
    cli.out("delete", "a", "--keep-outputs")
    assert len(cli.json("runs", "a")) == 2
    assert "one" in cli.out("output", "a")


def test_a_missing_job_is_an_error(cli: Cli) -> None:
    for command in ("runs", "output", "logs"):
        assert "never-was" in cli.refused(command, "never-was")


def test_outputs_are_numbered_from_the_newest(cli: Cli, ran: Path) -> None:
    newest, before = sorted((ran / "cron" / "output" / "a").iterdir(), key=os.path.getmtime, reverse=True)
    assert cli.out("output", "a") == cli.out("output", "a", "1") == newest.read_text()
    assert cli.out("output", "disk", "2") == before.read_text()
    assert cli.out("output", "a", "--response") == "one\n"
    assert cli.refused("output", "a", "3") == "a has only 2 outputs."
    assert cli.refused("output", "b") == "b has no output yet. 'hermes-oscron run --wait b' runs it."


def test_the_output_of_a_run_is_printed(cli: Cli, ran: Path) -> None:
    good, bad = cli.json("runs", "a")
    assert cli.json("output", "a", "--run", str(bad["id"]))["path"] == bad["path"]
    answer = cli.json("output", "a", "--run", str(good["id"]))
    assert (answer["response"], answer["run"]["id"]) == ("one", good["id"])
    assert "b has no run 1;" in cli.refused("output", "b", "--run", "1")


def test_an_output_does_not_control_the_terminal(cli: Cli, ran: Path) -> None:
    [*_, path] = sorted((ran / "cron" / "output" / "a").iterdir(), key=os.path.getmtime)
    path.write_text("## Response\n\nx\x1b]0;owned\x07\n")
    assert b"\x1b" not in cli.on_terminal("output", "a")


def test_the_log_of_a_foreground_scheduler_is_its_own_output(cli: Cli, ran: Path) -> None:
    assert "is the output of 'hermes-oscron serve'" in cli.refused("logs", "a")


def test_root_reads_runs_and_outputs_of_the_account(as_root: Installed) -> None:
    write_jobs(as_root.root, {"id": "a", "no_agent": True, "schedule": DAILY,
                              "script": write_script(as_root.root, "a.sh", "id -un")})
    as_root.own()
    as_root.out("run", "a", "--wait")
    assert " ok " in as_root.on_terminal("runs", "a").decode()
    assert as_root.out("output", "a", "--response") == "nobody\n"
    assert "is the output of 'hermes-oscron serve'" in as_root.run("logs", "a").stderr
