"""A prompt on standard input, where no process list shows it."""

import subprocess
from pathlib import Path

import pytest

from ..conftest import stored
from .conftest import COMMAND, Cli

MAX_CHARS = 500_000


def pipe(prompt: bytes, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run `arguments` with `prompt` on standard input."""
    return subprocess.run([*COMMAND, *arguments], input=prompt, capture_output=True, timeout=30, check=False)


@pytest.mark.parametrize(("given", "prompt"), [
    (b"Summarise my mail", "Summarise my mail"), ("Grüße\n☃\n".encode(), "Grüße\n☃"), (b"-\n", "-"), (b"a\n\n", "a\n"),
    (("☃" * MAX_CHARS).encode() + b"\n", "☃" * MAX_CHARS),
], ids=["text", "lines", "dash", "newlines", "longest"])
def test_a_dash_reads_the_prompt_from_standard_input(cli: Cli, root: Path, given: bytes, prompt: str) -> None:
    created = pipe(given, "create", "every 30m", "-")
    assert created.returncode == 0, created.stderr
    record, = stored(root)
    assert record["prompt"] == prompt
    changed = pipe(b"another", "update", record["id"], "--prompt", "-")
    assert changed.returncode == 0 and stored(root)[0]["prompt"] == "another"


@pytest.mark.parametrize(("given", "said"), [
    (b"", "no prompt on standard input"), (b" \n\n", "no prompt on standard input"),
    (b"caf\xe9", "not UTF-8: unexpected end of data at byte 3"), ("é".encode("utf-16"), "not UTF-8"),
    (b"a\0b", "NUL"), (b"x" * (MAX_CHARS + 1), f"at most {MAX_CHARS} characters"),
    (("\U0001f600" * (MAX_CHARS + 1)).encode(), f"at most {MAX_CHARS} characters"),
], ids=["empty", "blank", "latin-1", "utf-16", "nul", "long", "long-in-bytes"])
def test_an_invalid_prompt_is_refused_in_one_sentence_and_changes_nothing(
        cli: Cli, root: Path, given: bytes, said: str) -> None:
    job_id = cli.json("create", "every 30m", "say hello")["id"]
    before = stored(root)
    for arguments in (("create", "every 30m", "-"), ("update", job_id, "--prompt", "-")):
        refused = pipe(given, *arguments)
        lines = refused.stderr.decode().splitlines()
        assert (refused.returncode, len(lines)) == (1, 1) and said in lines[0], refused
    assert stored(root) == before


def test_a_closed_standard_input_is_an_empty_prompt(cli: Cli, root: Path) -> None:
    closed = subprocess.run(["bash", "-c", 'exec "$@" <&-', "bash", *COMMAND, "create", "every 30m", "-"],
                            capture_output=True, text=True, timeout=30, check=False)
    assert closed.returncode == 1 and "no prompt on standard input" in closed.stderr and stored(root) == []


def test_an_empty_prompt_still_counts_as_an_argument(cli: Cli, root: Path) -> None:
    job_id = cli.json("create", "every 30m", "say hello", "--name", "Hello")["id"]
    assert cli.refused("update", job_id, "--prompt", "")
    assert cli.json("update", job_id, "--name", "Hi")["prompt"] == "say hello"
