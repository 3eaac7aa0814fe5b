"""`doctor --verify` off a machine that fires; with armed timers: tests/machine/test_doctor.py."""

import datetime
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.jobs.model import Job
from hermes_oscron.schedule.occurrences import next_occurrence
from hermes_oscron.schedulers.systemd import elapses
from hermes_oscron.service import verify
from tests.conftest import write_jobs
from tests.fuzz.world import Ledger
from tests.manual_clock import ManualClock
from tests.service.world import DAILY_JOB, Timers, reconciler, selection
from tests.wrong_reading import HOUR, read_wrongly

MONDAY = {"kind": "cron", "expr": "5 9 * * Mon"}
COMPLETED = {"state": "completed", "enabled": False}


class PatientClock(ManualClock):
    """`sleep` moves the time."""

    def sleep(self, seconds: float) -> None:
        self.set(self.now() + datetime.timedelta(seconds=seconds))


def verification(root: Path) -> verify.Verification:
    return verify.verify(selection(root, Ledger(str(root))), PatientClock())


def put_jobs(root: Path) -> None:
    """Three cron expressions of two profiles, and jobs that croniter has no opinion on."""
    write_jobs(root, DAILY_JOB, {**DAILY_JOB, "id": "monday", "schedule": MONDAY},
               {**DAILY_JOB, "id": "hourly", "schedule": {"kind": "interval", "minutes": 60}},
               {**DAILY_JOB, "id": "done", "schedule": MONDAY, **COMPLETED},
               {**DAILY_JOB, "id": "lost", "schedule": {"kind": "moon"}})
    (root / "profiles" / "work").mkdir(parents=True)
    write_jobs(root / "profiles" / "work", {**DAILY_JOB, "id": "paused", "schedule": MONDAY, "state": "paused"})


def test_the_cron_expressions_of_every_profile_are_compared(root: Path) -> None:
    put_jobs(root)
    found = verification(root)
    assert found == (3, "croniter only, because the scheduler is foreground", {})


def test_each_expression_that_croniter_reads_in_another_way_is_reported(
        root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_jobs(root)
    read_wrongly(monkeypatch, HOUR, "5 9 * * 1")
    found = verification(root)
    assert found.checked == 3 and found.differences.keys() == {"default:monday", "work:paused"}
    assert re.search(r"Mon' is due at .* 10:05 as .* at .* 09:05 as croniter", found.differences["work:paused"])


def test_a_difference_that_is_gone_at_the_next_look_is_not_reported(
        root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[datetime.datetime] = []

    def odd_at_first(_job: Job, now: datetime.datetime) -> str | None:
        looks.append(now)
        return "odd" if len(looks) == 1 else None

    monkeypatch.setattr(verify, "disagreement", odd_at_first)
    write_jobs(root, DAILY_JOB)
    assert verification(root).differences == {}
    assert len(looks) == 2


def test_without_systemd_analyze_only_croniter_is_compared(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jobs(root, DAILY_JOB)
    monkeypatch.setenv("PATH", "/nowhere")
    found = verify.verify(selection(root, Timers(str(root))), PatientClock())
    assert found == (1, "croniter only, because systemd-analyze is not installed", {})
    assert elapses.elapses(["*-*-* 09:00:00"], PatientClock().now(), 3) == []


class Computed(Timers):
    """Elapses when the plans say."""

    def next_elapses(self, instances: Sequence[str]) -> dict[str, datetime.datetime | None]:
        now = PatientClock().now()
        return {instance: next_occurrence(self.armed[instance].schedule, now, self.armed[instance].zone,
                                          self.armed[instance].phase) for instance in instances}


ONE_SHOT = {"kind": "once", "run_at": "2027-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(("jobs", "checked", "against"), [
    ([], 0, "croniter and systemd"),
    ([{}], 1, "croniter and systemd"),
    ([{}, {"schedule": MONDAY}], 2, "croniter and systemd"),
    ([{"state": "paused"}], 1, "croniter (1) and systemd (0)"),
    ([{"schedule": {"kind": "interval", "minutes": 60}}], 1, "croniter (0) and systemd (1)"),
    ([{}, {"schedule": {"kind": "interval", "minutes": 60}}, {"state": "paused"}], 3, "croniter (2) and systemd (2)"),
    ([{"schedule": ONE_SHOT, "next_run_at": "2027-01-01T00:00:00+00:00"}], 0, "croniter and systemd"),
])
def test_the_numbers_are_those_of_the_jobs_that_each_program_was_compared_with(
    root: Path, monkeypatch: pytest.MonkeyPatch, jobs: list[Any], checked: int, against: str,
) -> None:
    monkeypatch.setattr(elapses, "can_analyze", lambda: True)
    monkeypatch.setattr(elapses, "calendar_of", lambda *_: [])
    write_jobs(root, *({**DAILY_JOB, "id": f"a{n}", **fields} for n, fields in enumerate(jobs)))
    timers = Computed(str(root))
    timers.armed.update(reconciler(root, timers).plans(PatientClock().now()))
    found = verify.verify(selection(root, timers), PatientClock())
    assert found == (checked, against, {})


def test_an_unreadable_profile_hides_no_other(root: Path) -> None:
    put_jobs(root)
    (root / "cron" / "jobs.json").write_text("{")
    assert verification(root).checked == 1


@pytest.mark.skipif(subprocess.run(["which", "systemd-analyze"], capture_output=True).returncode != 0,
                    reason="needs systemd-analyze")
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Europe/Berlin"])
def test_a_calendar_elapses_when_systemd_analyze_computes_it(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elapses, "machine_zone", lambda: ZoneInfo(zone))
    after = datetime.datetime(2026, 11, 27, 8, 0, 0, 500_000, tzinfo=datetime.UTC)
    calendar = ["*-*-* 09:00:00 Europe/Berlin", "*-*-* 20:30:00 UTC", "2026-11-28 08:30:00 UTC", "2020-01-01 UTC"]
    found = elapses.elapses(calendar, after, 5)
    assert [f"{time:%d %H:%M}" for time in found] == ["27 20:30", "28 08:00", "28 08:30", "28 20:30", "29 08:00"]
    in_machine_zone, = elapses.elapses(["*-*-* 23:30:00"], after, 1)
    assert f"{in_machine_zone.astimezone(ZoneInfo(zone)):%d %H:%M}" == "27 23:30"
    assert elapses.elapses(["nonsense"], after, 5) == []
