"""`hermes-oscron disarm`, which lasts until `arm`."""

import datetime
from pathlib import Path

from tests.conftest import stored, write_jobs
from tests.fuzz.world import Ledger

from .world import DAILY_JOB, LATE_JOB, diagnosis, reconciler, service

PAST = "2026-01-02T09:00:00+00:00"


def test_a_sync_arms_and_starts_nothing_until_arm(root: Path) -> None:
    write_jobs(root, DAILY_JOB, {**LATE_JOB, "id": "late", "next_run_at": PAST})
    ledger = Ledger(str(root))
    reconciler(root, ledger).disarm()
    report = reconciler(root, ledger).sync()
    assert (report.armed, report.started, ledger.armed, ledger.ran) == ([], [], {}, [])
    report = reconciler(root, ledger).arm()
    assert set(ledger.armed) == {"default:a", "default:late"} and len(report.started) == 1
    assert ledger.ran == ["default:late"]


def test_commands_arm_nothing_while_disarmed(root: Path) -> None:
    ledger = Ledger(str(root))
    here = service(root, ledger)
    job = here.create({"schedule": "0 9 * * *", "prompt": "x"})
    reconciler(root, ledger).disarm()
    assert not ledger.armed
    here.update(job["id"], {"schedule": "0 10 * * *"})
    here.pause(job["id"])
    here.resume(job["id"])
    here.create({"schedule": "0 9 * * *", "prompt": "x"})
    assert not ledger.armed
    reconciler(root, ledger).arm()
    assert len(ledger.armed) == 2


def test_a_job_that_is_late_because_it_is_disarmed_is_not_an_error(root: Path) -> None:
    write_jobs(root, {**LATE_JOB, "next_run_at": PAST})
    here = service(root)
    assert here.show("a")["last_status"] == "error"
    reconciler(root).disarm()
    assert here.show("a")["last_status"] == "ok"
    assert here.list_jobs()["armed"] is False


def test_a_running_server_fires_nothing_while_disarmed(root: Path) -> None:
    write_jobs(root, DAILY_JOB)
    now = datetime.datetime.now(datetime.UTC)
    assert reconciler(root).record_and_plan(now)
    reconciler(root).disarm()
    assert not reconciler(root).record_and_plan(now)
    reconciler(root).arm()
    assert reconciler(root).record_and_plan(now)


def test_doctor_reports_it_once_and_no_missing_timers(root: Path) -> None:
    write_jobs(root, DAILY_JOB, {**LATE_JOB, "id": "late", "next_run_at": PAST})
    ledger = Ledger(str(root))
    reconciler(root, ledger).disarm()
    [sentence] = diagnosis(root, ledger)
    assert "disarmed since" in sentence and "'hermes-oscron arm'" in sentence
    assert stored(root)[1]["next_run_at"] == PAST


def test_disarming_twice_and_arming_without_disarm_change_nothing(root: Path) -> None:
    write_jobs(root, DAILY_JOB)
    ledger = Ledger(str(root))
    assert reconciler(root, ledger).arm().armed == ["default:a"]
    assert reconciler(root, ledger).arm().armed == []
    reconciler(root, ledger).disarm()
    reconciler(root, ledger).disarm()
    assert not ledger.armed
