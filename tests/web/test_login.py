import http.cookies
import os
import stat
from pathlib import Path

import pytest

from hermes_oscron.web import authentication, sessions, token

from ..conftest import Api, read_token, serving


def log_in(api: Api, password: str | None = None, **headers: str) -> tuple[int, str]:
    """The status of a login with `password`, or the token, and the cookie as the client sends it back."""
    status, answer = api.call("POST", "/api/auth/login", {"password": password or api.token},
                              headers={"Authorization": "", **headers})
    assert status != 200 or answer == {"ok": True}
    return status, api.headers.get("Set-Cookie", "").partition(";")[0]


def call(api: Api, cookie: str, method: str = "GET", path: str = "/api/crons", body: object = None) -> int:
    """The status of a call that shows `cookie` alone."""
    return api.call(method, path, body, headers={"Authorization": "", "Cookie": f"theme=dark; a,b=c; {cookie}"})[0]


def auth_status(api: Api, **headers: str) -> object:
    return api.call("GET", "/api/auth/status", headers={"Authorization": "", **headers})[1]


def test_the_token_is_the_password(http_api: Api) -> None:
    status, cookie = log_in(http_api)
    assert status == 200
    assert call(http_api, cookie) == 200
    assert call(http_api, cookie, "POST", "/api/crons/create", {"prompt": "p", "schedule": "30m"}) == 200
    assert call(http_api, "") == call(http_api, cookie + "x") == 401


def test_the_cookie_has_the_name_that_native_clients_expect(api: Api) -> None:
    assert log_in(api)[1].startswith("hermes_session=")


def test_a_form_may_send_a_username_too(api: Api) -> None:
    assert api.call("POST", "/api/auth/login", {"password": api.token, "username": ""})[0] == 200


def test_the_cookie_is_hidden_from_scripts_and_other_sites(http_api: Api) -> None:
    log_in(http_api)
    morsel, = http.cookies.SimpleCookie(http_api.headers["Set-Cookie"]).values()
    assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["secure"]) == (True, "Strict", "/", "")
    assert 0 < int(morsel["max-age"]) <= 31 * 24 * 3600


def test_a_cookie_set_over_https_is_sent_only_over_https(root: Path, tmp_path: Path) -> None:
    (root / "oscron.toml").write_text('[web]\nhosts = ["jobs.example.org"]\n')
    with serving("--scheduler", "foreground", log=tmp_path / "other.log") as url:
        api = Api(url, read_token(root))
        log_in(api, Host="jobs.example.org", Origin="https://jobs.example.org")
        assert "; Secure" in api.headers["Set-Cookie"]


def test_a_wrong_password_is_refused_and_makes_no_session(api: Api, root: Path) -> None:
    for password in ("wrong", "é", f"{api.token} "):
        assert log_in(api, password) == (401, "")
    assert not (root / "cron" / "oscron" / "sessions").exists()


def test_a_malformed_login_is_refused(api: Api) -> None:
    for body in ({}, {"password": None}, {"password": ""}, {"password": 5}, {"password": api.token, "user": "root"}):
        assert api.call("POST", "/api/auth/login", body)[0] == 400, body


def test_passwords_and_tokens_are_counted_together(api: Api) -> None:
    for _ in range(5):
        assert log_in(api, "wrong")[0] == 401
        assert api.call("GET", "/api/crons", headers={"Authorization": "Bearer wrong"})[0] == 401
    assert log_in(api, "wrong")[0] == 429
    assert int(api.headers["Retry-After"]) > 0


def test_the_right_password_is_accepted_after_any_number_of_wrong_ones(api: Api) -> None:
    for _ in range(12):
        log_in(api, "wrong")
    status, cookie = log_in(api)
    assert status == 200 and call(api, cookie) == 200


def test_wrong_passwords_of_others_end_no_session(api: Api) -> None:
    _, cookie = log_in(api)
    for _ in range(12):
        log_in(api, "wrong")
    assert call(api, cookie) == 200


def test_a_login_from_a_foreign_page_is_refused(api: Api) -> None:
    assert log_in(api, Origin="http://evil.example")[0] == 403
    assert log_in(api, Host="evil.example")[0] == 403


def test_a_session_admits_no_foreign_page(api: Api) -> None:
    _, cookie = log_in(api)
    headers = {"Authorization": "", "Cookie": cookie, "Origin": "http://127.0.0.1:1"}
    assert api.call("POST", "/api/crons/create", {"prompt": "p", "schedule": "30m"}, headers=headers)[0] == 403


def test_a_session_stays_valid_after_a_restart(root: Path, tmp_path: Path) -> None:
    with serving("--scheduler", "foreground", log=tmp_path / "other.log") as url:
        _, cookie = log_in(Api(url, read_token(root)))
    with serving("--scheduler", "foreground", log=tmp_path / "other.log") as url:
        assert call(Api(url, None), cookie) == 200


