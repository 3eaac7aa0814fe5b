"""Turns with the agent's own scheduler, where it has ever run."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from hermes_oscron.hermes import gateway, job_store, jobs_file
from hermes_oscron.hermes.home import Home
from tests.conftest import write_jobs
from tests.runner.jobs import LONG_AGO

DAILY = {"kind": "cron", "expr": "0 9 * * *"}


@pytest.fixture
def ticker(root: Path) -> None:
    """The agent's own scheduler has run in `root`."""
    (root / "cron").mkdir()
    (root / "cron" / "ticker_heartbeat").write_text("1.0")


def test_nothing_is_written_if_the_agent_s_scheduler_never_ran(root: Path, home: Home) -> None:
    path = write_jobs(root, {"id": "a", "schedule": DAILY, "next_run_at": LONG_AGO})
    before = path.read_bytes()
    assert gateway.take_turn(home, "a", scheduled=True)
    assert path.read_bytes() == before


@pytest.mark.usefixtures("ticker")
def test_an_occurrence_is_taken_once(root: Path, home: Home) -> None:
    write_jobs(root, {"id": "a", "schedule": DAILY, "next_run_at": LONG_AGO})
    assert gateway.take_turn(home, "a", scheduled=True)
    assert not gateway.take_turn(home, "a", scheduled=True)
    assert gateway.take_turn(home, "a", scheduled=False), "a run by hand may take place at any time"


@pytest.mark.usefixtures("ticker")
@pytest.mark.parametrize("state", ["scheduled", "paused"])
def test_a_manual_run_of_a_due_job_takes_that_occurrence(root: Path, home: Home, state: str) -> None:
    write_jobs(root, {"id": "a", "schedule": DAILY, "state": state,
                      "next_run_at": LONG_AGO if state == "scheduled" else None})
    assert gateway.take_turn(home, "a", scheduled=False)
    if state == "scheduled":
        assert not gateway.take_turn(home, "a", scheduled=True)
    else:
        assert jobs_file.find(home, "a")["next_run_at"] is None


@pytest.mark.usefixtures("ticker")
def test_a_one_shot_is_taken_once_by_a_fire_or_a_manual_run(root: Path, home: Home) -> None:
    write_jobs(root, {"id": "a", "schedule": {"kind": "once", "run_at": LONG_AGO}, "next_run_at": LONG_AGO})
    assert gateway.take_turn(home, "a", scheduled=False)
    assert not gateway.take_turn(home, "a", scheduled=True)
    job_store.change(home, "a", lambda job: job.with_fields({"run_claim": None}))
    assert gateway.take_turn(home, "a", scheduled=True)


@pytest.mark.usefixtures("ticker")
def test_a_schedule_that_never_fires_does_not_prevent_a_run(root: Path, home: Home) -> None:
    write_jobs(root, {"id": "a", "schedule": {"kind": "moon"}, "next_run_at": LONG_AGO})
    for scheduled in (True, False):
        assert gateway.take_turn(home, "a", scheduled)


@pytest.mark.usefixtures("ticker")
def test_waiting_for_the_tick_lock_ends(root: Path, home: Home,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "TICK_LOCK_TIMEOUT_S", 0.05)
    write_jobs(root, {"id": "a", "schedule": DAILY, "next_run_at": LONG_AGO})
    with (root / "cron" / ".tick.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert gateway.take_turn(home, "a", scheduled=True)


def write_heartbeat(home: Home, text: str) -> None:
    os.makedirs(home.cron_dir, exist_ok=True)
    with open(f"{home.cron_dir}/ticker_heartbeat", "w", encoding="ascii") as file:
        file.write(text)


def test_the_gateway_is_alive_if_its_last_tick_is_recent(home: Home) -> None:
    assert not gateway.is_alive(home)
    for age, alive in ((0, True), (100, True), (300, False), (-60, False)):
        write_heartbeat(home, str(time.time() - age))
        assert gateway.is_alive(home) == alive
    for text in ("", "soon"):
        write_heartbeat(home, text)
        assert not gateway.is_alive(home)


@pytest.mark.timeout(10)
def test_a_pipe_instead_of_the_heartbeat_is_not_waited_for(home: Home) -> None:
    os.makedirs(home.cron_dir)
    os.mkfifo(f"{home.cron_dir}/ticker_heartbeat")
    assert not gateway.is_alive(home)


def test_a_removed_heartbeat_can_be_removed_again(home: Home) -> None:
    gateway.remove_heartbeat(home)
    write_heartbeat(home, str(time.time()))
    gateway.remove_heartbeat(home)
    assert not gateway.is_alive(home)
