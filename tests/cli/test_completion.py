import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_oscron.install.completions import FILES

from ..conftest import write_jobs
from .conftest import Cli, Installed

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
ASK = """
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_hermes_oscron_completion hermes-oscron
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def jobs(root: Path) -> Path:
    write_jobs(root, {"id": "aaaa11112222", "name": "disk", "prompt": "p", "schedule": DAILY},
               {"id": "bbbb33334444", "name": "two words", "prompt": "p", "schedule": DAILY},
               {"id": "cccc55556666", "name": "twin", "prompt": "p", "schedule": DAILY},
               {"id": "dddd77778888", "name": "twin", "prompt": "p", "schedule": DAILY})
    write_jobs(root / "profiles" / "work", {"id": "eeee", "name": "other", "prompt": "p", "schedule": DAILY})
    return root


def completed(words: str, script: str = FILES["bash-completion/completions/hermes-oscron"]) -> list[str]:
    """Return the words that bash offers after `words`, the last of which is not complete."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "--norc", "-c", f"{script}\n{ASK.format(words=words)}"], capture_output=True,
                          text=True, check=True, env={**os.environ, "PATH": path})
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(("words", "offered"), [
    ("hermes-oscron sho", ["show"]), ("hermes-oscron list --al", ["--all-profiles"]),
    ("hermes-oscron show ''", ["disk", "bbbb33334444", "cccc55556666", "dddd77778888"]),
    ("hermes-oscron pause d", ["disk", "dddd77778888"]), ("hermes-oscron pause disk aaa", ["aaaa11112222"]),
    ("hermes-oscron show --profile work ''", ["other"]), ("hermes-oscron show --profile w", ["work"]),
    ("hermes-oscron list --state fai", ["failed"]), ("hermes-oscron import cr", ["crontab"]),
    ("hermes-oscron next dis", ["disk"]), ("hermes-oscron logs nosuch", [])])
def test_bash_completes_commands_options_jobs_and_profiles(jobs: Path, cli: Cli, words: str,
                                                           offered: list[str]) -> None:
    assert completed(words) == offered


def test_the_command_prints_the_script(cli: Cli, jobs: Path) -> None:
    assert completed("hermes-oscron pause di", cli.out("completion", "bash")) == ["disk"]
    for shell, path in (("zsh", "_hermes-oscron"), ("fish", "hermes-oscron.fish")):
        assert "_HERMES_OSCRON_COMPLETE" in cli.out("completion", shell)
        if shutil.which(shell):
            [text] = [text for name, text in FILES.items() if name.endswith(path)]
            assert subprocess.run([shell, "-n"], input=text, text=True, check=False).returncode == 0
    assert "'bash', 'zsh', 'fish'" in cli.refused("completion", "csh", code=2)
    assert b"complete" in cli.on_terminal("completion", "bash")


def test_an_unreadable_home_offers_nothing(cli: Cli, root: Path) -> None:
    (root / "oscron.toml").write_text("[exec\n")
    assert completed("hermes-oscron show ''") == []


def test_root_completes_the_jobs_of_the_account(as_root: Installed) -> None:
    write_jobs(as_root.root, {"id": "aaaa11112222", "name": "disk", "prompt": "p", "schedule": DAILY})
    as_root.own()
    code = "import sys; sys.argv[0] = 'hermes-oscron'; from hermes_oscron.cli import main; main()"
    done = subprocess.run([as_root.command[0], "-c", code], capture_output=True, text=True, check=True, env={
        **os.environ, "_HERMES_OSCRON_COMPLETE": "bash_complete", "COMP_WORDS": "x show di", "COMP_CWORD": "2"})
    assert (done.stdout, done.stderr) == ("plain,disk\n", "")
