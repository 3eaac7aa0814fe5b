"""docs/webui.md: its configurations work in a real nginx and a real Caddy, in front of our real server.

The WebUI is a stand-in here that knows who is logged in and echoes the rest.
"""

import contextlib
import http.server
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ..conftest import read_token, serving, wait_for
from ..test_docs import SOURCE, code_blocks
from .test_list import add_profile

pytestmark = pytest.mark.skipif(not shutil.which("nginx") or not shutil.which("caddy"),
                                reason="nginx or caddy is not installed; ./tests/run installs both")
PAGE = (SOURCE / "docs" / "webui.md").read_text()
NAME = "hermes.example.org"
NGINX_MAIN = """\
daemon off;
{user}pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
access_log off;
client_body_temp_path {folder}/body;
proxy_temp_path {folder}/proxy;
fastcgi_temp_path {folder}/fastcgi;
uwsgi_temp_path {folder}/uwsgi;
scgi_temp_path {folder}/scgi;
{site}
}}
"""
LOGIN = {"Cookie": "hermes_session=webui"}


class StandIn(http.server.BaseHTTPRequestHandler):
    """The WebUI as far as a proxy sees it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers.get("Upgrade") == "websocket":
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(self.rfile.read(5))
            self.close_connection = True
            return
        logged_in = "hermes_session=webui" in self.headers.get("Cookie", "")
        public = not self.path.startswith("/api/")
        answer = json.dumps({"webui": self.path, "headers": dict(self.headers.items())}).encode()
        self.send_response(200 if logged_in or public else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Proxy(NamedTuple):
    """A proxy that is running: the URL at which it listens, the name that browsers use, and the Hermes root behind."""

    url: str
    origin: str
    root: Path

    def call(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
        """Send a request as a browser on the page does; return status, headers and JSON."""
        sent = {"Host": self.origin.partition("//")[2], "Origin": self.origin, "Content-Type": "application/json",
                **(headers or {})}
        request = urllib.request.Request(self.url + path, None if body is None else json.dumps(body).encode(), sent)
        context = ssl._create_unverified_context() if self.url.startswith("https") else None
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.status, answer.headers, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            content = error.read()
            is_json = error.headers["Content-Type"] == "application/json"
            return error.code, error.headers, json.loads(content) if is_json else content


def free_port() -> int:
    """Return a free port below those that the kernel gives to others until the proxy listens (ip(7))."""
    while True:
        port = 20000 + secrets.randbelow(10000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def blocks(proxy: str) -> list[str]:
    """Return the configurations for `proxy` on the page: for the API alone, and for the WebUI."""
    mark = "server_name" if proxy == "nginx" else "reverse_proxy"
    found = [block for block in code_blocks(PAGE) if mark in block and ("server_name" in block) == (proxy == "nginx")]
    assert len(found) == 2
    return found


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path, **environment: str) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **environment})

    def accepts() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(accepts, 30)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def nginx(site: str, folder: Path, token: str) -> Iterator[str]:
    port = free_port()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={NAME}",
                    "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    (folder / "token.conf").write_text(f'proxy_set_header Authorization "Bearer {token}";\n')
    for old, new in (("listen 443 ", f"listen 127.0.0.1:{port} "), ("/etc/ssl/hermes.pem", f"{folder}/cert.pem"),
                     ("/etc/ssl/private/hermes.key", f"{folder}/key.pem"),
                     ("/etc/nginx/hermes-oscron-token.conf", f"{folder}/token.conf")):
        assert old in site or old.startswith("/etc/nginx")
        site = site.replace(old, new)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX_MAIN.format(folder=folder, site=site, user=user))
    with running(["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")], port, folder / "log"):
        yield f"https://127.0.0.1:{port}"


@contextlib.contextmanager
def caddy(site: str, folder: Path, token: str) -> Iterator[str]:
    port = free_port()
    site = site.replace(f"{NAME} {{", f"http://{NAME}:{port} {{")
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{site}\n")
    environment = {"OSCRON_TOKEN": token, "HOME": str(folder), "XDG_DATA_HOME": str(folder),
                   "XDG_CONFIG_HOME": str(folder)}
    arguments = ["--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    subprocess.run(["caddy", "validate", *arguments], check=True, capture_output=True,
                   env={**os.environ, **environment})
    with running(["caddy", "run", *arguments], port, folder / "log", **environment):
        yield f"http://127.0.0.1:{port}"


PROXIES = {"nginx": nginx, "caddy": caddy}


@pytest.fixture
def backend(root: Path, tmp_path: Path) -> Iterator[str]:
    """The port of our server, which accepts the name of the proxy."""
    settings = next(block for block in code_blocks(PAGE) if block.startswith("[web]"))
    (root / "oscron.toml").write_text(settings)
    with serving("--scheduler", "foreground", log=tmp_path / "serve.log") as url:
        yield url.rpartition(":")[2]


@contextlib.contextmanager
def proxied(kind: str, site: str, backend: str, root: Path, folder: Path, token: str) -> Iterator[Proxy]:
    webui = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=webui.serve_forever, daemon=True).start()
    site = site.replace("127.0.0.1:8791", f"127.0.0.1:{backend}").replace("127.0.0.1:8787",
                                                                          f"127.0.0.1:{webui.server_port}")
    folder.mkdir()
    try:
        with PROXIES[kind](site, folder, token) as url:
            yield Proxy(url, url.replace("127.0.0.1", NAME), root)
    finally:
        webui.shutdown()
        webui.server_close()


@pytest.fixture(params=PROXIES)
def api_alone(request: pytest.FixtureRequest, backend: str, root: Path, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy in front of our API alone."""
    with proxied(request.param, blocks(request.param)[0], backend, root, tmp_path / "proxy", "") as proxy:
        yield proxy


