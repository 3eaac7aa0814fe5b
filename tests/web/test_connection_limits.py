"""Against a real server, with sockets: what no well-behaved client does."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ..conftest import Api, read_token, wait_for, write_jobs

HURRIED = """
from hermes_oscron.web import connection_limits as limits
limits.REQUEST_TIMEOUT_S, limits.IDLE_TIMEOUT_S, limits.SEND_STALL_S = 1.5, 3.0, 5.0
from hermes_oscron.cli import main
main()
"""
HEAD = "POST /api/crons/create HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()


class Target(NamedTuple):
    """A server whose patience is short."""

    process: "subprocess.Popen[bytes]"
    port: int
    token: str
    log: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def is_responsive(self) -> bool:
        """Return True if it answers other clients, and at once."""
        started = time.monotonic()
        assert Api(f"http://127.0.0.1:{self.port}", self.token).get("/api/crons")["jobs"] == []
        return time.monotonic() - started < 1

    def memory(self) -> int:
        """Bytes that it has in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def files(self) -> list[str]:
        """The regular files that it holds open, except those of the installation."""
        links = []
        for fd in os.listdir(f"/proc/{self.process.pid}/fd"):
            with contextlib.suppress(OSError):
                links.append(os.readlink(f"/proc/{self.process.pid}/fd/{fd}"))
        return [link for link in links if "(deleted)" in link]


@contextlib.contextmanager
def serving_with_short_limits(root: Path) -> Iterator[Target]:
    log = root.parent / "hurried.log"
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", HURRIED, "serve", "--port", "0", "--scheduler", "foreground"],
                                   stdout=file, stderr=file, env={**os.environ, "HERMES_HOME": str(root)})
    wait_for(lambda: "; " in log.read_text())
    port = int(log.read_text().partition("http://127.0.0.1:")[2].partition(";")[0].partition(" ")[0])
    yield Target(process, port, read_token(root), log)
    process.terminate()
    process.wait(10)
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One server for all tests that neither measure it nor change anything."""
    root = tmp_path_factory.mktemp("module") / "hermes"
    root.mkdir()
    with serving_with_short_limits(root) as target:
        yield target


@pytest.fixture
def fresh_target(root: Path) -> Iterator[Target]:
    """A server of the test's own, on `root`."""
    with serving_with_short_limits(root) as target:
        yield target


def answer(connection: socket.socket) -> tuple[int, Any]:
    """The status and the JSON that come back before the server closes `connection`."""
    head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    assert b"Content-Type: application/json" in head and b"Cache-Control: no-store" in head, head
    return int(head.split()[1]), json.loads(body)


def seconds_until_cut(connection: socket.socket, drip: Callable[[], object]) -> float:
    """Return how long `connection` lasts while `drip` sends something ten times a second."""
    started = time.monotonic()
    connection.settimeout(0.1)
    while time.monotonic() - started < 10:
        try:
            drip()
            if connection.recv(1) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - started


def test_headers_that_arrive_too_slowly_are_cut_off(target: Target) -> None:
    with target.connect() as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\n")
        lasted = seconds_until_cut(slow, lambda: slow.sendall(b"X-A: b\r\n"))
    assert 1.4 < lasted < 5
    assert target.is_responsive()


def test_a_body_that_arrives_too_slowly_is_cut_off(target: Target) -> None:
    with target.connect() as slow:
        slow.sendall(f"{HEAD}Content-Length: 1000000\r\n\r\n".encode())
        lasted = seconds_until_cut(slow, lambda: slow.sendall(b" "))
    assert 1.4 < lasted < 5


def test_an_endless_chunked_body_is_cut_off(target: Target) -> None:
    with target.connect() as slow:
        slow.sendall(CHUNKED)
        assert 1.4 < seconds_until_cut(slow, lambda: slow.sendall(b"1\r\n \r\n")) < 5


def test_a_silent_connection_is_closed(target: Target) -> None:
    with target.connect() as silent:
        assert 2.5 < seconds_until_cut(silent, lambda: None) < 6


def test_a_connection_is_kept_between_requests(target: Target) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port)
    connection.connect()
    ours = connection.sock
    for _ in range(4):
        connection.request("GET", "/health")
        assert connection.getresponse().read()
        time.sleep(1)
    assert connection.sock is ours
    connection.close()


