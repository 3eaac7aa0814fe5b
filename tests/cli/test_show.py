from pathlib import Path

from ..conftest import write_jobs
from .conftest import Cli

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def test_it_shows_the_main_fields_of_the_job(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "name": "Hello", "prompt": "say\nhello", "schedule": DAILY, "last_status": "error",
                      "last_error": "exited with code 3.", "repeat": {"times": 5, "completed": 2}})
    lines = [" ".join(line.split()) for line in cli.out("show", "a").splitlines()]
    for line in ("Id: a", "Name: Hello", "Schedule: Daily at 9:00 AM", "State: scheduled", "Last status: error",
                 "Last error: exited with code 3.", "Runs: 2 of 5", "Prompt: say hello"):
        assert line in lines
    assert any(line.startswith("Next run: ") and line.endswith("T09:00:00+00:00") for line in lines)


def test_json_has_every_field(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY, "from_the_future": 1})
    job = cli.json("show", "a")
    assert (job["schedule"], job["toast_notifications"], job["from_the_future"]) == (
        {"kind": "cron", "expression": "0 9 * * *"}, True, 1)


def test_control_characters_of_a_job_do_not_reach_the_terminal(cli: Cli, root: Path) -> None:
    evil = "x\x1b]0;owned\x07\x1b[2J\ny"
    write_jobs(root, {"id": "a", "name": evil, "prompt": evil, "schedule": DAILY})
    written = cli.on_terminal("show", "a")
    assert b"\x1b" not in written and b"\x07" not in written
    assert b"x ]0;owned [2J y" in written


def test_control_characters_of_a_run_do_not_reach_the_terminal(cli: Cli, root: Path) -> None:
    evil = "x\x1b]0;owned\x07\x1b[2J\ny"
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY, "last_status": evil, "last_error": evil,
                      "script": evil})
    written = cli.on_terminal("show", "a")
    assert b"\x1b" not in written and b"\x07" not in written


def test_a_missing_job_is_an_error(cli: Cli) -> None:
    for job_id in ("never-was", "../x", ""):
        assert "no job" in cli.refused("show", job_id)
    cli.refused("show", code=2)
