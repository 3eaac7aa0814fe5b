"""The output of every command to a closed pipe, to a full disk, and in a locale with few characters."""

import os
import subprocess
from pathlib import Path

import pytest

from ..conftest import write_jobs
from .conftest import COMMAND, Cli

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
COMMANDS = (["list"], ["list", "--json"], ["show", "a"], ["runs", "a"], ["doctor"], ["adopt", "--dry-run"], ["token"],
            ["next", "0 9 * * *"], ["translate", "daily"], ["--help"], ["create", "--help"], ["--version"], ["sync"])


@pytest.fixture
def job(root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "name": "été 夜", "schedule": DAILY})


@pytest.mark.usefixtures("cli", "job")
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_reader_that_has_ended_is_not_an_error(arguments: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([*COMMAND, *arguments], stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=30,
                          check=False, stdin=subprocess.DEVNULL)
    os.close(theirs)
    assert "roken" not in done.stderr and "Error" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.usefixtures("cli", "job")
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_disk_is_one_sentence(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30,
                              check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        [sentence] = done.stderr.splitlines()
        assert sentence.startswith("Error: ") and "No space left on device" in sentence
    else:
        assert arguments == ["sync"], "which prints nothing"


@pytest.mark.usefixtures("job")
def test_a_character_that_the_locale_does_not_have_is_a_question_mark(cli: Cli) -> None:
    for encoding in ("latin-1", "ascii"):
        done = subprocess.run([*COMMAND, "list"], capture_output=True, timeout=30, check=True, stdin=subprocess.DEVNULL,
                              env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"})
        shown = "été ?" if encoding == "latin-1" else "?t? ?"
        assert shown in done.stdout.decode(encoding)


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_keep_no_command_from_its_work(cli: Cli, root: Path, closed: str) -> None:
    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, "update", "a", "--name", "other"],
                          timeout=30, check=False)
    assert done.returncode == 0 and cli.json("show", "a")["name"] == "other"
