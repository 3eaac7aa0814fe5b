"""`serve` holds both addresses that `localhost` stands for, so that no other account gets the token there."""

import contextlib
import errno
import fcntl
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from ..conftest import Api, needs_root, serving
from .conftest import COMMAND, Cli

ADDRESSES = ("127.0.0.1", "::1")


def addresses_in(log: Path) -> str:
    """Return the addresses that the server which wrote `log` listens on."""
    found = re.search("Listening on (.*);", log.read_text())
    assert found
    return found[1]


def listener(address: str, port: int = 0) -> socket.socket:
    return socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)


def url_of(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


@pytest.mark.parametrize("arguments", [(), ("--host", "127.0.0.1"), ("--host", "::1"), ("--host", "LocalHost"),
                                       ("--host", "0.0.0.0", "--beyond-loopback"),
                                       ("--host", "::", "--beyond-loopback")], ids=" ".join)
def test_both_localhost_addresses_are_bound_on_the_same_port(
        cli: Cli, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with serving(*arguments, log=tmp_path / "log") as url:
        port = int(url.rpartition(":")[2])
        assert addresses_in(tmp_path / "log").count(f":{port}") == 2
        for address in ADDRESSES:
            assert Api(url_of(address, port), None).get("/health")["status"] == "ok"
            with pytest.raises(OSError) as refused:
                listener(address, port)
            assert refused.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("taken", ADDRESSES)
@pytest.mark.parametrize("host", ADDRESSES)
def test_an_address_in_use_is_refused_in_one_sentence_that_names_it(cli: Cli, taken: str, host: str) -> None:
    with listener(taken) as other:
        port = other.getsockname()[1]
        said = cli.refused("serve", "--host", host, "--port", str(port))
        assert url_of(taken, port).removeprefix("http://") in said and f"sport = :{port}" in said
        for address in set(ADDRESSES) - {taken}:
            listener(address, port).close()


def test_another_loopback_address_is_bound_alone(cli: Cli, tmp_path: Path) -> None:
    with serving("--host", "127.0.0.2", log=tmp_path / "log") as url:
        port = int(url.rpartition(":")[2])
        assert addresses_in(tmp_path / "log") == f"http://127.0.0.2:{port}"
        for address in ADDRESSES:
            listener(address, port).close()


@needs_root
@pytest.mark.parametrize("without", ["true", "ip -6 addr del ::1/128 dev lo",
                                     "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"], ids=["up", "deleted", "off"])
def test_a_machine_without_the_ipv6_address_is_served_on_the_other(
        cli: Cli, tmp_path: Path, without: str) -> None:
    calls = f"""ip link set lo up; {without}
    "$@" serve --port 8791 2>{tmp_path}/log & server=$!
    for _ in $(seq 100); do grep -q Listening {tmp_path}/log && break; sleep 0.1; done
    curl -s http://127.0.0.1:8791/health; curl -s http://localhost:8791/health
    python3 -c 'import socket; s = socket.socket(socket.AF_INET6); s.setsockopt(41, 78, 1); s.bind(("::1", 8791))'
    kill $server"""
    ran = subprocess.run(["unshare", "-n", "sh", "-c", calls, "sh", *COMMAND], capture_output=True, text=True,
                         timeout=60, check=False, env=os.environ)
    assert ran.stdout.count('"ok"') == 2, ran
    assert "Address already in use" in ran.stderr, "another account could take the address once it is there"


@needs_root
def test_a_kernel_without_ipv6_is_served_on_ipv4(cli: Cli, tmp_path: Path) -> None:
    """seccomp would need a library: a socket() that refuses AF_INET6 as such a kernel does stands for it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import errno, socket\nreal = socket.socket.__init__\n"
        "def init(self, family=-1, *rest, **named):\n"
        "    if family == socket.AF_INET6: raise OSError(errno.EAFNOSUPPORT, 'Address family not supported')\n"
        "    real(self, family, *rest, **named)\nsocket.socket.__init__ = init\n")
    process = subprocess.Popen([*COMMAND, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(tmp_path)})
    try:
        assert process.stderr
        said = next(line for line in process.stderr if "Listening" in line)
        assert re.fullmatch(r"Listening on http://127\.0\.0\.1:\d+; .*\n", said), said
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("addresses", [ADDRESSES, ADDRESSES[:1]], ids=["both", "one"])
def test_it_serves_all_sockets_that_systemd_passes_and_warns_of_one_that_is_missing(
        cli: Cli, tmp_path: Path, addresses: tuple[str, ...]) -> None:
    with contextlib.ExitStack() as stack:
        passed = [stack.enter_context(listener(addresses[0]))]
        port = passed[0].getsockname()[1]
        passed += [stack.enter_context(listener(address, port)) for address in addresses[1:]]
        fds = [fcntl.fcntl(each, fcntl.F_DUPFD, 30) for each in passed]
        for fd in fds:
            stack.callback(os.close, fd)
        moved = "; ".join(f"exec {3 + n}<&{fd}" for n, fd in enumerate(fds))
        log = tmp_path / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f'{moved}; LISTEN_PID=$$ LISTEN_FDS={len(fds)} exec "$@"', "bash", *COMMAND, "serve"],
                pass_fds=fds, stdout=file, stderr=file, env=os.environ)
        try:
            for address in addresses:
                assert Api(url_of(address, port), None).get("/health")["status"] == "ok"
        finally:
            process.terminate()
            process.wait(10)
        assert (f"Another account can listen on [::1]:{port}" in log.read_text()) == (len(addresses) == 1)
