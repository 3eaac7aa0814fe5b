"""Due times of the last week without a recorded run, and failed runs. On a machine: test_silent_failures.py."""

import datetime
import os
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.hermes import job_store, outputs
from hermes_oscron.hermes.home import Home
from hermes_oscron.hermes.output_page import render_page
from hermes_oscron.service import history
from hermes_oscron.service.findings import PROBLEM, WARNING, Finding
from tests.conftest import write_jobs
from tests.fuzz.world import Ledger
from tests.manual_clock import NOON

USER = "" if os.geteuid() == 0 else " --user"
HOUR, DAY = datetime.timedelta(hours=1), datetime.timedelta(days=1)
TODAY = NOON - 3 * HOUR
"""When the job was due last: at nine."""
JOB = {"id": "a", "prompt": "x", "schedule": {"kind": "cron", "expr": "0 9 * * *"},
       "next_run_at": "2030-06-06T09:00:00+00:00", "created_at": "2030-01-01T00:00:00+00:00"}


class Armed(Ledger):
    """A scheduler in which every job is armed since `since`."""

    def __init__(self, home: Home, since: datetime.datetime | None) -> None:
        super().__init__(home.root)
        self.since = since

    def armed_since(self, instance: str) -> float | None:
        return self.since.timestamp() if self.since else None


@pytest.fixture(autouse=True)
def never_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "slept_s", lambda: 0.0)


def ran(home: Home, ended: datetime.datetime, took: datetime.timedelta = HOUR / 60) -> None:
    """Record a run of the job that ended at `ended`."""
    page = render_page(JOB, ended - took, ended, "done", "", None)
    name = outputs.write(home, "a", ended, page)
    os.utime(f"{home.output_dir}/a/{name}", (ended.timestamp(), ended.timestamp()))


def missed(home: Home, since: datetime.datetime | None = NOON - 30 * DAY, **fields: Any) -> Finding | None:
    """Return the finding about the job with `fields`, which has been armed `since`."""
    write_jobs(Path(home.root), {**JOB, **fields})
    job = job_store.by_instance(home)["default:a"]
    return history.missed_runs(home, job, Armed(home, since), NOON)


def test_a_job_that_never_ran_in_a_week_does_not_run(home: Home) -> None:
    assert missed(home) == Finding(PROBLEM, "default:a", (
        "default:a: no run is recorded for 7 of the last 7 times at which it was due (from 2030-05-30 09:00 UTC to "
        f"2030-06-05 09:00 UTC). The journal of these times has the reason: 'journalctl{USER} -u "
        f"hermes-job@default:a'."))


def test_a_job_that_ran_whenever_it_was_due_is_well(home: Home) -> None:
    for days in range(8):
        ran(home, TODAY - days * DAY + HOUR / 60)
    assert missed(home) is None


def test_days_that_are_missing_among_others_are_a_warning(home: Home) -> None:
    for days in (0, 1, 4, 5, 6, 7):
        ran(home, TODAY - days * DAY + HOUR / 60)
    found = missed(home)
    assert found and found.severity == WARNING
    assert "for 2 of the last 7 times at which" in found.sentence
    assert "(from 2030-06-02 09:00 UTC to 2030-06-03 09:00 UTC)" in found.sentence


def test_a_long_run_is_for_each_time_during_it(home: Home) -> None:
    ran(home, TODAY + HOUR, took=7 * DAY + HOUR)
    assert missed(home) is None
    ran(home, TODAY + HOUR, took=HOUR)
    found = missed(home, schedule={"kind": "cron", "expr": "0 9,11 * * *"})
    assert found and "for 1 of the last 14 times at which it was due (at 2030-06-05 11:00 UTC)" in found[2]


def test_a_run_without_an_output_counts_by_its_record(home: Home) -> None:
    since = TODAY - HOUR
    assert missed(home, since)
    assert missed(home, since, last_run_at="2030-06-05T09:00:02+00:00", last_status="error") is None
    assert missed(home, since, last_failure={"at": "2030-06-05T09:00:02+00:00"}) is None


