"""The comparison of the next elapses with `next_run_at`. On a booted machine: tests/machine/test_zones.py."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import pytest

from hermes_oscron.schedulers.protocol import SchedulerError
from hermes_oscron.service.doctor import Doctor
from hermes_oscron.service.jobs import JobService
from hermes_oscron.service.sync import Reconciler
from tests.conftest import stored, write_jobs
from tests.fuzz.world import Ledger
from tests.manual_clock import NOON, ManualClock

from .world import DAILY_JOB, UnwatchedSelection

HOUR = datetime.timedelta(hours=1)
NINE = NOON + 21 * HOUR
CREATE = {"prompt": "x", "schedule": "0 9 * * *"}


class Showing(Ledger):
    """Shows the same next elapse of every job, and counts the questions."""

    def __init__(self, root: Path, elapse: datetime.datetime | None) -> None:
        super().__init__(str(root))
        self.elapse = elapse
        self.asked: list[list[str]] = []

    def next_elapses(self, instances: Sequence[str]) -> dict[str, datetime.datetime | None]:
        self.asked.append(list(instances))
        return dict.fromkeys(instances, self.elapse)


def on(root: Path, scheduler: Showing, clock: ManualClock | None = None) -> tuple[UnwatchedSelection, ManualClock]:
    return UnwatchedSelection(str(root), scheduler), clock or ManualClock()


@pytest.mark.parametrize(("elapse", "shown"), [
    (NINE + HOUR, "at 2030-06-06 10:00:00 +0000"), (NINE - HOUR, "at 2030-06-06 08:00:00 +0000"), (None, "never")])
def test_a_create_that_systemd_would_fire_at_another_time_fails_and_shows_both(
        root: Path, elapse: datetime.datetime | None, shown: str) -> None:
    scheduler = Showing(root, elapse)
    with pytest.raises(SchedulerError, match="would fire it") as error:
        JobService(*on(root, scheduler)).create(CREATE)
    assert f"systemd would fire it {shown}, but it is due at 2030-06-06 09:00:00 +0000" in str(error.value)
    assert stored(root) == [] and scheduler.armed == {}


def test_a_create_that_systemd_fires_when_it_is_due_succeeds(root: Path) -> None:
    scheduler = Showing(root, NINE)
    job = JobService(*on(root, scheduler)).create(CREATE)
    assert scheduler.asked == [[f"default:{job['id']}"]]


def test_a_change_that_systemd_would_fire_at_another_time_is_undone(root: Path) -> None:
    service = JobService(*on(root, Showing(root, NINE)))
    job = service.create(CREATE)
    with pytest.raises(SchedulerError, match="10:00:00"):
        service.update(job["id"], {"schedule": "0 10 * * *"})
    assert stored(root)[0]["schedule"]["expr"] == "0 9 * * *"


def test_a_sync_asks_once_for_all_jobs_that_it_armed_and_reports_those_that_differ(root: Path) -> None:
    write_jobs(root, {**DAILY_JOB, "id": "a"}, {**DAILY_JOB, "id": "b"},
               {**DAILY_JOB, "id": "c", "schedule": {"kind": "cron", "expr": "0 10 * * *"}})
    scheduler = Showing(root, NINE)
    report = Reconciler(*on(root, scheduler)).sync()
    [problem] = report.problems
    assert problem.subject == "default:c" and problem.needs_edit
    assert "fire it at 2030-06-06 09:00:00 +0000, but it is due at 2030-06-06 10:00:00 +0000" in problem.sentence
    assert [sorted(asked) for asked in scheduler.asked if asked] == [["default:a", "default:b", "default:c"]]
    assert "default:c" in scheduler.armed  # a fire at a wrong time, and the regular sync, are better than none


def test_doctor_reports_a_job_that_systemd_fires_at_another_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermes_oscron.service.doctor.CONFIRM_S", 0.0)
    write_jobs(root, DAILY_JOB)
    scheduler = Showing(root, NINE)
    selection, clock = on(root, scheduler)
    Reconciler(selection, clock).sync()
    assert Doctor(selection, clock).diagnose() == []
    scheduler.elapse = NINE + HOUR
    [found] = Doctor(selection, clock).diagnose()
    assert found.sentence.startswith("default:a: systemd would fire it at 2030-06-06 10:00:00 +0000, but it is due at ")


@pytest.mark.parametrize(("next_run_at", "elapse"), [
    ("2030-06-05T12:00:00+00:00", NINE),  # it is due already, and its timer has elapsed
    ("2030-06-09T09:00:00+00:00", NINE),  # the clock was set back
    ("2030-06-06T09:00:00.400000+00:00", NINE)])
def test_an_elapse_that_is_meant_is_not_a_mismatch(root: Path, next_run_at: str, elapse: datetime.datetime) -> None:
    from hermes_oscron.hermes import job_store
    from hermes_oscron.hermes.home import home_of
    from hermes_oscron.service.elapses import wrong_elapses

    write_jobs(root, {**DAILY_JOB, "next_run_at": next_run_at})
    jobs = job_store.by_instance(home_of(str(root), "default"))
    assert wrong_elapses(Showing(root, elapse), jobs, ManualClock()) == {}
