"""The wait for the network of a run that was missed."""

import datetime
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hermes_oscron.config import Config
from hermes_oscron.runner import network

from .jobs import change_record, configure, fire, make, make_script, record

PROMPT = {"id": "a", "name": "mail", "prompt": "summarise"}
SCRIPT = {"id": "a", "name": "mail", "no_agent": True, "script": "a.sh"}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The machine has just started and has no network. Returns the waits, which take no time."""
    made: list[float] = []
    monkeypatch.setattr(network, "has_default_route", lambda: False)
    monkeypatch.setattr(network, "awake_for_s", lambda: 20.0)
    monkeypatch.setattr(network.time, "sleep", made.append)
    monkeypatch.setattr(network.time, "monotonic", lambda: 1000.0 + sum(made))
    return made


@pytest.mark.parametrize(("job", "setting", "waited_s"), [
    (PROMPT, None, 90), (PROMPT, 0.0, 0), (PROMPT, 5.0, 5), (SCRIPT, None, 0), (SCRIPT, 0.0, 0), (SCRIPT, 5.0, 5),
])
def test_it_is_bounded_and_a_script_waits_only_if_configured(waits: list[float], capsys: pytest.CaptureFixture[str],
                                                             job: dict[str, object], setting: float | None,
                                                             waited_s: float) -> None:
    network.wait_if_woken(job, 3600.0, Config(network_wait=setting))
    assert sum(waits) == waited_s
    said = capsys.readouterr().out
    assert (f"mail (a): no network after {waited_s} s; runs without it\n" in said) == bool(waited_s)


def test_it_ends_with_the_first_default_route(waits: list[float], capsys: pytest.CaptureFixture[str],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "has_default_route", lambda: sum(waits) >= 12)
    network.wait_if_woken(PROMPT, 3600.0, Config())
    assert capsys.readouterr().out == (
        "mail (a): missed while the machine was off or asleep; waits up to 90 s for the network, since there is no "
        "default route\nmail (a): the network is there after 12.0 s\n")


@pytest.mark.parametrize(("late_s", "awake_s"), [(10.0, 20.0), (86400.0, 301.0)])
def test_a_run_that_was_due_after_the_start_and_one_long_after_it_do_not_wait(
        waits: list[float], monkeypatch: pytest.MonkeyPatch, late_s: float, awake_s: float) -> None:
    monkeypatch.setattr(network, "awake_for_s", lambda: awake_s)
    network.wait_if_woken(PROMPT, late_s, Config())
    assert waits == []


def seen_in_own_network(*commands: str) -> str:
    """Return whether there is a default route in a new network after `commands`."""
    code = f"{sys.executable} -c 'from hermes_oscron.runner import network; print(network.has_default_route())'"
    return subprocess.run(["unshare", "--net", "--map-root-user", "sh", "-ec", "\n".join([*commands, code])],
                          capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout.strip()


def test_a_default_route_is_the_network() -> None:
    up = "ip link set lo up"
    assert seen_in_own_network() == seen_in_own_network(up) == "False"
    assert seen_in_own_network(up, "ip route add 192.0.2.0/24 dev lo") == "False"
    assert seen_in_own_network(up, "ip route add unreachable default") == "False"
    assert seen_in_own_network(up, "ip route add default dev lo") == "True"


@pytest.mark.parametrize(("shown", "expected"), [
    ("ActiveState=active\nActiveEnterTimestampMonotonic={boot}\nInactiveEnterTimestampMonotonic=0\n", 30.0),
    ("ActiveState=active\nActiveEnterTimestampMonotonic={boot}\nInactiveEnterTimestampMonotonic=0\n\n"
     "ActiveState=inactive\nActiveEnterTimestampMonotonic=0\nInactiveEnterTimestampMonotonic={resume}\n", 5.0),
    ("ActiveState=activating\nActiveEnterTimestampMonotonic=0\nInactiveEnterTimestampMonotonic=0\n", 0.0),
])
def test_boot_and_resume_are_those_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str,
                                              expected: float) -> None:
    now = time.monotonic()
    (tmp_path / "shown").write_text(shown.format(boot=int((now - 30) * 1e6), resume=int((now - 5) * 1e6)))
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\ncat {tmp_path}/shown\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(network, "BOOTED", str(tmp_path))
    assert network.awake_for_s() == pytest.approx(expected, abs=2)


def test_without_systemd_the_boot_is_that_of_the_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(network, "BOOTED", str(tmp_path / "none"))
    assert network.awake_for_s() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=1)


def test_a_missed_run_of_a_machine_that_is_up_for_long_does_not_wait(root: Path) -> None:
    configure(root, '[exec]\ncommand = ["true"]\nnetwork_wait = 30\n')
    due = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)).isoformat()
    for job_id in (make(root), make_script(root, "true\n")):
        change_record(root, job_id, next_run_at=due)
        begun = time.monotonic()
        assert fire(job_id).returncode == 0 and record(root, job_id)["last_status"] == "ok"
        assert time.monotonic() - begun < 15
