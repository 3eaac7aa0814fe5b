import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

from hermes_oscron.web.token import rotate

from ..conftest import Api, read_token, serving, stored

GUARDED = [("GET", "/api/crons"), *(("GET", f"/api/crons/{look}?job_id=a") for look in (
               "status", "output", "history", "run", "recent", "delivery-options")),
           *(("POST", f"/api/crons/{verb}") for verb in ("create", "update", "delete", "run", "pause", "resume"))]
JOB = {"prompt": "p", "schedule": "30m"}


def refused_to_serve(*arguments: str) -> tuple[int, str]:
    result = subprocess.run([sys.executable, "-m", "hermes_oscron.cli", "serve", "--port", "0", "--scheduler",
                             "foreground", *arguments], capture_output=True, text=True, timeout=20, check=False)
    return result.returncode, result.stderr


def token_file(root: Path) -> Path:
    return root / "cron" / "oscron" / "token"


def test_only_health_needs_no_token(server: str, root: Path) -> None:
    for token in (None, "wrong", "é"):
        for n, (method, path) in enumerate(GUARDED):
            headers = {"Authorization": f"Bearer {token}".encode().decode("latin-1")} if token else {}
            body = JOB if method == "POST" else None
            status, answer = Api(server, None).call(method, path, body, headers=headers, address=f"127.0.1.{n}")
            assert (status, set(answer)) == (401, {"error"}), (path, token)
    assert stored(root) == []


def test_a_401_names_the_missing_header(server: str) -> None:
    anyone = Api(server, None)
    _, answer = anyone.call("GET", "/api/crons")
    assert "Authorization: Bearer" in answer["error"]
    assert anyone.headers["WWW-Authenticate"] == "Bearer"


def test_only_the_bearer_scheme_is_accepted(api: Api) -> None:
    for header, status in ((f"Bearer {api.token}", 200), (f"bearer {api.token}", 200), (f"Basic {api.token}", 401),
                           (str(api.token), 401), (f"Bearer {api.token}x", 401), ("Bearer ", 401)):
        assert api.call("GET", "/api/crons", headers={"Authorization": header})[0] == status, header
    assert api.with_token(None).call("GET", f"/api/crons?token={api.token}")[0] == 401


def test_an_address_that_sent_ten_wrong_tokens_in_a_minute_has_to_wait(http_api: Api) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    right = {"Authorization": f"Bearer {http_api.token}"}
    for _ in range(10):
        assert http_api.call("GET", "/api/crons", headers=wrong, address="127.0.0.9")[0] == 401
    status, answer = http_api.call("GET", "/api/crons", headers=wrong, address="127.0.0.9")
    assert status == 429 and "wait" in answer["error"]
    assert http_api.call("GET", "/api/crons", headers=right, address="127.0.0.9")[0] == 200
    assert http_api.call("GET", "/api/crons", headers=wrong, address="127.0.0.9")[0] == 429
    assert http_api.call("GET", "/api/crons", headers=wrong, address="127.0.0.8")[0] == 401


def test_a_429_contains_the_time_to_wait(api: Api) -> None:
    for _ in range(10):
        api.call("GET", "/api/crons", headers={"Authorization": "Bearer wrong"})
    assert api.call("GET", "/api/crons", headers={"Authorization": "Bearer wrong"})[0] == 429
    assert 50 <= int(api.headers["Retry-After"]) <= 60


def test_basic_credentials_for_a_proxy_do_not_count_as_a_wrong_token(api: Api) -> None:
    basic = {"Authorization": "Basic dTpw"}
    for _ in range(15):
        assert api.call("GET", "/api/crons", headers=basic)[0] == 401
    status, answer = api.call("POST", "/api/auth/login", {"password": api.token}, headers=basic)
    assert (status, answer) == (200, {"ok": True})
    cookie = {"Cookie": api.headers["Set-Cookie"].partition(";")[0]}
    assert api.call("GET", "/api/crons", headers={**basic, **cookie})[0] == 200


def test_a_request_without_a_token_does_not_count_as_a_wrong_one(api: Api) -> None:
    for _ in range(15):
        assert api.with_token(None).call("GET", "/api/crons")[0] == 401
    assert api.call("GET", "/api/crons")[0] == 200


def test_a_new_token_replaces_the_old_one_at_once(api: Api, root: Path) -> None:
    new = rotate(str(root))
    assert new != api.token
    assert api.call("GET", "/api/crons")[0] == 401
    assert api.with_token(new).call("GET", "/api/crons")[0] == 200
    assert stat.S_IMODE(token_file(root).stat().st_mode) == 0o600


def test_only_its_owner_can_read_the_token_file(api: Api, root: Path) -> None:
    assert stat.S_IMODE(token_file(root).stat().st_mode) == 0o600
    assert stat.S_IMODE(token_file(root).parent.stat().st_mode) == 0o700
    assert len(token_file(root).read_text().strip()) >= 32
    assert os.listdir(token_file(root).parent).count("token") == 1


def test_the_token_stays_valid_after_a_restart(root: Path, tmp_path: Path) -> None:
    tokens = []
    for _ in range(2):
        with serving("--scheduler", "foreground", log=tmp_path / "other.log") as url:
            tokens.append(read_token(root))
            assert Api(url, tokens[0]).call("GET", "/api/crons")[0] == 200
    assert tokens[0] == tokens[1]


