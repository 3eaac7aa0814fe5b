"""Turns with the agent's own scheduler and its other commands."""

import datetime
import fcntl
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from hermes_oscron.hermes import claims, gateway, job_store, jobs_file
from hermes_oscron.hermes.home import Home
from hermes_oscron.jobs.record import instant
from tests.conftest import in_seconds, wait_for, write_jobs
from tests.runner.jobs import LONG_AGO

DAILY = {"kind": "cron", "expr": "0 9 * * *"}
ONE_SHOT = {"kind": "once", "run_at": LONG_AGO}


def put(root: Path, **fields: object) -> None:
    """Write a jobs.json with the due, daily job `a`."""
    write_jobs(root, {"id": "a", "schedule": DAILY, "next_run_at": LONG_AGO, **fields})


def take(home: Home, scheduled: bool = True, by_agent: bool = False, started_at: float = 1.0) -> bool:
    """Take the turn of the job `a`, and return True if no other program has it."""
    try:
        gateway.take_turn(home, "a", claims.owner(started_at), scheduled, by_agent)
    except gateway.ClaimedElsewhere:
        return False
    return True


def claim_by(pid: int, age_s: float = 1.0, token: str = ":f00d") -> dict[str, str]:
    return {"at": in_seconds(-age_s), "by": f"{os.uname().nodename}:{pid}{token}"}


