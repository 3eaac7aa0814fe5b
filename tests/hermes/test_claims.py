"""Turns with the agent's own scheduler, where it has ever run."""

import fcntl
from pathlib import Path

import pytest

from hermes_oscron.hermes import claims, records, store
from hermes_oscron.hermes.homes import Home
from tests.conftest import write_jobs
from tests.runner.fires import LONG_AGO

DAILY = {"kind": "cron", "expr": "0 9 * * *"}


@pytest.fixture
def ticker(root: Path) -> None:
    """The agent's own scheduler has run in ROOT."""
    (root / "cron").mkdir()
    (root / "cron" / "ticker_heartbeat").write_text("1.0")


def test_where_the_agent_s_scheduler_never_ran_nothing_is_written(root: Path, home: Home) -> None:
    path = write_jobs(root, {"id": "a", "schedule": DAILY, "next_run_at": LONG_AGO})
    before = path.read_bytes()
    assert claims.take(home, "a", scheduled=True)
    assert path.read_bytes() == before


@pytest.mark.usefixtures("ticker")
def test_an_occurrence_is_taken_once(root: Path, home: Home) -> None:
    write_jobs(root, {"id": "a", "schedule": DAILY, "next_run_at": LONG_AGO})
    assert claims.take(home, "a", scheduled=True)
    assert not claims.take(home, "a", scheduled=True)
    assert claims.take(home, "a", scheduled=False), "a run by hand may take place at any time"


@pytest.mark.usefixtures("ticker")
@pytest.mark.parametrize("state", ["scheduled", "paused"])
def test_a_manual_run_of_a_job_that_is_due_takes_that_occurrence(root: Path, home: Home, state: str) -> None:
    write_jobs(root, {"id": "a", "schedule": DAILY, "state": state,
                      "next_run_at": LONG_AGO if state == "scheduled" else None})
    assert claims.take(home, "a", scheduled=False)
    if state == "scheduled":
        assert not claims.take(home, "a", scheduled=True)
    else:
        assert store.find(home, "a")["next_run_at"] is None


@pytest.mark.usefixtures("ticker")
def test_a_one_shot_is_taken_once_by_whomever(root: Path, home: Home) -> None:
    write_jobs(root, {"id": "a", "schedule": {"kind": "once", "run_at": LONG_AGO}, "next_run_at": LONG_AGO})
    assert claims.take(home, "a", scheduled=False)
    assert not claims.take(home, "a", scheduled=True)
    store.change(home, "a", records.drop_claims)
    assert claims.take(home, "a", scheduled=True)


@pytest.mark.usefixtures("ticker")
def test_a_schedule_that_nothing_can_keep_stops_no_run(root: Path, home: Home) -> None:
    write_jobs(root, {"id": "a", "schedule": {"kind": "moon"}, "next_run_at": LONG_AGO})
    for scheduled in (True, False):
        assert claims.take(home, "a", scheduled)


@pytest.mark.usefixtures("ticker")
def test_who_keeps_the_tick_lock_is_not_waited_for_for_ever(root: Path, home: Home,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "PATIENCE", 0.05)
    write_jobs(root, {"id": "a", "schedule": DAILY, "next_run_at": LONG_AGO})
    with (root / "cron" / ".tick.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert claims.take(home, "a", scheduled=True)
