import contextlib
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..cli.conftest import COMMAND
from ..conftest import needs_root, read_token, wait_for

CALL = """
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
connection.request("GET", "/api/crons", headers={"Authorization": sys.argv[2]} if sys.argv[2] else {})
print(connection.getresponse().status)
"""
NOBODY = 65534


class Unix:
    """A client of the socket at PATH."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.path))
        with contextlib.closing(connection):
            sent = {"Content-Type": "application/json", **headers}
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            return response.status, json.load(response)

    def as_nobody(self, authorization: str) -> "subprocess.CompletedProcess[str]":
        """Another account calls."""
        python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
        return subprocess.run([python, "-c", CALL, str(self.path), authorization], user=NOBODY, group=NOBODY,
                              extra_groups=[], cwd="/", capture_output=True, text=True, timeout=20, check=False)


@contextlib.contextmanager
def serving_in_file(root: Path, tmp_path: Path) -> Iterator[Unix]:
    path = tmp_path / "run" / "socket"
    (root / "oscron.toml").write_text(f'[web]\nlisten = "unix:{path}"\n')
    log = tmp_path / "unix.log"
    with log.open("wb") as file:
        process = subprocess.Popen([*COMMAND, "serve", "--scheduler", "foreground"], stdout=file, stderr=file)
    try:
        wait_for(lambda: f"Listening on unix:{path};" in log.read_text())
        yield Unix(path)
    finally:
        process.terminate()
        process.wait(10)
    assert "Traceback" not in log.read_text()


def test_the_account_itself_needs_no_token(root: Path, tmp_path: Path) -> None:
    with serving_in_file(root, tmp_path) as unix:
        assert unix.call("GET", "/api/crons")[1]["jobs"] == []
        assert unix.call("POST", "/api/crons/create", {"prompt": "p", "schedule": "30m"})[0] == 200
        assert unix.call("GET", "/api/auth/status")[1]["logged_in"] is True
        assert unix.call("GET", "/health")[1]["status"] == "ok"


def test_only_its_owner_can_access_the_socket(root: Path, tmp_path: Path) -> None:
    with serving_in_file(root, tmp_path) as unix:
        assert stat.S_IMODE(unix.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(unix.path.parent.stat().st_mode) == 0o700


@needs_root
def test_other_accounts_cannot_even_connect(root: Path, tmp_path: Path) -> None:
    with serving_in_file(root, tmp_path) as unix:
        for folder in (unix.path.parent, *unix.path.parents):
            if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
                folder.chmod(0o755)
        assert "PermissionError" in unix.as_nobody("").stderr


@needs_root
def test_other_accounts_with_access_need_the_token(root: Path, tmp_path: Path) -> None:
    with serving_in_file(root, tmp_path) as unix:
        for folder in (unix.path.parent, *unix.path.parents):
            if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
                folder.chmod(0o755)
        unix.path.chmod(0o666)
        token = read_token(root)
        said = [unix.as_nobody(shown) for shown in ("", "Bearer wrong", f"Bearer {token}")]
        assert [each.stdout for each in said] == ["401\n", "401\n", "200\n"], said


def test_a_foreign_host_or_origin_is_refused(root: Path, tmp_path: Path) -> None:
    with serving_in_file(root, tmp_path) as unix:
        assert unix.call("GET", "/api/crons", Host="evil.example")[0] == 403
        assert unix.call("GET", "/api/crons", Origin="http://evil.example")[0] == 403


def test_a_socket_that_a_killed_server_left_is_taken_over(root: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with serving_in_file(root, tmp_path) as unix:
            assert unix.call("GET", "/api/crons")[0] == 200
        assert unix.path.exists()


def refused(root: Path, path: Path) -> str:
    (root / "oscron.toml").write_text(f'[web]\nlisten = "unix:{path}"\n')
    result = subprocess.run([*COMMAND, "serve", "--scheduler", "foreground"], capture_output=True, text=True,
                            timeout=20, check=False)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    return result.stderr


def test_an_existing_file_or_live_socket_is_not_replaced(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("precious")
    assert str(path) in refused(root, path)
    assert path.read_text() == "precious"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "taken"))
        other.listen()
        assert "Another server" in refused(root, tmp_path / "taken")


def test_an_invalid_path_is_reported(root: Path, tmp_path: Path) -> None:
    assert "unix:" in refused(root, tmp_path / ("x" * 200))
    assert "unix:" in refused(root, Path("/proc/socket"))