@pytest.mark.timeout(20)
def test_a_pipe_instead_of_the_list_of_logins_is_refused_without_waiting(api: Api, root: Path) -> None:
    os.mkfifo(root / "cron" / "oscron" / "sessions")
    status, answer = api.call("POST", "/api/auth/login", {"password": api.token})
    assert status == 503 and "sessions cannot be read" in answer["error"]


def test_a_new_token_ends_every_session(api: Api, root: Path) -> None:
    cookies = [log_in(api)[1] for _ in range(3)]
    token.rotate(str(root))
    assert [call(api, cookie) for cookie in cookies] == [401] * 3


def test_logging_out_ends_that_session_for_good(root: Path, tmp_path: Path) -> None:
    with serving("--scheduler", "foreground", log=tmp_path / "other.log") as url:
        api = Api(url, read_token(root))
        (_, mine), (_, other) = log_in(api), log_in(api)
        status, answer = api.call("POST", "/api/auth/logout", {}, headers={"Authorization": "", "Cookie": mine})
        assert (status, answer) == (200, {"ok": True})
        assert "Max-Age=0" in api.headers["Set-Cookie"]
        assert (call(api, mine), call(api, other)) == (401, 200)
    with serving("--scheduler", "foreground", log=tmp_path / "other.log") as url:
        assert (call(Api(url, None), mine), call(Api(url, None), other)) == (401, 200)


def test_logging_out_needs_neither_a_body_nor_a_session(api: Api) -> None:
    for raw in (None, b"", b"{}"):
        assert api.call("POST", "/api/auth/logout", raw=raw, headers={"Authorization": ""})[0] == 200
    assert api.call("POST", "/api/auth/logout", {"all": True})[0] == 400


def test_the_status_shows_whether_the_client_is_logged_in(api: Api) -> None:
    def expected_status(logged_in: bool) -> dict[str, bool]:
        return {"auth_enabled": True, "logged_in": logged_in, "password_auth_enabled": True}

    _, cookie = log_in(api)
    assert auth_status(api) == expected_status(False)
    assert auth_status(api, Cookie=cookie) == expected_status(True)
    assert auth_status(api, Cookie=cookie + "x") == expected_status(False)
    assert auth_status(api, Authorization=f"Bearer {api.token}") == expected_status(True)


def test_the_status_shows_that_authentication_is_disabled(root: Path, tmp_path: Path) -> None:
    (root / "oscron.toml").write_text('[web]\nauth = "none"\n')
    with serving("--scheduler", "foreground", log=tmp_path / "other.log") as url:
        api = Api(url, None)
        assert auth_status(api) == {"auth_enabled": False, "logged_in": True, "password_auth_enabled": False}
        assert log_in(api, "anything") == (401, ""), "or it would be a login that is good once something is asked for"


def test_the_right_cookie_is_found_beside_another_server_s_of_the_same_name(api: Api) -> None:
    _, cookie = log_in(api)
    assert call(api, f"hermes_session=theirs; {cookie}") == 200


def test_a_session_belongs_to_the_token_of_its_login(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = token.get_or_create(str(root))
    door = authentication.Authenticator(str(root))
    create = sessions.Sessions.create

    def rotate_and_create(self: sessions.Sessions, shown: str) -> str:
        token.rotate(str(root))
        return create(self, shown)

    monkeypatch.setattr(sessions.Sessions, "create", rotate_and_create)
    shown = door.create_session(authentication.Caller("127.0.0.1", "", ()), old)
    assert not door.is_authenticated(authentication.Caller("127.0.0.1", "", (shown,)))


def test_the_session_file_is_private_and_contains_no_cookie(api: Api, root: Path) -> None:
    _, cookie = log_in(api)
    path = root / "cron" / "oscron" / "sessions"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cookie.partition("=")[2] not in path.read_text()


def test_a_damaged_session_file_is_empty_and_gets_replaced(api: Api, root: Path) -> None:
    path = root / "cron" / "oscron" / "sessions"
    _, cookie = log_in(api)
    for content in (b"", b"\xff\xfe", b"x\n", b"x y z\n", b"x 1e9\n", b"\xff 9999999999\n", b"x " + b"9" * 5000):
        path.write_bytes(content)
        assert call(api, cookie) == 401
    assert call(api, log_in(api)[1]) == 200


def test_a_session_expires(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = sessions.Sessions(str(root))
    monkeypatch.setattr(sessions, "LIFETIME_S", 0)
    expired = known.create("t")
    monkeypatch.undo()
    shown = known.create("t")
    assert not known.is_valid(expired, "t")
    assert known.is_valid(shown, "t") and not known.is_valid(shown, "u")


def test_too_many_logins_end_the_oldest_session(root: Path) -> None:
    known = sessions.Sessions(str(root))
    shown = [known.create("t") for _ in range(sessions.MAX_SESSIONS + 1)]
    assert [known.is_valid(each, "t") for each in shown] == [False] + [True] * sessions.MAX_SESSIONS