@pytest.fixture
def gone() -> int:
    """A process that is gone."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_scheduled_run_moves_next_run_at_and_claims_the_job_without_a_heartbeat(root: Path, home: Home) -> None:
    put(root)
    assert not (root / "cron" / "ticker_heartbeat").exists()
    assert take(home)
    record = jobs_file.find(home, "a")
    assert instant(record["next_run_at"]) > datetime.datetime.now(datetime.UTC)
    assert re.fullmatch(rf"{os.uname().nodename}:{os.getpid()}:1.0", record["fire_claim"]["by"])
    assert record["last_dispatch"]["scheduled_at"] == LONG_AGO and record["last_dispatch"]["kind"] == "catch_up"


def test_an_occurrence_is_taken_once(root: Path, home: Home) -> None:
    put(root)
    assert take(home)
    assert not take(home)
    job_store.change(home, "a", lambda job: job.with_fields({"fire_claim": None}))
    assert not take(home), "it is not due"
    assert take(home, scheduled=False), "a run by hand may take place at any time"


@pytest.mark.parametrize("scheduled", [True, False])
def test_a_claim_of_a_process_that_runs_is_honoured_and_kept(root: Path, home: Home, scheduled: bool) -> None:
    for schedule, key in ((DAILY, "fire_claim"), (ONE_SHOT, "fire_claim"), (ONE_SHOT, "run_claim")):
        put(root, schedule=schedule, **{key: claim_by(os.getppid())})
        before = jobs_file.find(home, "a")
        with pytest.raises(gateway.ClaimedElsewhere, match=f"process {os.getppid()} has claimed a"):
            gateway.take_turn(home, "a", claims.owner(1.0), scheduled)
        assert jobs_file.find(home, "a") == before


def test_a_claim_of_another_host_is_honoured(root: Path, home: Home) -> None:
    put(root, fire_claim={"at": in_seconds(-9), "by": "elsewhere:1:f00d"})
    assert not take(home)


def test_a_claim_that_is_old_of_the_future_damaged_or_of_a_process_that_is_gone_is_replaced(
        root: Path, home: Home, gone: int) -> None:
    ours = os.getppid()
    for claim in (claim_by(ours, 301), claim_by(ours, -60), claim_by(gone), claim_by(gone, token=""), {}, [], "x",
                  {"at": "soon", "by": 1}, {"at": in_seconds(-1)}):
        put(root, fire_claim=claim)
        assert take(home), claim


def test_the_claim_by_which_a_sync_keeps_a_one_shot_does_not_prevent_its_run(root: Path, home: Home) -> None:
    put(root, schedule=ONE_SHOT)
    gateway.take_over(home, datetime.datetime.now(datetime.UTC))
    reserved = jobs_file.find(home, "a")["run_claim"]
    gateway.take_over(home, datetime.datetime.now(datetime.UTC))
    assert jobs_file.find(home, "a")["run_claim"] == reserved, "it is written once"
    assert claims.holder(jobs_file.find(home, "a"), datetime.datetime.now(datetime.UTC)) is None
    assert take(home) and jobs_file.find(home, "a")["run_claim"] != reserved


def test_a_sync_restores_an_occurrence_that_a_dead_scheduler_took_and_did_not_run(
        root: Path, home: Home, gone: int) -> None:
    later = in_seconds(3600)
    for pid, restored in ((gone, LONG_AGO), (os.getppid(), later)):
        put(root, next_run_at=later, pending_slot={**claim_by(pid, token=""), "scheduled_at": LONG_AGO})
        gateway.take_over(home, datetime.datetime.now(datetime.UTC))
        record = jobs_file.find(home, "a")
        assert record["next_run_at"] == restored and ("pending_slot" in record) == (restored == later)


@pytest.mark.parametrize("scheduled", [True, False])
def test_a_run_drops_the_pending_slot_that_it_runs(root: Path, home: Home, gone: int, scheduled: bool) -> None:
    put(root, pending_slot={**claim_by(gone), "scheduled_at": LONG_AGO})
    assert take(home, scheduled)
    assert "pending_slot" not in jobs_file.find(home, "a")


@pytest.mark.parametrize("state", ["scheduled", "paused"])
def test_a_manual_run_of_a_due_job_takes_that_occurrence(root: Path, home: Home, state: str) -> None:
    put(root, state=state, next_run_at=LONG_AGO if state == "scheduled" else None)
    assert take(home, scheduled=False)
    record = jobs_file.find(home, "a")
    assert record["fire_claim"] and "last_dispatch" not in record
    assert instant(record["next_run_at"]) != instant(LONG_AGO)
    assert (record["next_run_at"] is None) == (state == "paused")


def test_a_manual_run_of_a_job_that_is_not_due_takes_no_occurrence(root: Path, home: Home) -> None:
    soon = in_seconds(30)
    put(root, next_run_at=soon)
    assert take(home, scheduled=False) and jobs_file.find(home, "a")["next_run_at"] == soon


def test_a_one_shot_is_taken_once_by_a_fire_or_a_manual_run(root: Path, home: Home) -> None:
    put(root, schedule=ONE_SHOT)
    assert take(home, scheduled=False)
    assert not take(home)
    job_store.change(home, "a", lambda job: job.with_fields({"run_claim": None, "fire_claim": None}))
    assert take(home)


def test_the_agent_s_own_claim_is_left_to_it_except_of_a_one_shot_or_a_paused_job(root: Path, home: Home) -> None:
    for fields, expected in (({}, []), ({"schedule": ONE_SHOT}, ["run_claim"]), ({"state": "paused"}, ["fire_claim"])):
        put(root, **fields)  # type: ignore[arg-type]
        assert take(home, scheduled=False, by_agent=True)
        record = jobs_file.find(home, "a")
        assert [key for key in claims.CLAIMS if record.get(key)] == expected
        assert record["next_run_at"] == LONG_AGO


def test_a_schedule_that_never_fires_does_not_prevent_a_run(root: Path, home: Home) -> None:
    for scheduled in (True, False):
        put(root, schedule={"kind": "moon"})
        assert take(home, scheduled)


def test_waiting_for_the_tick_lock_ends(root: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "TICK_LOCK_TIMEOUT_S", 0.05)
    put(root)
    with (root / "cron" / ".tick.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert take(home)


def test_a_claim_is_renewed_and_another_s_claim_is_not(root: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "RENEWAL_INTERVAL_S", 0.05)
    put(root)
    assert take(home)
    by = claims.owner(1.0)
    claimed = jobs_file.find(home, "a")["fire_claim"]
    with gateway.claims_renewed(home, "a", by, by_agent=False, is_claimed=True):
        wait_for(lambda: jobs_file.find(home, "a")["fire_claim"]["at"] > claimed["at"])
        theirs = claim_by(os.getppid())
        job_store.change(home, "a", lambda job: job.with_fields({"fire_claim": theirs}))
        time.sleep(0.3)
    assert jobs_file.find(home, "a")["fire_claim"] == theirs


def test_a_run_that_could_not_be_claimed_is_claimed_when_jobs_json_can_be_written(
        root: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "RETRY_INTERVAL_S", 0.05)
    put(root)
    path = root / "cron" / "jobs.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:30])
    with gateway.claims_renewed(home, "a", claims.owner(1.0), by_agent=False, is_claimed=False):
        time.sleep(0.2)
        path.write_bytes(whole)
        wait_for(lambda: jobs_file.find(home, "a").get("fire_claim"))


def test_a_run_ends_its_own_claim_and_those_of_dead_processes_alone(root: Path, home: Home, gone: int) -> None:
    for claim, ends in ((claim_by(os.getppid(), token=":7.5"), True), (claim_by(gone), True),
                        (claim_by(4321), True), (claim_by(os.getppid()), False),
                        ({"at": in_seconds(-9), "by": "elsewhere:1:f00d"}, False), ("x", False)):
        put(root, fire_claim=claim)
        ended = claims.ended_claims(jobs_file.find(home, "a"), 7.5, group=4321)
        assert ended == (["fire_claim"] if ends else []), claim


def write_heartbeat(home: Home, text: str) -> None:
    os.makedirs(home.cron_dir, exist_ok=True)
    with open(f"{home.cron_dir}/ticker_heartbeat", "w", encoding="ascii") as file:
        file.write(text)


def test_the_gateway_is_alive_if_its_last_tick_is_recent(home: Home) -> None:
    assert not gateway.is_alive(home)
    for age, alive in ((0, True), (100, True), (300, False), (-60, False)):
        write_heartbeat(home, str(time.time() - age))
        assert gateway.is_alive(home) == alive
    for text in ("", "soon", f"{time.time()} soon"):
        write_heartbeat(home, text)
        assert not gateway.is_alive(home)


def test_the_gateway_is_alive_only_if_the_process_that_wrote_the_heartbeat_runs(home: Home) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for pid, alive in ((os.getpid(), True), (1, True), (ended.pid, False), (0, False), (-1, False), (10**30, False)):
        write_heartbeat(home, f"{time.time()} {pid}\n")
        assert gateway.is_alive(home) == alive, pid
        write_heartbeat(home, f"{time.time() - 300} {pid}\n")
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
