import os
import shlex
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


ZSH = r"""
zmodload zsh/zpty
zpty -b shell zsh -f -i
zpty -w shell "fpath=({folder} \$fpath); autoload -Uz compinit; compinit -u -D
show_line() {{ zle -I; print -r -- \"<<\$BUFFER>>\"; BUFFER= }}; zle -N show_line
bindkey '^X' show_line; print RE''ADY"
zpty -r -m shell said '*READY*'
for words in {words}; do
    zpty -w -n shell "$words"$'\t\x18'
    zpty -r -m shell said '*<<*>>*'
    print -r -- "${{${{said##*<<}}%%>>*}}"
done
"""
"""Types each of the words, Tab and Ctrl-X into another zsh, and prints the line that it has then."""
COMPLETIONS = [
    ("hermes-oscron sho", ["show"]), ("hermes-oscron list --al", ["--all-profiles"]),
    ("hermes-oscron show ''", ["disk", "bbbb33334444", "cccc55556666", "dddd77778888"]),
    ("hermes-oscron pause d", ["disk", "dddd77778888"]), ("hermes-oscron pause disk aaa", ["aaaa11112222"]),
    ("hermes-oscron show --profile work ''", ["other"]), ("hermes-oscron show --profile w", ["work"]),
    ("hermes-oscron list --state fai", ["failed"]), ("hermes-oscron import cr", ["crontab"]),
    ("hermes-oscron next dis", ["disk"]), ("hermes-oscron logs nosuch", [])]
"""Words, the last of which is not complete, and what is offered for it."""


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
    return in_shell(["bash", "--norc", "-c", f"{script}\n{ASK.format(words=words)}"]).split()


def in_shell(command: list[str], **environment: str) -> str:
    """Return what the shell `command` prints; it finds `hermes-oscron`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120,
                          env={**os.environ, "PATH": path, **environment})
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(("words", "offered"), COMPLETIONS)
def test_bash_completes_commands_options_jobs_and_profiles(jobs: Path, cli: Cli, words: str,
                                                           offered: list[str]) -> None:
    assert completed(words) == offered


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh(1)")
def test_zsh_completes_the_same(jobs: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "_hermes-oscron").write_text(FILES["zsh/site-functions/_hermes-oscron"])
    lines = {words.removesuffix("''"): [words, f"{words.rpartition(' ')[0]} {''.join(offered)} "][len(offered)]
             for words, offered in COMPLETIONS if len(offered) < 2}
    script = ZSH.format(folder=tmp_path, words=shlex.join(lines))
    assert in_shell(["zsh", "-f", "-c", script], TERM="dumb").splitlines() == list(lines.values())


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish(1)")
def test_fish_completes_the_same(jobs: Path, cli: Cli, tmp_path: Path) -> None:
    script = FILES["fish/vendor_completions.d/hermes-oscron.fish"]
    for words, offered in COMPLETIONS:
        shown = in_shell(["fish", "--no-config", "-c", f"{script}complete -C {shlex.quote(words)}"],
                         XDG_DATA_HOME=str(tmp_path))
        assert sorted(line.split("\t")[0] for line in shown.splitlines()) == sorted(offered), words


def test_the_command_prints_the_script(cli: Cli, jobs: Path) -> None:
    assert completed("hermes-oscron pause di", cli.out("completion", "bash")) == ["disk"]
    for shell in ("zsh", "fish"):
        assert "_HERMES_OSCRON_COMPLETE" in cli.out("completion", shell)
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