def test_many_idle_connections_do_not_block_others(target: Target) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(target.connect())
        for _ in range(3):
            wait_for(target.is_responsive, 10)


def test_many_partial_requests_do_not_block_others(target: Target) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            stack.enter_context(target.connect()).sendall(b"GET /health HTTP/1.1\r\n")
        wait_for(target.is_responsive, 10)


def test_many_unread_responses_neither_block_others_nor_fill_memory(fresh_target: Target) -> None:
    before = fresh_target.memory()
    question = b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            greedy = stack.enter_context(socket.socket())
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            greedy.settimeout(10)
            greedy.connect(("127.0.0.1", fresh_target.port))
            greedy.sendall(question * 150)
        wait_for(fresh_target.is_responsive, 60)
        assert fresh_target.memory() - before < 60 * 1024**2


def test_the_first_of_several_pipelined_requests_is_answered(target: Target) -> None:
    with target.connect() as hasty:
        hasty.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
        assert answer(hasty)[0] == 200


def test_endless_blank_lines_are_cut_off(target: Target) -> None:
    with target.connect() as blank:
        blank.settimeout(0.5)
        started = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - started < 20:
                with contextlib.suppress(TimeoutError):
                    blank.sendall(b"\r\n")
                    if blank.recv(1) == b"":
                        break
    assert 2.5 < time.monotonic() - started < 10


def first_answer(connection: socket.socket) -> int:
    """The status of the next answer that is not '100 Continue', which is then taken whole."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def test_expect_100_continue_is_answered(target: Target) -> None:
    expect = b"Host: localhost\r\nExpect: 100-continue\r\n"
    asked = b"POST /api/auth/logout HTTP/1.1\r\n" + expect
    for question, body, status in ((b"GET /health HTTP/1.1\r\n" + expect, b"", 200), (asked, b"", 200),
                                   (asked + b"Content-Length: 0\r\n", b"", 200),
                                   (asked + b"Content-Length: abc\r\n", b"", 400),
                                   (asked + b"Content-Length: 999999999\r\n", b"", 413),
                                   (asked + b"Content-Type: application/json\r\nContent-Length: 2\r\n", b"{}", 200)):
        with target.connect() as connection:
            connection.sendall(question + b"\r\n")
            if body:
                assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
                connection.sendall(body)
            assert first_answer(connection) == status, question


def test_the_headers_of_one_request_are_not_those_of_the_next(target: Target) -> None:
    with target.connect() as connection:
        connection.sendall(f"GET /api/crons HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                           f"Authorization: Bearer {target.token}\r\n\r\n".encode())
        assert first_answer(connection) == 200
        connection.sendall(b"GET /api/crons HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert first_answer(connection) == 401


def test_a_request_of_two_lengths_is_refused(target: Target) -> None:
    with target.connect() as connection:
        connection.sendall(CHUNKED.removesuffix(b"\r\n") + b"Content-Length: 4\r\n\r\n0\r\n\r\n")
        assert answer(connection)[0] == 400


def test_a_malformed_header_is_not_repeated_in_the_error(target: Target) -> None:
    for line in (f"Authorization: Bearer {target.token}\nX: y", f" Authorization: Bearer {target.token}"):
        with target.connect() as connection:
            connection.sendall(f"GET /health HTTP/1.1\r\n{line}\r\nHost: localhost\r\n\r\n".encode())
            status, said = answer(connection)
        assert status == 400 and target.token not in str(said)


def test_no_client_can_write_to_the_log(fresh_target: Target) -> None:
    """Neither a line that looks like another's, nor more than a line for an error."""
    forged = b"GET /x%0aforged%1b[2J HTTP/1.1\r\nHost: localhost\r\n\r\n"
    odd = b"POST /api/auth/logout HTTP/1.1\r\nHost: localhost\r\nContent-Type: \xff\r\nContent-Length: 1\r\n\r\n{"
    for question in (forged, odd) * 50:
        with fresh_target.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset in its middle
            connection.sendall(question * 50)
    wait_for(fresh_target.is_responsive, 20)
    assert fresh_target.log.read_text().count("\n") == 1, "but that it listens"


def test_endless_headers_are_refused(target: Target) -> None:
    with target.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nX-A: " + b"a" * 40_000)
        status, said = answer(connection)
    assert status == 431 and said["error"].endswith(".")
    assert target.is_responsive()


