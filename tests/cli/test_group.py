import re
import shlex
from pathlib import Path

import click
import pytest

from hermes_oscron.cli import main
from hermes_oscron.version import version_text

from ..test_docs import COMMAND, parse
from ..test_man import commands_of
from .conftest import Cli


def test_version_is_one_line_and_reads_no_configuration(cli: Cli, root: Path) -> None:
    (root / "oscron.toml").write_text("[exec")
    assert cli.out("--version") == f"{version_text('hermes-oscron')}\n"


@pytest.mark.parametrize("group", [main, *(each for each in main.commands.values() if isinstance(each, click.Group))])
def test_the_summary_of_no_command_is_cut(group: click.Group) -> None:
    text = group.get_help(click.Context(group, info_name="hermes-oscron", terminal_width=80))
    assert not [line for line in text.splitlines() if line.endswith("...") and not line.startswith("Usage:")]


@pytest.mark.parametrize(("name", "command"), list(commands_of(main)), ids=[name for name, _ in commands_of(main)])
def test_every_command_has_an_example_that_it_accepts(name: str, command: click.Command, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("jobs.toml", "jobs.tar.gz"):
        (tmp_path / file).touch()
    assert command.epilog and f"hermes-oscron {name}" in command.epilog, command.epilog
    examples = COMMAND.findall(re.sub(r"Example: (EDITOR=\w+ |eval \")?", "", command.epilog))
    assert examples
    for arguments in examples:
        parse(shlex.split(arguments.partition(" >")[0]), complete=True)


def test_debug_changes_nothing_if_a_command_succeeds(cli: Cli) -> None:
    assert cli.out("--debug", "list") == cli.out("list")


@pytest.mark.parametrize("command", [["list"], ["plugin", "install"], ["show", "4f2a9c1d07be"]])
def test_debug_prints_the_traceback_before_the_sentence(cli: Cli, root: Path, command: list[str]) -> None:
    if command[0] == "plugin":
        (root / "config.yaml").mkdir()
    elif command[0] == "list":
        (root / "oscron.toml").write_text("[exec\n")
    sentence = cli.refused(*command)
    result = cli.run("--debug", *command)
    lines = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (1, "")
    assert lines[0] == "Traceback (most recent call last):" and lines[-1] == f"Error: {sentence}"
    assert any("hermes_oscron/cli/" in line for line in lines)


def test_debug_keeps_the_exit_status(cli: Cli, root: Path) -> None:
    (root / "oscron.toml").write_text("[exec\n")
    assert cli.run("--debug", "sync").returncode == cli.run("sync").returncode == 78


def test_a_traceback_does_not_control_the_terminal(cli: Cli, root: Path) -> None:
    (root / "oscron.toml").write_text('"\\u001b]0;title\\u0007" = 1\n')
    result = cli.run("--debug", "list")
    assert result.stderr.count("]0;title") == 2, "in the traceback, and in the sentence"
    assert "\x1b" not in result.stderr and "\x07" not in result.stderr
