"""README and docs/: commands, links and settings in them exist, and the configuration is complete."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from hermes_oscron import config
from hermes_oscron.cli import main
from hermes_oscron.config import SETTINGS, Config
from hermes_oscron.jobs.policy import KEYS

SOURCE = Path(__file__).parents[1]
PAGES = [*sorted(SOURCE.glob("*.md")), *sorted((SOURCE / "docs").rglob("*.md"))]
EXAMPLE = SOURCE / "docs" / "oscron.example.toml"
CONFIGURATION = SOURCE / "docs" / "configuration.md"
COMMAND = re.compile(
    r"""(?:^|\$\(|[|;&] *)hermes-oscron(?![\w.@/-])((?:"[^"]*"|'[^']*'|[^"'|;&<>)#\n…])*)""", re.MULTILINE)
"""The arguments of the command in a shell line."""
MAX_README_LINES, MAX_README_COLUMNS = 150, 80


def code_blocks(page: str) -> list[str]:
    """Return the indented blocks of a page of Markdown, without their indentation."""
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", page, re.MULTILINE)
    return [re.sub(r"^ {4,6}", "", block, flags=re.MULTILINE).strip("\n") for block in blocks if block.strip()]


def commands_of(page: str) -> list[tuple[list[str], bool]]:
    """Return the arguments of each `hermes-oscron` in the code of `page`, and True for those that are complete."""
    found = [(re.sub(r"^\$ ", "", block, flags=re.MULTILINE), True) for block in code_blocks(page)]
    found += [(re.sub(r"\s+", " ", span), False) for span in re.findall(r"`([^`]+)`", page)]
    return [(shlex.split(match), complete) for code, complete in found for match in COMMAND.findall(code)]


def parse(arguments: list[str], complete: bool) -> None:
    """Parse `arguments` as the command does, without running it. Raises UsageError."""
    command: click.Command = main
    while isinstance(command, click.Group):
        context = click.Context(command)
        _, arguments, _ = command.make_parser(context).parse_args(arguments)
        if not arguments:
            return
        name, *arguments = arguments
        if name not in command.commands:
            raise click.UsageError(f"there is no command '{name}'")
        command = command.commands[name]
    try:
        command.make_context(command.name, arguments)
    except click.exceptions.Exit:
        pass  # --help
    except click.MissingParameter:
        if complete:
            raise
    except click.BadParameter as error:
        if "No such file" not in error.message:  # of the user
            raise
    except OSError:
        pass  # a test has no standard input


def load(folder: Path, text: str) -> Config:
    (folder / "oscron.toml").write_text(text)
    return config.load(str(folder))


def settings_of(text: str) -> dict[str, Any]:
    return {f"{table}.{key}": value for table, entries in tomllib.loads(text).items() for key, value in entries.items()}


def alternatives() -> list[str]:
    """Return each setting that is commented out in the example, as a configuration of its own."""
    table, found = "", []
    for line in EXAMPLE.read_text().splitlines():
        if line.startswith("["):
            table = line
        elif re.match(r"# [a-z_]+ = ", line):
            found.append(f"{table}\n{line[2:]}\n")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_exists(page: Path) -> None:
    for arguments, complete in commands_of(page.read_text()):
        try:
            parse(arguments, complete)
        except click.UsageError as error:
            raise AssertionError(f"hermes-oscron {shlex.join(arguments)}: {error.format_message()}") from None


def test_commands_are_found_wherever_they_are() -> None:
    page = ("Use `hermes-oscron sync`, or:\n\n    $ hermes-oscron next \"a; b\" -n 3 | cat\n"
            "    x \"$(hermes-oscron token)\" # hermes-oscron\n\n- hermes-oscron in text\n\n"
            "      hermes-oscron run a <b\n")
    assert commands_of(page) == [(["next", "a; b", "-n", "3"], True), (["token"], True), (["run", "a"], True),
                                 (["sync"], False)]


@pytest.mark.parametrize("arguments", [["nosuch"], ["list", "--nosuch"], ["output", "a", "1", "b"], ["output"],
                                       ["--nosuch"],
                                       ["sync", "--scheduler", "at"], ["plugin", "nosuch"]])
def test_a_wrong_command_is_found(arguments: list[str]) -> None:
    with pytest.raises(click.UsageError):
        parse(arguments, complete=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_works(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [*PAGES, *sorted((SOURCE / "docs" / "man").iterdir())], ids=lambda page: page.name)
def test_every_call_by_curl_prints_the_answer_and_errors_alone(page: Path) -> None:
    assert not re.findall(r"^    .*\bcurl (?!-sS ).*", page.read_text(), re.MULTILINE)


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = (SOURCE / "README.md").read_text()
    lines = text.splitlines()
    assert len(lines) <= MAX_README_LINES and max(map(len, lines)) <= MAX_README_COLUMNS
    linked = {(SOURCE / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", text)}
    others = {page for page in linked if page.suffix == ".md"}
    for page in list(others):
        others |= {(page.parent / target).resolve() for target in re.findall(r"\]\(([^)#]+\.md)\)", page.read_text())}
    assert set(PAGES) - {SOURCE / "README.md"} <= others


def test_the_example_configuration_changes_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, EXAMPLE.read_text()) == Config()


def test_every_alternative_in_the_example_is_accepted(tmp_path: Path) -> None:
    for text in alternatives():
        [(name, value)] = settings_of(text).items()
        field = SETTINGS[tuple(name.split("."))][0]  # type: ignore[index]
        loaded = getattr(load(tmp_path, text), field)
        assert loaded == (tuple(value) if isinstance(value, list) else value) != getattr(Config(), field), text


def test_example_page_and_program_have_the_same_settings() -> None:
    names = {f"{table}.{key}" for table, key in SETTINGS}
    assert {field for field, _, _ in SETTINGS.values()} == set(Config._fields) - {"policy", "profile_policies"}
    in_example = set(settings_of(EXAMPLE.read_text())).union(*map(settings_of, alternatives()))
    on_page = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", CONFIGURATION.read_text(), re.MULTILINE)
    assert in_example == set(on_page) == names and len(on_page) == len(names)


def test_each_key_of_the_policy_is_described_and_has_its_equivalents() -> None:
    page, man = (SOURCE / "docs" / name for name in ("policies.md", "man/hermes-oscron.1"))
    described, equivalents = page.read_text().split("\n## The same in other schedulers\n")
    for text, columns in ((described, 3), (equivalents, 4)):
        rows = [re.findall(r"(?<=\| )[^|]+(?= \|)", line) for line in text.splitlines() if line.startswith("| `")]
        assert all(len(row) == columns for row in rows)
        assert sorted(key for row in rows for key in re.findall(r"`([a-z_]+)`", row[0])) == sorted(KEYS)
    assert sorted(re.findall(r"^\.It Va ([a-z_]+) Ns (?:=|\\&\.)", man.read_text(), re.MULTILINE)) == sorted(KEYS)


def test_the_page_has_the_default_of_every_setting() -> None:
    rows = re.findall(r"^\| `([a-z]+)\.([a-z_]+)` \| ([^|]+) \| ([^|]+) \|", CONFIGURATION.read_text(), re.MULTILINE)
    assert len(rows) == len(SETTINGS)
    for table, key, kind, default in rows:
        expected = getattr(Config(), SETTINGS[table, key][0])
        if default == "none":
            assert not expected, key
        else:
            value = tomllib.loads(f"x = {default.strip('`')}")["x"]
            assert (tuple(value) if isinstance(value, list) else value) == expected, key
        assert kind in {str: ("text",), tuple: ("list of texts",), float: ("number, in seconds",),
                        int: ("whole number",), bool: ("true or false",),
                        type(None): ("number, in seconds", "whole number")}.get(
            type(expected), ("table of texts",)), key


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_configuration_on_a_page_is_accepted(page: Path, tmp_path: Path) -> None:
    for block in code_blocks(page.read_text()):
        if re.match(r"\[[\w.]+\]\n", block):
            load(tmp_path, block)


def test_a_setting_that_does_not_exist_is_found(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError):
        load(tmp_path, code_blocks("Text:\n\n    [exec]\n    comand = ['x']\n\nMore.\n")[0])
