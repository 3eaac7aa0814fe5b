"""Each command in a terminal of 80 columns, in a pipe, in one that is closed, at Ctrl-C, and typed by root."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from hermes_oscron.cli import main
from hermes_oscron.cli.addressing import JOB_NAMES

from ..conftest import write_jobs, write_script
from ..test_man import commands_of
from .conftest import Cli, Installed


class Case(NamedTuple):
    """The arguments of a command, and the exit status that it has with them."""

    arguments: tuple[str, ...] = ()
    code: int = 0


CASES = {
    "status": Case(code=2), "top": Case(("--count", "1")), "list": Case(), "show": Case(("disk",)),
    "create": Case(("0 9 * * *", "p")), "update": Case(("disk", "--repeat", "9")), "edit": Case(("disk",)),
    "copy": Case(("disk",)), "pause": Case(("disk",)), "resume": Case(("disk",)), "run": Case(("disk", "--wait")),
    "stop": Case(("disk", "--yes"), code=1), "delete": Case(("bbbb", "--yes")), "runs": Case(),
    "output": Case(("disk",)), "logs": Case(("disk",), code=1), "next": Case(("disk",)), "calendar": Case(),
    "translate": Case(("0 9 * * *",)), "export": Case(), "apply": Case(("{folder}/jobs.toml", "--yes")),
    "import crontab": Case(("{folder}/crontab", "--all")), "import timers": Case(code=1),
    "backup": Case(("{folder}/{number}.tar.gz",)), "restore": Case(("{folder}/saved.tar.gz", "--yes")),
    "doctor": Case(code=2), "audit": Case(), "notify test": Case(code=1), "sync": Case(), "adopt": Case(),
    "disarm": Case(), "arm": Case(), "plugin install": Case(), "plugin remove": Case(), "token": Case(),
    "serve": Case(("--port", "70000"), code=2), "open": Case(), "completion": Case(("bash",)),
    "install": Case(code=1), "uninstall": Case(code=1)}
"""`serve` goes on until it is ended, see test_serve.py; the last two are refused outside of an installation."""
REFUSED = ("stop", "logs", "import timers", "notify test", "serve", "install", "uninstall")
"""The commands that have an error to print here."""
FITTED = ("status", "top", "list", "runs", "next", "calendar")
"""The commands of which no line is longer than the terminal is wide."""
SILENT = ("sync", "plugin remove")
"""The commands that print only what they have changed, which is nothing here."""
INTERRUPTED_AFTER_CPU_S = (0.02, 0.1, 0.2)
"""During the imports, and the command."""
INTERRUPTED = """
import os, signal, sys
sys.argv[0] = "/bin/hermes-oscron"
signal.signal(signal.SIGPROF, lambda *_: os.kill(os.getpid(), signal.SIGINT))
signal.setitimer(signal.ITIMER_PROF, {})
from hermes_oscron.cli import main
from hermes_oscron.cli.addressing import JOB_NAMES
main()
"""
"""The command, which gets SIGINT after so many seconds of CPU time."""
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def prepare(cli: Cli, root: Path, folder: Path) -> None:
    """Write two jobs, the output of one, and the files that commands name."""
    schedule = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
    (root / "scripts").mkdir(exist_ok=True)
    write_jobs(root, {"id": "aaaa11112222", "name": "disk", "no_agent": True, "schedule": schedule,
                      "script": write_script(root, "a.sh", "echo done")},
               {"id": "bbbb33334444", "name": "n" * 200, "prompt": "p", "schedule": schedule})
    (root / "cron" / "output" / "aaaa11112222").mkdir(parents=True)
    (root / "cron" / "output" / "aaaa11112222" / "2026-01-02_09-00-00.md").write_text("## Response\n\ndone\n")
    (folder / "jobs.toml").write_text('[[job]]\nname = "disk"\nschedule = "0 8 * * *"\nprompt = "p"\n')
    (folder / "crontab").write_text("0 9 * * * echo x\n")


def arguments_of(name: str, folder: Path, number: int = 0) -> list[str]:
    return [*name.split(), *(each.format(folder=folder, number=number) for each in CASES[name].arguments)]


@pytest.fixture
def folder(cli: Cli, root: Path, tmp_path: Path, request: pytest.FixtureRequest,
           monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that commands name; the jobs are in `root`."""
    monkeypatch.setenv("EDITOR", "true")
    prepare(cli, root, tmp_path)
    if request.node.callspec.params["name"] == "restore":
        cli.out("backup", f"{tmp_path}/saved.tar.gz")
    return tmp_path


def test_every_command_is_here() -> None:
    assert list(CASES) == [name for name, _ in commands_of(main)]


@pytest.mark.parametrize("name", CASES)
def test_a_command_on_a_terminal_and_in_a_pipe(cli: Cli, folder: Path, name: str) -> None:
    written = COLOUR.sub("", cli.on_terminal(*arguments_of(name, folder, 1), code=CASES[name].code).decode())
    written = written.removeprefix("\x1b[H\x1b[2J")
    assert bool(written) != (name in SILENT) and "Traceback" not in written and "\x1b" not in written
    if name in FITTED:
        assert all(len(line) <= 80 for line in written.splitlines())
    result = cli.run(*arguments_of(name, folder, 2))
    if name != "delete":  # it is deleted already
        assert result.returncode == CASES[name].code
    said = result.stdout + result.stderr
    assert bool(said) != (name in SILENT) and "Traceback" not in said and "\x1b" not in said
    if name == "list":
        assert "n" * 200 in said


@pytest.mark.parametrize("name", CASES)
def test_a_closed_pipe_and_ctrl_c_end_a_command_quietly(cli: Cli, folder: Path, name: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    result = subprocess.run([*cli.command, *arguments_of(name, folder)], stdin=subprocess.DEVNULL, stdout=theirs,
                            stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(theirs)
    expected = ("NOTE: ", "Usage: ", "Try ", *(["Error: "] if name in REFUSED else []))
    assert all(line.startswith(expected) for line in result.stderr.splitlines() if line), result.stderr
    for number, cpu_s in enumerate(INTERRUPTED_AFTER_CPU_S, 1):
        done = subprocess.run([sys.executable, "-c", INTERRUPTED.format(cpu_s), *arguments_of(name, folder, number)],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in done.stderr and "KeyboardInterrupt" not in done.stderr, cpu_s
        if number == 1:
            assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(("name", "command"), list(commands_of(main)), ids=list(CASES))
def test_the_help_fits_a_terminal_of_80_columns(name: str, command: click.Command) -> None:
    text = command.get_help(click.Context(command, info_name=f"hermes-oscron {name}", terminal_width=80))
    assert [line for line in text.splitlines() if len(line) > 80] == []
    names_jobs = any(param.name in ("job", "job_or_schedule") for param in command.params)
    assert (JOB_NAMES in " ".join(text.split())) == names_jobs


def test_root_types_each_command_for_the_account(as_root: Installed, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """All files that a command writes in the home belong to the account."""
    monkeypatch.setenv("EDITOR", "true")
    prepare(as_root, as_root.root, tmp_path)
    as_root.own()
    as_root.out("backup", f"{tmp_path}/saved.tar.gz")
    for name in CASES:
        result = as_root.run(*arguments_of(name, tmp_path))
        assert result.returncode == CASES[name].code, (name, result)
        assert "Traceback" not in result.stderr
    of_root = subprocess.run(["find", as_root.root, "!", "-user", "nobody"], capture_output=True, text=True, check=True)
    assert of_root.stdout == ""
