"""The real command, on a home of its own."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "hermes_oscron.cli"]


class Cli:
    """`hermes-oscron`, run as a process."""

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the command with `arguments`; `environment` is added to that of the test."""
        return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False,
                              stdin=subprocess.DEVNULL, env={**os.environ, **environment})

    def out(self, *arguments: str, **environment: str) -> str:
        """Return the output of `arguments`; the command must succeed without an error message."""
        result = self.run(*arguments, **environment)
        assert (result.returncode, result.stderr) == (0, ""), result.stderr
        return result.stdout

    def start(self, job_id: str) -> None:
        """`run JOB_ID`, with the run's output going nowhere; it must succeed."""
        subprocess.run([*COMMAND, "run", job_id], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=30, check=True)

    def json(self, *arguments: str) -> Any:
        """The JSON that `arguments` print with --json."""
        return json.loads(self.out(*arguments, "--json"))

    def refused(self, *arguments: str, code: int = 1) -> str:
        """The one sentence with which `arguments` are refused, with exit code `code`."""
        result = self.run(*arguments)
        assert (result.returncode, result.stdout) == (code, ""), result
        lines = result.stderr.strip().splitlines()
        assert lines[-1].startswith("Error: ") and "Traceback" not in result.stderr
        assert code == 2 or len(lines) == 1
        return lines[-1].removeprefix("Error: ")

    def on_terminal(self, *arguments: str) -> bytes:
        """All that `arguments` write to a terminal of 80 columns."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen([*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
                                   env={**os.environ, "TERM": "xterm", "COLUMNS": "80"})
        os.close(theirs)
        written = bytearray()
        try:
            while chunk := os.read(ours, 65536):
                written += chunk
        except OSError:  # EIO: the other end is closed (pty(7))
            pass
        os.close(ours)
        assert process.wait(10) == 0, written
        return bytes(written)


@pytest.fixture
def cli(root: Path) -> Cli:
    """The command on `root`, with the foreground scheduler, and a program that runs prompts."""
    (root / "oscron.toml").write_text('[scheduler]\nkind = "foreground"\n[exec]\ncommand = ["cat"]\n')
    return Cli()
