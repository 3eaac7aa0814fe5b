from pathlib import Path

from ..conftest import stored, write_script
from .conftest import Cli


def test_it_makes_the_job_and_shows_it(cli: Cli, root: Path) -> None:
    shown = cli.out("create", "0 9 * * 1-5", "say hello", "--name", "Hello")
    record, = stored(root)
    assert (record["name"], record["prompt"], record["schedule"]["expr"]) == ("Hello", "say hello", "0 9 * * 1-5")
    for line in (f"Id: {record['id']}", "Name: Hello", "Schedule: Weekdays at 9:00 AM", "State: scheduled",
                 "Prompt: say hello"):
        assert line in [" ".join(shown_line.split()) for shown_line in shown.splitlines()]


def test_json_prints_the_job_as_the_api_returns_it(cli: Cli, root: Path) -> None:
    job = cli.json("create", "every 2h", "say hello")
    assert (job["schedule"], job["state"], job["owner_profile"]) == (
        {"kind": "interval", "expression": "every 2h"}, "scheduled", "default")
    assert [record["id"] for record in stored(root)] == [job["id"]]


def test_a_script_needs_no_prompt(cli: Cli, root: Path) -> None:
    script = write_script(root, "a.sh", "echo hi")
    job = cli.json("create", "in 2h", "--no-agent", "--script", script, "--repeat", "1")
    assert (job["no_agent"], job["script"], job["prompt"], job["repeat"]["times"]) == (True, script, "", 1)


def test_invalid_input_is_refused_in_one_sentence_and_creates_nothing(cli: Cli, root: Path) -> None:
    assert "0 0 30 2 *" in cli.refused("create", "0 0 30 2 *", "p")
    assert "prompt" in cli.refused("create", "30m")
    assert "past" in cli.refused("create", "2020-01-01T00:00", "p")
    assert "script" in cli.refused("create", "30m", "p", "--no-agent")
    assert "script" in cli.refused("create", "30m", "--no-agent", "--script", "../../etc/passwd")
    assert stored(root) == []


def test_a_missing_schedule_or_a_wrong_option_is_a_usage_error(cli: Cli, root: Path) -> None:
    for arguments in ((), ("30m", "p", "--repeat", "0"), ("30m", "p", "--colour"), ("30m", "p", "q")):
        cli.refused("create", *arguments, code=2)
    assert stored(root) == []


def test_an_unreadable_jobs_json_is_not_changed(cli: Cli, root: Path) -> None:
    path = root / "cron" / "jobs.json"
    path.parent.mkdir()
    path.write_text('{"jobs": [')
    assert str(path) in cli.refused("create", "30m", "p")
    assert path.read_text() == '{"jobs": ['


def test_an_invalid_configuration_is_refused_with_the_name_of_its_key(cli: Cli, root: Path) -> None:
    (root / "oscron.toml").write_text('[scheduler]\nkind = "sundial"\n')
    assert "scheduler.kind" in cli.refused("create", "30m", "p")
    assert stored(root) == []
