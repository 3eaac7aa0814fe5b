"""open: a link that logs a browser in once."""

import re
import time
from pathlib import Path

import pytest

from hermes_oscron.web.sessions import LINK_LIFETIME_S

from ..conftest import Api
from .conftest import Cli

COMMAND = re.compile(r"ssh -N -L (\S+) (\S+)")


def link(cli: Cli, *arguments: str) -> str:
    printed = cli.out("open", *arguments)
    match = re.fullmatch(r"http://localhost:(\d+)(/login\?link=[\w-]{43})\n", printed)
    assert match, printed
    assert match[1] == (arguments[1] if arguments else "8791")
    return match[2]


def log_in(api: Api, path: str, method: str = "GET") -> tuple[int, str | None]:
    status, headers, _ = api.send(method, path, None, {}, None)
    return status, headers["Set-Cookie"]


def test_a_link_logs_in_once(cli: Cli, api: Api) -> None:
    path = link(cli)
    status, cookie = log_in(api, path)
    assert status == 303 and cookie and "HttpOnly" in cookie
    status, _, _ = api.send("GET", "/", None, {"Cookie": cookie.partition(";")[0]}, None)
    assert status == 200
    assert log_in(api, path) == (401, None)


def test_a_preview_does_not_use_it_up(cli: Cli, api: Api) -> None:
    path = link(cli)
    assert log_in(api, path, "HEAD") == (200, None)
    assert log_in(api, path)[0] == 303


def test_a_link_that_is_too_old_or_made_up_is_refused(cli: Cli, api: Api, root: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    path = link(cli)
    now = time.time()
    monkeypatch.setattr("hermes_oscron.web.sessions.time.time", lambda: now + LINK_LIFETIME_S + 1)
    assert log_in(api, path) == (401, None)
    assert log_in(api, "/login?link=" + "x" * 43) == (401, None)


def test_it_is_not_a_session_and_ends_with_the_token(cli: Cli, api: Api) -> None:
    path = link(cli)
    cookie = f"hermes_session={path.rpartition('=')[2]}"
    assert api.send("GET", "/", None, {"Cookie": cookie}, None)[0] == 303
    cli.out("token", "--rotate")
    assert log_in(api, path) == (401, None)


def test_its_file_is_private_and_does_not_contain_it(cli: Cli, root: Path) -> None:
    path = link(cli)
    file = root / "cron" / "oscron" / "login-links"
    assert file.stat().st_mode & 0o777 == 0o600 and path.rpartition("=")[2] not in file.read_text()


def test_the_port(cli: Cli) -> None:
    link(cli, "--port", "9000")


def test_over_ssh_it_prints_the_tunnel(cli: Cli) -> None:
    result = cli.run("open", SSH_CONNECTION="192.0.2.7 50000 192.0.2.1 22", LOGNAME="ada", SUDO_USER="")
    match = COMMAND.search(result.stderr)
    assert match and match.groups() == ("8791:localhost:8791", "ada@192.0.2.1")
    assert result.stdout.startswith("http://localhost:8791/login?link=")