@pytest.mark.parametrize("fields", [
    {"created_at": "2030-06-05T10:00:00+00:00"}, {"armed_at": "2030-06-05T10:00:00+00:00"},
    {"enabled": False, "state": "paused"}, {"state": "completed", "enabled": False},
    {"schedule": {"kind": "cron", "expr": "0 9 31 2 *"}}, {"schedule": {"kind": "cron", "expr": "59 11 * * *"},
                                                           "created_at": "2030-06-05T11:30:00+00:00"}])
def test_of_a_time_at_which_the_job_was_not_scheduled_nothing_is_reported(home: Home, fields: dict[str, Any]) -> None:
    assert missed(home)
    assert missed(home, **fields) is None


@pytest.mark.parametrize("since", [None, TODAY + HOUR])
def test_of_a_time_at_which_the_job_was_not_armed_nothing_is_reported(
        home: Home, since: datetime.datetime | None) -> None:
    assert missed(home, since) is None


def test_of_a_time_before_the_kept_outputs_nothing_is_reported(home: Home) -> None:
    for hours in range(2):
        ran(home, TODAY + hours * HOUR)
    assert missed(home)
    (Path(home.path) / "config.yaml").write_text("cron:\n  output_retention: 2\n")
    assert missed(home) is None


def test_of_a_time_while_hermes_was_paused_nothing_is_reported(home: Home) -> None:
    os.makedirs(home.state.folder)
    Path(home.state.refused).touch()
    os.utime(home.state.refused, (TODAY.timestamp(), TODAY.timestamp()))
    assert missed(home) is None
    os.utime(home.state.refused, (TODAY.timestamp() - 1, TODAY.timestamp() - 1))
    assert missed(home)


def test_of_a_machine_that_has_slept_nothing_is_reported(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "slept_s", lambda: 3600.0)
    assert missed(home) is None


def test_an_interval_whose_times_have_moved_by_a_run_is_well(home: Home) -> None:
    every = {"schedule": {"kind": "interval", "minutes": 1440}, "next_run_at": "2030-06-06T07:00:00+00:00"}
    for days in range(8):
        ran(home, TODAY - days * DAY)
    assert missed(home, **every) is None
    for name in outputs.filenames(home, "a")[:3]:
        os.unlink(f"{home.output_dir}/a/{name}")
    assert missed(home, **every)


def test_runs_that_all_began_late_were_started_by_a_sync(home: Home) -> None:
    for days in range(8):
        ran(home, TODAY - days * DAY + HOUR / 60 * 18)
    found = missed(home)
    assert found and found.severity == WARNING
    assert "each of its last 3 runs began at least 17 minutes late, so a sync started them." in found.sentence
    ran(home, TODAY + HOUR / 60)
    assert missed(home) is None


# The last result


def result(home: Home, **fields: Any) -> Finding | None:
    write_jobs(Path(home.root), {**JOB, "last_run_at": "2030-06-05T09:00:02+00:00", **fields})
    return history.failed_result(job_store.by_instance(home)["default:a"], NOON)


def test_a_failed_run_of_the_last_week_is_a_warning(home: Home) -> None:
    assert result(home, last_status="error", last_error="no") == Finding(
        WARNING, "default:a", "default:a: its last run failed, at 2030-06-05 09:00 UTC: no. 'hermes-oscron runs "
                              "default:a' lists its outputs; 'hermes-oscron run default:a' runs it again.")
    found = result(home, last_status="error", last_error="no", failure_streak=3)
    assert found and "its last 3 runs failed, at 2030-06-05 09:00 UTC: no" in found.sentence


def test_an_output_that_was_not_delivered_is_a_warning(home: Home) -> None:
    found = result(home, last_status="delivery_failed", last_delivery_error="no route")
    assert found and found.sentence == (
        "default:a: the output of its last run (2030-06-05 09:00 UTC) was not delivered: no route. "
        "'hermes-oscron update default:a --deliver TARGET' names another target.")


@pytest.mark.parametrize("fields", [
    {"last_status": "ok"}, {"last_status": "error", "last_run_at": "2030-05-20T09:00:00+00:00"}, {"last_status": None},
    {"last_status": "error", "last_error": "no", "enabled": False, "state": "paused"}])
def test_a_run_that_went_well_or_is_old_is_not_a_warning(home: Home, fields: dict[str, Any]) -> None:
    assert result(home, **fields) is None
