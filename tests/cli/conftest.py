"""The real command, on a home of its own."""

import json
import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from ..conftest import chown_to_nobody

COMMAND = [sys.executable, "-m", "hermes_oscron.cli"]
SYSTEM_PYTHON = "/usr/bin/python3"
"""A Python that every account can execute; that of a test may be in a folder of root's."""


class Cli:
    """`hermes-oscron`, run as a process."""

    command = COMMAND

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the command with `arguments`; `environment` is added to that of the test, without its width."""
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | environment
        return subprocess.run([*self.command, *arguments], capture_output=True, text=True, timeout=60, check=False,
                              input=stdin, env=environment)

    def out(self, *arguments: str, **environment: str) -> str:
        """Return the output of `arguments`; the command must succeed without an error message."""
        result = self.run(*arguments, **environment)
        assert (result.returncode, result.stderr) == (0, ""), result.stderr
        return result.stdout

    def start(self, job_id: str) -> None:
        """`run JOB_ID`, with the run's output going nowhere; it must succeed."""
        subprocess.run([*self.command, "run", job_id], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=30, check=True)

    def json(self, *arguments: str) -> Any:
        """The JSON that `arguments` print with --json."""
        return json.loads(self.out(*arguments, "--json"))

    def json_of(self, *arguments: str) -> Any:
        """The JSON of `arguments`, whose exit status may be another than 0."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def refused(self, *arguments: str, code: int = 1) -> str:
        """The one sentence with which `arguments` are refused, with exit code `code`."""
        result = self.run(*arguments)
        assert (result.returncode, result.stdout) == (code, ""), result
        lines = result.stderr.strip().splitlines()
        assert lines[-1].startswith("Error: ") and "Traceback" not in result.stderr
        assert code == 2 or len(lines) == 1
        return lines[-1].removeprefix("Error: ")

    def on_terminal(self, *arguments: str, typed: str = "", code: int = 0, **environment: str) -> bytes:
        """All that `arguments` write to a terminal of 80 columns, on which `typed` is typed."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen([*self.command, *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
                                   env={**os.environ, "TERM": "xterm", "COLUMNS": "80", **environment})
        os.close(theirs)
        os.write(ours, typed.encode())
        written = bytearray()
        try:
            while chunk := os.read(ours, 65536):
                written += chunk
        except OSError:  # EIO: the other end is closed (pty(7))
            pass
        os.close(ours)
        assert process.wait(10) == code, written
        return bytes(written)


@pytest.fixture
def cli(root: Path) -> Cli:
    """The command on `root`, with the foreground scheduler, and a program that runs prompts."""
    (root / "oscron.toml").write_text('[scheduler]\nkind = "foreground"\n[exec]\ncommand = ["cat"]\n')
    return Cli()


class Installed(Cli):
    """The command of an installation for another account, which root types; that account's home is `root`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "hermes"
        (self.root / "scripts").mkdir(parents=True)
        (self.root / "oscron.toml").write_text('[scheduler]\nkind = "foreground"\n[exec]\ncommand = ["cat"]\n')
        (folder / "installation.conf").write_text(f"ACCOUNT=nobody\nHERMES_HOME={self.root}\nHERMES_TIMEZONE=UTC\n"
                                                  "PATH=/usr/local/bin:/usr/bin:/bin\n")
        subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", folder / "env-1"], check=True)
        [packages] = (folder / "env-1").glob("lib/python3*/site-packages")
        (packages / "source.pth").write_text(f"{Path(__file__).parents[2]}\n{Path(click.__file__).parents[1]}\n")
        self.command = [f"{folder}/env-1/bin/python", "-m", "hermes_oscron.cli"]

    def own(self) -> None:
        """Give all that a test has written to the account."""
        chown_to_nobody(self.root)


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """The command of an installation for an ordinary account, as root types it; skipped if root does not test."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another account")
    monkeypatch.delenv("HERMES_HOME", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        installed = Installed(Path(folder))
        installed.own()
        yield installed
