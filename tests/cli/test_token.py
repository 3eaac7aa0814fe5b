import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import Api
from .conftest import Cli


def test_the_token_is_created_once_and_printed(cli: Cli, root: Path) -> None:
    path = root / "cron" / "oscron" / "token"
    assert not path.exists()
    token = cli.out("token")
    assert token == path.read_text() and len(token.strip()) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cli.out("token") == token


def test_the_printed_token_is_the_one_that_the_server_requires(cli: Cli, server: str) -> None:
    assert Api(server, cli.out("token").strip()).call("GET", "/api/crons")[0] == 200


@pytest.mark.parametrize("content", ["", "\n", "  \n\n"])
def test_an_empty_token_file_is_replaced(cli: Cli, root: Path, content: str) -> None:
    path = root / "cron" / "oscron" / "token"
    path.parent.mkdir(parents=True)
    path.touch(0o600)
    path.write_text(content)
    result = cli.run("token")
    assert result.returncode == 0 and len(result.stdout.strip()) >= 32, result.stderr[-300:]


def test_rotate_creates_a_token_that_the_running_server_requires(cli: Cli, server: str, root: Path) -> None:
    old = cli.out("token").strip()
    new = cli.out("token", "--rotate").strip()
    assert new != old and new == cli.out("token").strip() and len(new) >= 32
    assert stat.S_IMODE((root / "cron" / "oscron" / "token").stat().st_mode) == 0o600
    assert Api(server, old).call("GET", "/api/crons")[0] == 401
    assert Api(server, new).call("GET", "/api/crons")[0] == 200


def test_a_pipe_as_the_token_file_is_refused_without_waiting(cli: Cli, root: Path) -> None:
    path = root / "cron" / "oscron" / "token"
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    result = cli.run("token")
    assert result.returncode == 1 and str(path) in result.stderr and "Traceback" not in result.stderr


def make_folder(path: Path) -> None:
    path.mkdir()


def make_noise(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


@pytest.mark.parametrize("spoil", [make_folder, make_noise])
def test_a_token_file_that_cannot_be_read_is_refused_with_the_remedy(
    cli: Cli, root: Path, spoil: Callable[[Path], None],
) -> None:
    path = root / "cron" / "oscron" / "token"
    path.parent.mkdir(parents=True)
    spoil(path)
    refused = cli.refused("token")
    assert f"{path} cannot be read: " in refused and "'hermes-oscron token' makes a new one." in refused


def test_a_token_that_cannot_be_written_is_refused_with_its_path(cli: Cli, root: Path) -> None:
    (root / "cron").touch()
    for arguments in ((), ("--rotate",)):
        assert f"{root}/cron" in cli.refused("token", *arguments)


def test_control_characters_do_not_reach_the_terminal(cli: Cli, root: Path) -> None:
    path = root / "cron" / "oscron" / "token"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x1b]0;evil\x07")
    assert "\x1b" not in cli.run("token").stdout
    (root / "oscron.toml").write_text('"\\u001b[2J" = 1\n')
    result = cli.run("list")
    assert result.returncode == 1 and "\x1b" not in result.stderr and "[2J" in result.stderr
