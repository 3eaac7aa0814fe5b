"""Jobs that cannot run as they should on this machine, found before they are due."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.config import Config
from hermes_oscron.hermes.home import Home, home_of
from hermes_oscron.runner import command
from hermes_oscron.runner.environment import NoExecutor
from tests.conftest import as_nobody, chown_to_nobody, write_script

SCRIPT = {"id": "a", "no_agent": True, "script": "a.sh"}
PROMPT = {"id": "a", "prompt": "x"}


@pytest.fixture
def home(nobodys_root: Path) -> Home:
    """A home of an ordinary account, with a script."""
    (nobodys_root / "scripts").mkdir()
    write_script(nobodys_root, "a.sh", "true\n")
    (nobodys_root / "work").mkdir()
    chown_to_nobody(nobodys_root)
    return home_of(str(nobodys_root), "default")


@pytest.fixture
def agent(nobodys_root: Path) -> str:
    """A command that is taken for the agent's `hermes`."""
    python, path = nobodys_root / "python3", nobodys_root / "hermes"
    for program, interpreter in ((python, "/bin/sh"), (path, python)):
        program.write_text(f"#!{interpreter}\n")
        program.chmod(0o755)
    return str(path)


def unrunnable(home: Home, record: dict[str, Any], settings: Config) -> str | None:
    with as_nobody():
        return command.why_unrunnable(record, home, settings)


def incomplete(home: Home, record: dict[str, Any]) -> str | None:
    with as_nobody():
        return command.why_incomplete(record, home)


def remove(path: Path) -> None:
    path.rmdir() if path.is_dir() else path.unlink()


def close(path: Path) -> None:
    path.chmod(0)


SCRIPT_FAULTS = pytest.mark.parametrize(("spoil", "name", "part"), [
    (remove, "scripts/a.sh", "There is no script {root}/scripts/a.sh. Put it there; "),
    (close, "scripts/a.sh", "The script {root}/scripts/a.sh cannot be read: Permission denied. Give it to the account"),
    (close, "scripts", "The script {root}/scripts/a.sh cannot be read, because of {root}/scripts: Permission denied. "
                       "Give it to the account"),
])


@SCRIPT_FAULTS
def test_a_script_that_the_account_cannot_read(
    home: Home, spoil: Callable[[Path], None], name: str, part: str,
) -> None:
    assert unrunnable(home, SCRIPT, Config(agent="none")) is None
    spoil(Path(home.path, name))
    try:
        assert part.format(root=home.path) in str(unrunnable(home, SCRIPT, Config(agent="none")))
    finally:
        Path(home.scripts_dir).chmod(0o755)


@SCRIPT_FAULTS
def test_the_script_of_a_job_that_the_agent_runs(
    home: Home, agent: str, spoil: Callable[[Path], None], name: str, part: str,
) -> None:
    settings = Config(agent=agent)
    delivered, watched = {**SCRIPT, "deliver": "telegram"}, {**PROMPT, "script": "a.sh", "monitor_script": "a.sh"}
    assert unrunnable(home, delivered, settings) is unrunnable(home, watched, settings) is None
    assert incomplete(home, watched) is None
    spoil(Path(home.path, name))
    try:
        assert part.format(root=home.path) in str(unrunnable(home, delivered, settings))
        assert unrunnable(home, watched, settings) is None  # the agent gives the error to the model
        for field in ("script", "monitor_script"):
            assert part.format(root=home.path) in str(incomplete(home, {**PROMPT, field: "a.sh"}))
    finally:
        Path(home.scripts_dir).chmod(0o755)


@pytest.mark.parametrize(("spoil", "part"), [(remove, "No such file or directory."),
                                             (close, "Permission denied. Give it to the account")])
def test_a_working_directory_that_the_account_cannot_enter(
    home: Home, agent: str, spoil: Callable[[Path], None], part: str,
) -> None:
    work = Path(home.path, "work")
    script, prompt = {**SCRIPT, "workdir": str(work)}, {**PROMPT, "workdir": str(work)}
    assert unrunnable(home, script, Config(agent="none")) is incomplete(home, prompt) is None
    spoil(work)
    for reason in (unrunnable(home, script, Config(agent="none")), incomplete(home, prompt),
                   unrunnable(home, prompt, Config(agent="none", command=("cat",)))):
        assert str(reason).startswith(f"The working directory {work} cannot be entered: {part}")
        assert "'hermes-oscron update ID --workdir FOLDER' names another one." in str(reason)
    assert unrunnable(home, prompt, Config(agent=agent)) is None  # the agent runs it without


@pytest.mark.parametrize(("first", "missing"), [
    ("#!/opt/gone/python3 -P", "/opt/gone/python3"), ("#!/usr/bin/env no-such-node", "no-such-node"),
    ("#! /opt/gone/sh", "/opt/gone/sh"), ("#!/bin/sh", None), ("#!/usr/bin/env sh", None),
    ("#!/usr/bin/env -S sh -e", None), ("\x7fELF", None), ("#!", None),
])
def test_a_command_whose_interpreter_is_missing(home: Home, first: str, missing: str | None) -> None:
    program = Path(home.path, "claude")
    program.write_text(f"{first}\n")
    program.chmod(0o755)
    reason = unrunnable(home, PROMPT, Config(agent="none", command=(str(program),)))
    assert reason == (f"{program} needs {missing}, which is not there or not executable. Install it, or reinstall "
                      f"claude." if missing else None)


def test_a_script_whose_interpreter_is_missing(home: Home, agent: str) -> None:
    record = {**SCRIPT, "script": write_script(Path(home.path), "a.py", ""), "interpreter": "/opt/gone/python3"}
    for settings, deliver in ((Config(agent="none"), "local"), (Config(agent=agent), "telegram")):
        assert unrunnable(home, {**record, "deliver": deliver}, settings) == (
            "The interpreter /opt/gone/python3 was not found. 'hermes-oscron update ID --interpreter PATH' names "
            "another one.")


def test_a_job_without_prompt_and_script(home: Home) -> None:
    assert "has no script. 'hermes-oscron update ID --script NAME'" in str(
        unrunnable(home, {"id": "a", "no_agent": True}, Config(agent="none")))


def test_what_is_looked_up_prints_nothing(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    """`doctor --json` prints JSON alone."""
    assert "There is no profile 'gone'" in str(incomplete(home, {**PROMPT, "profile": "gone"}))
    unrunnable(home, {**PROMPT, "profile": "gone"}, Config(agent="none", command=("cat",)))
    assert capfd.readouterr() == ("", "")


def test_a_script_that_cannot_be_read_is_a_failed_run_with_the_reason(home: Home) -> None:
    Path(home.scripts_dir, "a.sh").chmod(0)
    path = shlex.quote(f"{home.scripts_dir}/a.sh")
    with as_nobody(), pytest.raises(NoExecutor, match=f"The script {path} cannot be read: Permission denied"):
        command.command_for(SCRIPT, home, Config(agent="none"))
