"""The manual pages: they render, and they describe every command, option and setting."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from hermes_oscron.cli import main
from hermes_oscron.config import EVENTS, SETTINGS, Config
from hermes_oscron.runner.main import HELP

MAN = Path(__file__).parents[1] / "docs" / "man"
PAGES = sorted(MAN.iterdir())
COLUMNS = 80
RENDERERS = {"groff": ["groff", "-mandoc", "-ww", "-Tutf8", f"-rLL={COLUMNS - 2}n", "-P-cbou"],
             "mandoc": ["mandoc", "-Wwarning,stop", "-Tutf8", f"-Owidth={COLUMNS - 2}"]}
"""The commands that render a page as man(1) does on Debian, and on Alpine and the BSDs, and report its mistakes."""


def render(renderer: str, page: Path) -> "subprocess.CompletedProcess[str]":
    if not shutil.which(renderer):
        pytest.skip(f"{renderer} is not installed; as root, ./tests/run installs it")
    return subprocess.run([*RENDERERS[renderer], page], capture_output=True, text=True, check=False)


def commands_on_page() -> dict[str, tuple[set[str], set[str], str]]:
    """Return for each command on the page its arguments, its options, and its whole text."""
    section = (MAN / "hermes-oscron.1").read_text().partition("\n.Sh COMMANDS\n")[2].partition("\n.Sh ")[0]
    found: dict[str, tuple[set[str], set[str], str]] = {}
    name, depth = "", 0
    for line in section.splitlines():
        depth += line.startswith(".Bl ") - line.startswith(".El")
        if depth == 1 and line.startswith(".It Cm "):
            name = " ".join(re.findall(r"[a-z]+", re.split(r" (?:Op|Oo|Ar) ", line.removeprefix(".It Cm "))[0]))
            found[name] = set(re.findall(r"\b[A-Z_]{2,}\b", line)), set(), ""
        elif depth == 2 and line.startswith(".It Fl "):
            found[name][1].update(f"-{option}" for option in re.findall(r"(?<=Fl )-?[a-z-]+", line))
        if name:
            found[name] = (*found[name][:2], f"{found[name][2]}{line}\n")
    return found


def commands_of(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield the name and the command of each leaf of `group`."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def options_of(command: click.Command) -> set[str]:
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    return {name for option in options for name in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_page_renders_without_warnings(page: Path, renderer: str) -> None:
    done = render(renderer, page)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    text = re.sub(".\b", "", done.stdout)
    assert max(map(len, text.splitlines())) <= COLUMNS
    for section in ("NAME", "DESCRIPTION", "FILES", "SEE ALSO"):
        assert f"\n{section}\n" in text
    title, section = page.name.rsplit(".", 1)
    assert text.strip().startswith(f"{title.upper()}({section})")


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_mistake_in_a_page_is_reported(renderer: str, tmp_path: Path) -> None:
    page = tmp_path / "wrong.1"
    page.write_text((MAN / "hermes-oscron.1").read_text().replace(".Sh COMMANDS", ".Nosuch\n.Sh COMMANDS"))
    assert render(renderer, page).stderr


def test_pages_refer_to_each_other() -> None:
    names = {tuple(page.name.rsplit(".", 1)) for page in PAGES}
    for page in PAGES:
        referred = set(re.findall(r"^\.Xr (\S+) (\d)", page.read_text(), re.MULTILINE))
        assert names - {tuple(page.name.rsplit(".", 1))} <= referred, page.name


def test_every_command_is_described() -> None:
    assert set(commands_on_page()) == set(dict(commands_of(main)))


@pytest.mark.parametrize(("name", "command"), list(commands_of(main)), ids=[name for name, _ in commands_of(main)])
def test_every_argument_and_option_is_described(name: str, command: click.Command) -> None:
    arguments, options, text = commands_on_page()[name]
    assert arguments == {param.name.upper() for param in command.params if isinstance(param, click.Argument)
                         if param.name}
    assert options == options_of(command)
    text += (MAN / "hermes-oscron.1").read_text().partition("\n.Sh COMMANDS\n")[2].partition("\n.Ss ")[0]
    choices = [choice for param in command.params if isinstance(param.type, click.Choice)
               for choice in param.type.choices]
    assert all(re.search(rf"\b{choice}\b", text) for choice in choices)


def test_every_global_option_is_described() -> None:
    page = (MAN / "hermes-oscron.1").read_text().partition("\n.Sh SCHEDULES\n")[0]
    described = {f"-{option}" for line in re.findall(r"^\.It (.+)", page, re.MULTILINE)
                 for option in re.findall(r"(?<=Fl )-?[a-z]+", line)}
    assert described == options_of(main) | {"-h", "--help"}


def test_every_option_of_the_runner_is_described() -> None:
    page = (MAN / "hermes-cron-exec.8").read_text()
    described = {f"-{option}" for line in re.findall(r"^\.It (.+)", page, re.MULTILINE)
                 for option in re.findall(r"(?<=Fl )-?[a-z]+", line)}
    assert described == set(re.findall(r"(?<![\w-])--?[a-z]+", HELP.partition("Exit status")[0])) - {"-exec"}


def test_every_setting_is_described_with_its_default() -> None:
    tables = re.findall(r"^\.Sh \[(\w+)\]\n(.*?)(?=^\.Sh )", (MAN / "oscron.toml.5").read_text(),
                        re.MULTILINE | re.DOTALL)
    described = {(table, key): default for table, text in tables
                 for key, default in re.findall(r"^\.It Va (\w+) Pq [a-z ]+, default (.+)$", text, re.MULTILINE)}
    assert set(described) == set(SETTINGS)
    for setting, default in described.items():
        expected = getattr(Config(), SETTINGS[setting][0])
        assert default == (f"Qq {expected}" if expected and isinstance(expected, str) else
                           "true" if expected is True else
                           "all but success" if expected == EVENTS[:-1] else
                           f"{expected:g}" if isinstance(expected, float | int) and expected else "none"), setting