def test_a_foreign_host_is_refused(http_api: Api) -> None:
    port = http_api.url.rpartition(":")[2]
    for host, status in (("evil.example", 403), (f"evil.example:{port}", 403), ("", 403), ("[", 403),
                         ("127.0.0.1.evil.example", 403), ("evil@localhost", 403), ("evil.example, x@localhost", 403),
                         ("localhost/evil", 403), ("localhost:evil", 403), ("localhost#@x", 403),
                         (f"localhost:{port}", 200), (f"LOCALHOST:{port}", 200),
                         (f"[::1]:{port}", 200)):
        status_of_call, answer = http_api.call("GET", "/api/crons", headers={"Host": host})
        assert status_of_call == status, (host, answer)


def test_a_foreign_origin_is_refused(api: Api, root: Path) -> None:
    port = api.url.rpartition(":")[2]
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{int(port) + 1}", "http://127.0.0.1", ""):
        status, answer = api.call("POST", "/api/crons/create", JOB, headers={"Origin": origin})
        assert (status, set(answer)) == (403, {"error"}), origin
    assert stored(root) == []


def test_an_origin_that_is_not_a_url_is_refused(api: Api) -> None:
    assert api.call("POST", "/api/crons/create", JOB, headers={"Origin": "http://[evil"})[0] == 403


def test_the_server_s_own_origin_is_accepted(http_api: Api) -> None:
    assert http_api.call("POST", "/api/crons/create", JOB, headers={"Origin": http_api.url})[0] == 200


def test_the_default_port_of_the_scheme_may_be_omitted(api: Api) -> None:
    for host, origin, status in (
        ("localhost:443", "https://localhost", 200), ("localhost", "https://localhost:443", 200),
        ("localhost:80", "http://LOCALHOST", 200), ("localhost:443", "http://localhost", 403),
        ("localhost", "ftp://localhost", 403), ("localhost", "https://localhost:x", 403),
    ):
        headers = {"Host": host, "Origin": origin}
        assert api.call("GET", "/api/auth/status", headers=headers)[0] == status, headers


def test_a_host_named_in_the_configuration_is_accepted(root: Path, tmp_path: Path) -> None:
    (root / "oscron.toml").write_text('[web]\nhosts = ["jobs.example.org"]\n')
    with serving("--scheduler", "foreground", log=tmp_path / "other.log") as url:
        api = Api(url, read_token(root))
        ours = {"Host": "jobs.example.org", "Origin": "https://jobs.example.org"}
        assert api.call("GET", "/api/crons", headers=ours)[0] == 200
        assert api.call("GET", "/api/crons", headers={"Host": "other.example.org"})[0] == 403


def test_changed_authentication_settings_apply_at_once(root: Path, tmp_path: Path) -> None:
    config = root / "oscron.toml"
    config.write_text('[web]\nauth = "none"\nhosts = ["a.example"]\n')
    with serving("--scheduler", "foreground", log=tmp_path / "other.log") as url:
        anyone = Api(url, None)
        assert anyone.call("GET", "/api/crons", headers={"Host": "a.example"})[0] == 200
        config.write_text('[web]\nhosts = ["b.example"]\n')
        assert anyone.call("GET", "/api/crons")[0] == 401
        assert anyone.call("GET", "/health", headers={"Host": "a.example"})[0] == 403
        assert anyone.call("GET", "/health", headers={"Host": "B.example:8443"})[0] == 200
        config.write_text("[web")
        status, answer = anyone.call("GET", "/api/crons")
        assert status == 503 and str(config) in answer["error"]
        config.unlink()
        assert anyone.call("GET", "/api/crons")[0] == 401


def test_a_host_with_a_port_is_refused_in_the_configuration(root: Path) -> None:
    (root / "oscron.toml").write_text('[web]\nhosts = ["a.example:8443"]\n')
    code, told = refused_to_serve()
    assert code == 1 and "without ports" in told


def test_a_missing_or_damaged_token_is_reported_and_not_recreated_by_a_request(api: Api, root: Path) -> None:
    path = token_file(root)
    path.write_bytes(b"\xff\xfe")
    for _ in range(2):
        status, answer = api.call("GET", "/api/crons")
        assert status == 503 and str(path) in answer["error"]
        path.unlink(missing_ok=True)
    assert not path.exists()


def test_without_authentication_loopback_clients_are_admitted_with_a_warning(root: Path, tmp_path: Path) -> None:
    (root / "oscron.toml").write_text('[web]\nauth = "none"\n')
    with serving("--scheduler", "foreground", log=tmp_path / "other.log") as url:
        anyone = Api(url, None)
        assert anyone.create()["id"]
        assert anyone.call("GET", "/api/crons", headers={"Host": "evil.example"})[0] == 403
        assert anyone.call("GET", "/api/crons", headers={"Origin": "http://evil.example"})[0] == 403
    assert 'auth = "none"' in (tmp_path / "other.log").read_text()


def test_without_authentication_only_loopback_is_served(root: Path) -> None:
    (root / "oscron.toml").write_text('[web]\nauth = "none"\n')
    status, said = refused_to_serve("--host", "0.0.0.0")
    assert status == 1 and 'auth = "none"' in said and "Traceback" not in said


def test_an_unknown_value_of_auth_is_refused(root: Path) -> None:
    (root / "oscron.toml").write_text('[web]\nauth = "None"\n')
    status, said = refused_to_serve()
    assert status == 1 and "web.auth" in said and "Traceback" not in said


def test_the_default_address_is_loopback(server: str) -> None:
    assert server.startswith("http://127.0.0.1:")


def test_an_authorization_header_that_is_not_text_is_refused(server: str) -> None:
    with socket.create_connection(("127.0.0.1", int(server.rpartition(":")[2]))) as connection:
        connection.sendall(b"GET /api/crons HTTP/1.0\r\nHost: localhost\r\nAuthorization: B\xe9\r\n\r\n")
        assert connection.makefile("rb").readline().split()[1] == b"401"
