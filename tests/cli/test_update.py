import json
from pathlib import Path

from ..conftest import stored, write_script
from .conftest import Cli


def test_only_the_given_fields_change(cli: Cli) -> None:
    job = cli.json("create", "0 9 * * *", "say hello", "--name", "Hello", "--repeat", "3")
    changed = cli.json("update", job["id"], "--name", "Hi")
    assert changed == {**job, "name": "Hi"} == cli.json("show", job["id"])


def test_every_option_changes_its_field(cli: Cli, root: Path) -> None:
    job = cli.json("create", "0 9 * * *", "say hello")
    updated = cli.run("update", job["id"], "--schedule", "every 2h", "--prompt", "say bye", "--script",
                      write_script(root, "a.sh", ""), "--repeat", "5", "--json")
    assert updated.returncode == 0 and "No program can run a job with 'script'" in updated.stderr
    changed = json.loads(updated.stdout)
    assert (changed["schedule"]["expression"], changed["prompt"], changed["script"], changed["repeat"]["times"]) == (
        "every 2h", "say bye", "a.sh", 5)


def test_an_empty_text_clears_the_field(cli: Cli) -> None:
    job = cli.json("create", "0 9 * * *", "say hello", "--name", "Hello")
    assert cli.json("update", job["id"], "--name", "")["name"] == "say hello"


def test_invalid_input_is_refused_and_changes_nothing(cli: Cli, root: Path) -> None:
    job = cli.json("create", "0 9 * * *", "say hello")
    before = stored(root)
    assert "61" in cli.refused("update", job["id"], "--schedule", "61 * * * *", "--name", "x")
    cli.refused("update", job["id"], "--state", "paused", code=2)
    assert "never-was" in cli.refused("update", "never-was", "--name", "x")
    assert stored(root) == before


def test_a_change_of_nothing_is_refused(cli: Cli) -> None:
    job = cli.json("create", "0 9 * * *", "say hello")
    assert "Nothing to change" in cli.refused("update", job["id"], code=2)


def test_the_help_names_no_defaults_since_omitted_options_change_nothing(cli: Cli) -> None:
    assert "[default: forever]" in " ".join(cli.out("create", "--help").split())
    assert "default" not in cli.out("update", "--help")


def test_a_surprising_schedule_is_taken_with_a_warning(cli: Cli) -> None:
    job = cli.json("create", "0 9 * * *", "say hello")
    assert "`next friday at 17:00`" in cli.run("update", job["id"], "--schedule", "friday at 5pm").stderr
    assert "WARNING" not in cli.run("update", job["id"], "--name", "x").stderr
