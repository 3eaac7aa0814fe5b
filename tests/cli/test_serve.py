import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..conftest import Api, in_seconds, start_server, stored, wait_for, write_jobs, write_script
from .conftest import COMMAND, Cli

YEARLY = {"kind": "cron", "expr": "0 0 1 1 *", "display": "x"}


def test_it_listens_on_the_given_host_and_port(cli: Cli, root: Path, tmp_path: Path) -> None:
    process, url = start_server("--host", "127.0.0.1", log=tmp_path / "log")
    try:
        assert Api(url, None).get("/health")["scheduler"] == "foreground"
    finally:
        process.terminate()
        process.wait(10)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_ctrl_c_ends_the_server(cli: Cli, root: Path, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # a suite in the background ignores it, and so would serve
    try:
        process, _ = start_server(log=tmp_path / "log")
    finally:
        signal.signal(signal.SIGINT, before)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) in (0, 130)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_port_in_use_is_an_error(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in cli.refused("serve", "--port", port)


def test_an_address_of_another_machine_is_an_error(cli: Cli) -> None:
    for host in ("192.0.2.1", "no.such.host.invalid"):
        assert host in cli.refused("serve", "--host", host, "--port", "0")


def test_it_listens_beyond_loopback_only_with_the_option(cli: Cli, root: Path, tmp_path: Path) -> None:
    said = cli.refused("serve", "--host", "0.0.0.0", "--port", "0")
    assert "Other machines" in said and "--beyond-loopback" in said
    process, url = start_server("--host", "0.0.0.0", "--beyond-loopback", log=tmp_path / "log")
    try:
        assert Api(url.replace("0.0.0.0", "127.0.0.1"), None).call("GET", "/api/crons")[0] == 401
    finally:
        process.terminate()
        process.wait(10)
    assert "can run code as this account" in (tmp_path / "log").read_text()


def test_every_loopback_address_is_accepted(cli: Cli, tmp_path: Path) -> None:
    process, url = start_server("--host", "127.0.0.2", log=tmp_path / "log")
    try:
        assert Api(url, None).call("GET", "/api/crons")[0] == 401
    finally:
        process.terminate()
        process.wait(10)


def test_a_wrong_option_is_a_usage_error(cli: Cli) -> None:
    cli.refused("serve", "--port", "70000", code=2)
    cli.refused("serve", "--scheduler", "sundial", code=2)


def test_only_one_server_fires_the_jobs_of_a_home(cli: Cli, server: str) -> None:
    result = cli.run("serve", "--port", "0")
    assert result.returncode == 1 and "Another" in result.stderr and "Traceback" not in result.stderr
    assert Api(server, None).get("/health")


def test_it_does_not_start_on_jobs_that_it_cannot_read(cli: Cli, root: Path) -> None:
    path = root / "cron" / "jobs.json"
    path.parent.mkdir()
    path.write_text("{")
    assert str(path) in cli.refused("serve", "--port", "0")
    assert path.read_text() == "{"


def test_a_job_missed_while_the_server_was_down_runs_once_unless_paused(cli: Cli, root: Path, tmp_path: Path) -> None:
    script = {"no_agent": True, "script": write_script(root, "a.sh", f"echo x >> {root}/$HERMES_JOB_ID")}
    missed = {"next_run_at": "2026-01-01T00:00:00+00:00", "last_run_at": "2025-01-01T00:00:00+00:00"}
    once = {"kind": "once", "run_at": in_seconds(-7200), "display": "x"}
    write_jobs(root, {"id": "recurring", "schedule": YEARLY, **script, **missed},
               {"id": "one-shot", "schedule": once, "next_run_at": once["run_at"], **script},
               {"id": "paused", "schedule": YEARLY, "state": "paused", "enabled": False, **script, **missed},
               {"id": "answered", "schedule": YEARLY, **script, **missed, "next_run_at": in_seconds(5000)})
    process, _ = start_server(log=tmp_path / "log")
    try:
        wait_for(lambda: sum(record.get("last_status") == "ok" for record in stored(root)) == 2)
    finally:
        process.terminate()
        process.wait(10)
    assert {path.name: path.read_text() for path in root.glob("*") if path.name in (
        "recurring", "one-shot", "paused", "answered")} == {"recurring": "x\n", "one-shot": "x\n"}
    assert {record["id"]: record.get("state") for record in stored(root)}["one-shot"] == "completed"


@contextlib.contextmanager
def serving_on(listening: socket.socket, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server that gets the socket `listening` as systemd passes one; yield its process."""
    passed = listening.fileno()
    script = f'exec 3<&{passed}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
    with log.open("wb") as file:
        process = subprocess.Popen(["bash", "-c", script, "bash", *COMMAND, "serve"], pass_fds=[passed], stdout=file,
                                   stderr=file, env=os.environ)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def url_of(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_it_serves_a_socket_in_the_file_system_that_systemd_passes(cli: Cli, root: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        with serving_on(listening, tmp_path / "log"), socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(b"GET /api/crons HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert client.makefile("rb").readline().split()[1] == b"200"
    assert (tmp_path / "log").read_text() == "", "systemd starts it often: only what is wrong is logged"


def test_it_serves_the_socket_that_systemd_passes(cli: Cli, root: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, serving_on(listening, tmp_path / "log"):
        assert Api(url_of(listening), None).get("/health")["status"] == "ok"
    assert "Listening" not in (tmp_path / "log").read_text()


def spoil_token(root: Path) -> str:
    path = root / "cron" / "oscron" / "token"
    path.mkdir(parents=True)
    return f"{path} cannot be read: it is not a regular file. Once it is removed,"


def spoil_folder(root: Path) -> str:
    (root / "cron").mkdir()
    (root / "cron" / "oscron").touch()
    return f"{root}/cron/oscron"


def spoil_scheduler(root: Path) -> str:
    path = root / "cron" / "oscron" / "scheduler"
    path.mkdir(parents=True)
    return str(path)


def spoil_configuration(root: Path) -> str:
    (root / "oscron.toml").unlink()
    (root / "oscron.toml").mkdir()
    return f"{root}/oscron.toml cannot be read"


def spoil_root(root: Path) -> str:
    root.rename(f"{root}.away")
    root.touch()
    return str(root)


@pytest.mark.parametrize("spoil", [spoil_token, spoil_folder, spoil_scheduler, spoil_configuration, spoil_root])
def test_clients_of_systemd_s_socket_get_the_reason_if_it_cannot_start(
    cli: Cli, root: Path, tmp_path: Path, spoil: Callable[[Path], str],
) -> None:
    """Otherwise they would wait, and systemd would start it without end."""
    reason = spoil(root)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = Api(url_of(listening), None)
        with serving_on(listening, tmp_path / "log") as process:
            for path in ("/api/crons", "/health"):
                status, answer = client.call("GET", path)
                assert status == 503 and reason in answer["error"] and set(answer) == {"error"}, answer
            assert process.wait(10) == 1
    log = (tmp_path / "log").read_text()
    assert log.count(reason) == 1 and "Traceback" not in log and log.splitlines()[-1].startswith("Error: ")