def test_an_endless_chunk_header_is_refused(target: Target) -> None:
    for beginning in (b"", b"0\r\n"):
        with target.connect() as connection:
            connection.sendall(CHUNKED + beginning + b"1" * 6000)
            assert answer(connection)[0] == 400
    assert target.is_responsive()


def test_a_malformed_request_is_refused(target: Target) -> None:
    for lines in (b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"GET http://[ HTTP/1.1\r\n\r\n",
                  b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"GET / HTTP/1.1\r\n: x\r\n\r\n",
                  CHUNKED + b"zz\r\n"):
        with target.connect() as connection:
            connection.sendall(lines)
            status, said = answer(connection)
        assert status == 400 and said["error"].endswith("."), lines[:30]
    assert target.is_responsive()


def test_a_large_body_is_read_to_its_end_and_not_stored(fresh_target: Target) -> None:
    before = fresh_target.memory()
    authorization = f"Authorization: Bearer {fresh_target.token}\r\nConnection: close\r\n".encode()
    size = 40 * 1024**2
    length = f"{HEAD}Content-Length: {size}\r\n".encode()
    chunked = CHUNKED.removesuffix(b"\r\n")
    for head, body in ((length, b" " * size), (chunked, b"100000\r\n" + b" " * 2**20 + b"\r\n")):
        with fresh_target.connect() as connection:
            connection.sendall(head + authorization + b"\r\n")
            for _ in range(1 if head is length else 40):
                connection.sendall(body)
                assert fresh_target.files() == []
            if head is not length:
                connection.sendall(b"0\r\n\r\n")
            assert answer(connection)[0] == 413
    assert fresh_target.memory() - before < 20 * 1024**2


def test_bodies_in_every_connection_fill_neither_memory_nor_disk(fresh_target: Target) -> None:
    before = fresh_target.memory()
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            connection = stack.enter_context(fresh_target.connect())
            connection.sendall(f"{HEAD}Content-Length: 1048576\r\n\r\n".encode() + b" " * 1_000_000)
        assert fresh_target.files() == []
        assert fresh_target.memory() - before < 150 * 1024**2
    assert fresh_target.is_responsive()


def test_clients_that_read_slowly_share_one_large_list(fresh_target: Target, root: Path) -> None:
    prompts = ["x" * 400_000 + str(n) for n in range(30)]
    write_jobs(root, *({"id": f"j{n}", "prompt": prompt, "schedule": {"kind": "interval", "minutes": 60}}
                       for n, prompt in enumerate(prompts)))
    get = (f"GET /api/crons HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
           f"Authorization: Bearer {fresh_target.token}\r\n\r\n").encode()
    with fresh_target.connect() as first:
        first.sendall(get)
        answer(first)
    before = fresh_target.memory()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(fresh_target.connect()) for _ in range(8)]
        for connection in slow:
            connection.sendall(get)
        parts = [connection.recv(100) for connection in slow]  # all of them are being sent now
        assert fresh_target.memory() - before < 40 * 1024**2
        with ThreadPoolExecutor(len(slow)) as pool:  # at once, so that none stalls
            rests = list(pool.map(lambda connection: connection.makefile("rb", buffering=70_001).read(), slow))
        for part, rest in zip(parts, rests, strict=True):
            jobs = json.loads((part + rest).partition(b"\r\n\r\n")[2])["jobs"]
            assert [job["prompt"] for job in jobs] == prompts


def test_a_client_that_does_not_read_its_responses_is_cut_off(fresh_target: Target, root: Path) -> None:
    folder = root / "cron" / "output" / "a"
    folder.mkdir(parents=True)
    (folder / "r.md").write_text("x" * 8_000_000)
    call = (f"GET /api/crons/run?job_id=a&filename=r.md HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {fresh_target.token}\r\n\r\n").encode()
    with contextlib.ExitStack() as stack:
        for _ in range(10):  # more than there are threads
            stack.enter_context(fresh_target.connect()).sendall(call * 10)
        wait_for(lambda: len(connections(fresh_target)) >= 10)
        wait_for(fresh_target.is_responsive, 10)
        wait_for(lambda: len(connections(fresh_target)) <= 1, 30)
        assert fresh_target.files() == []


def connections(target: Target) -> list[str]:
    """The sockets that the server has with clients."""
    wanted = f":{target.port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [line[2] for line in lines if line[1].endswith(wanted) and line[3] == "01" and line[9] != "0"]
