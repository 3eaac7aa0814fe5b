"""Two machines that share a home: only one of them fires the jobs. The other machine here is a lease in its name."""

import os
import time
from pathlib import Path

import pytest

from hermes_oscron.hermes import timekeeper
from hermes_oscron.hermes.timekeeper import LEASE_S, OtherTimekeeper
from hermes_oscron.state import State
from tests.fuzz.world import Ledger
from tests.runner.jobs import MANUAL, fire, make_due, make_script, record
from tests.service.world import diagnosis, reconciler, service

OTHER = "0123456789abcdef0123456789abcdef"


def lease_of_other(root: Path, age_s: float = 0) -> Path:
    """Write the lease of another machine, which it renewed `age_s` ago."""
    path = Path(State(str(root)).timekeeper)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{OTHER} hosta\n")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@pytest.fixture(autouse=True)
def machine_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "machine-id"
    path.write_text("f" * 32 + "\n")
    monkeypatch.setattr(timekeeper, "MACHINE_ID", str(path))
    return path


def test_the_first_machine_that_arms_the_jobs_is_their_timekeeper(root: Path) -> None:
    reconciler(root).sync()
    machine, host = Path(State(str(root)).timekeeper).read_text().split()
    assert (machine, host) == ("f" * 32, os.uname().nodename)


def test_another_machine_arms_nothing_and_changes_no_job(root: Path) -> None:
    ledger = Ledger(str(root))
    job_id = service(root, ledger).create({"schedule": "0 9 * * *", "prompt": "x"})["id"]
    before = record(root, job_id)
    lease_of_other(root)
    with pytest.raises(OtherTimekeeper, match=r"^hosta fires the jobs of .*; its lease was renewed .* 'hermes-oscron "
                                              r"arm --take-over' makes this machine the one that fires them\.$"):
        service(root, ledger).pause(job_id)
    with pytest.raises(OtherTimekeeper):
        reconciler(root, ledger).sync()
    assert not ledger.armed, "a sync disarms those of the time when this machine was the timekeeper"
    assert record(root, job_id) == before
    [problem] = diagnosis(root, ledger)
    assert problem.startswith("Nothing fires on this machine: hosta fires the jobs of ")


def test_a_timer_of_another_machine_runs_nothing(root: Path) -> None:
    """Its timers may be armed still, if it was cut off for a time."""
    job_id = make_script(root, "echo hello\n")
    make_due(root, job_id)
    lease = lease_of_other(root)
    ended = fire(job_id)
    assert ended.returncode == 0 and ended.stdout.startswith("Skipped: hosta fires the jobs of ")
    assert record(root, job_id)["last_status"] is None, "it stays due"
    assert fire(job_id, *MANUAL).stdout == "hello\n"
    make_due(root, job_id)
    lease.unlink()
    assert fire(job_id).stdout == "hello\n"


def test_a_person_gives_the_lease_to_this_machine(root: Path) -> None:
    ledger = Ledger(str(root))
    job_id = service(root, ledger).create({"schedule": "0 9 * * *", "prompt": "x"})["id"]
    lease = lease_of_other(root)
    reconciler(root, ledger).arm(take_over=True)
    assert lease.read_text().startswith("f" * 32) and f"default:{job_id}" in ledger.armed


def test_a_lease_that_has_expired_is_taken(root: Path) -> None:
    """The other machine may be off. If it comes back, its runners find this lease."""
    lease = lease_of_other(root, LEASE_S + 1)
    reconciler(root).sync()
    assert lease.read_text().startswith("f" * 32)


def test_the_lease_is_renewed_at_most_every_ten_minutes(root: Path) -> None:
    reconciler(root).sync()
    lease = Path(State(str(root)).timekeeper)
    for age_s, is_renewed in ((60, False), (1000, True)):
        os.utime(lease, (time.time() - age_s,) * 2)
        reconciler(root).sync()
        assert (time.time() - lease.stat().st_mtime < 30) == is_renewed


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * 5000])
def test_a_damaged_lease_is_replaced_when_it_has_expired_or_by_a_person(root: Path, content: bytes) -> None:
    lease = lease_of_other(root)
    lease.write_bytes(content)
    reconciler(root).arm(take_over=True)
    assert lease.read_text().startswith("f" * 32)


def test_a_machine_without_an_id_has_no_lease(root: Path, machine_id: Path) -> None:
    """In many containers there is none, and each new one has another name."""
    machine_id.unlink()
    lease = lease_of_other(root)
    reconciler(root).sync()
    assert lease.read_text().startswith(OTHER)