@pytest.fixture(params=PROXIES)
def before_webui(request: pytest.FixtureRequest, backend: str, root: Path, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy in front of the WebUI and our API."""
    with proxied(request.param, blocks(request.param)[1], backend, root, tmp_path / "proxy",
                 read_token(root)) as proxy:
        yield proxy


def test_a_browser_logs_in_and_works_with_its_cookie(api_alone: Proxy) -> None:
    assert api_alone.call("/api/crons")[0] == 401
    assert api_alone.call("/api/auth/login", {"password": "wrong"})[0] == 401
    status, headers, _ = api_alone.call("/api/auth/login", {"password": read_token(api_alone.root)})
    cookie = headers["Set-Cookie"]
    assert status == 200 and ("; Secure" in cookie) == api_alone.url.startswith("https")
    session = {"Cookie": cookie.partition(";")[0]}
    status, _, answer = api_alone.call("/api/crons/create", {"prompt": "p", "schedule": "0 9 * * *"}, session)
    assert status == 200
    assert [job["id"] for job in api_alone.call("/api/crons", headers=session)[2]["jobs"]] == [answer["job"]["id"]]
    assert api_alone.call("/api/auth/logout", {}, session)[0] == 200
    assert api_alone.call("/api/crons", headers=session)[0] == 401


def test_a_token_works_through_the_proxy(api_alone: Proxy) -> None:
    token = {"Authorization": f"Bearer {read_token(api_alone.root)}"}
    assert api_alone.call("/api/crons", headers=token)[0] == 200
    assert api_alone.call("/api/crons", headers={"Authorization": "Bearer wrong"})[0] == 401


def test_a_foreign_page_is_refused(api_alone: Proxy) -> None:
    token = {"Authorization": f"Bearer {read_token(api_alone.root)}"}
    for origin in ("https://evil.example", "null", f"{api_alone.origin}.evil.example", "http://localhost"):
        assert api_alone.call("/api/crons", headers={**token, "Origin": origin})[0] == 403, origin


def test_a_browser_that_is_logged_in_to_the_webui_uses_the_panel(before_webui: Proxy) -> None:
    add_profile(before_webui.root, "work", "w1")
    status, _, answer = before_webui.call("/api/crons/create", {"prompt": "p", "schedule": "0 9 * * *"}, LOGIN)
    assert status == 200, answer
    assert [job["id"] for job in before_webui.call("/api/crons?all_profiles=0", headers=LOGIN)[2]["jobs"]] == [
        answer["job"]["id"]]
    work = {"Cookie": f"{LOGIN['Cookie']}; hermes_profile=work"}
    assert [job["id"] for job in before_webui.call("/api/crons", headers=work)[2]["jobs"]] == ["w1"]
    gateway = before_webui.call("/api/gateway/status", headers=LOGIN)[2]
    assert gateway["configured"] and gateway["running"]


def test_a_browser_that_is_not_logged_in_to_the_webui_gets_401(before_webui: Proxy) -> None:
    for path, body in (("/api/crons", None), ("/api/gateway/status", None), ("/api/crons/recent", None),
                       ("/api/crons/create", {"prompt": "p", "schedule": "0 9 * * *"})):
        assert before_webui.call(path, body)[0] == 401, path
        assert before_webui.call(path, body, {"Cookie": "hermes_session=other"})[0] == 401, path
    assert before_webui.call("/api/crons", headers=LOGIN)[2]["jobs"] == []


def test_a_foreign_page_is_refused_by_the_panel_s_api(before_webui: Proxy) -> None:
    body = {"prompt": "p", "schedule": "0 9 * * *"}
    foreign = {**LOGIN, "Origin": "https://evil.example"}
    assert before_webui.call("/api/crons/create", body, foreign)[0] == 403
    assert before_webui.call("/api/crons", headers=LOGIN)[2]["jobs"] == []


def test_the_rest_goes_to_the_webui_with_its_host_and_cookies(before_webui: Proxy) -> None:
    for path in ("/", "/api/sessions", "/api/gateway/start", "/api/cronsx"):
        status, _, answer = before_webui.call(path, headers=LOGIN)
        assert (status, answer["webui"], answer["headers"]["Host"], answer["headers"]["Cookie"]) == (
            200, path, before_webui.origin.partition("//")[2], LOGIN["Cookie"])
        assert read_token(before_webui.root) not in str(answer)


def test_the_webui_can_use_websockets(before_webui: Proxy) -> None:
    scheme, _, address = before_webui.url.partition("://")
    host, _, port = address.partition(":")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.create_connection((host, int(port)), 30))
        if scheme == "https":
            client = stack.enter_context(ssl._create_unverified_context().wrap_socket(client))
        client.sendall(f"GET /ws HTTP/1.1\r\nHost: {before_webui.origin.partition('//')[2]}\r\n"
                       "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
        answer = stack.enter_context(client.makefile("rb"))
        assert answer.readline().startswith(b"HTTP/1.1 101 ")
        while answer.readline().strip():
            pass
        client.sendall(b"hello")
        assert answer.read(5) == b"hello"


@pytest.mark.parametrize("kind", PROXIES)
def test_a_wrong_token_of_the_proxy_is_502(kind: str, backend: str, root: Path, tmp_path: Path) -> None:
    with proxied(kind, blocks(kind)[1], backend, root, tmp_path / "proxy", "wrong") as proxy:
        status, _, answer = proxy.call("/api/crons", headers=LOGIN)
        assert status == 502 and "token" in answer["error"]
        assert proxy.call("/api/crons")[0] == 401
