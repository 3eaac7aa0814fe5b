import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.hermes import records
from hermes_oscron.schedule.errors import ScheduleError
from hermes_oscron.schedule.types import Schedule

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
CRON = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
HOURLY = {"kind": "interval", "minutes": 60, "display": "every 60m"}
ONCE = {"kind": "once", "run_at": "2026-03-10T09:00:00+00:00", "display": "x"}


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(f"2026-03-{text}+00:00")


def job(schedule: dict[str, Any] = CRON, **fields: Any) -> records.Record:
    return {"id": "a", "schedule": schedule, **fields}


def finished(record: records.Record, ended: str, error: str | None = None) -> records.Record:
    """RECORD after a run of a second that ended at ENDED."""
    records.finish(record, at(ended) - datetime.timedelta(seconds=1), at(ended), UTC, error)
    return record


def test_what_the_agent_stores_is_a_schedule() -> None:
    for stored, schedule in ((CRON, Schedule("cron", "0 9 * * *")), (HOURLY, Schedule("interval", "every 1h")),
                             (ONCE, Schedule("once", "2026-03-10T09:00:00+00:00")),
                             ({"kind": "cron", "expr": "0 9 * * MON-FRI"}, Schedule("cron", "0 9 * * 1-5")),
                             ({"kind": "interval", "minutes": 90}, Schedule("interval", "every 90m"))):
        assert records.schedule_of(job(stored), UTC) == schedule


def test_a_one_shot_is_shown_in_the_zone_of_the_home() -> None:
    assert records.schedule_of(job(ONCE), BERLIN) == Schedule("once", "2026-03-10T10:00:00+01:00")


def test_what_is_stored_is_read_back_as_the_same_schedule() -> None:
    for schedule in (Schedule("cron", "0 9 * * 1-5"), Schedule("interval", "every 2h"),
                     Schedule("interval", "every 90m"), Schedule("once", "2026-03-10T10:00:00+01:00")):
        assert records.schedule_of(job(records.stored_schedule(schedule, BERLIN)), BERLIN) == schedule


def test_a_record_without_a_schedule_that_can_be_kept_says_so() -> None:
    for stored in (None, "0 9 * * *", {}, {"kind": "cron"}, {"kind": "cron", "expr": "61 * * * *"},
                   {"kind": "interval", "minutes": 0}, {"kind": "interval", "minutes": "60"},
                   {"kind": "once", "run_at": "soon"}, {"kind": "moon"}):
        with pytest.raises(ScheduleError):
            records.schedule_of({"id": "a", "schedule": stored}, UTC)


def test_a_run_of_a_clock_that_was_ahead_answers_no_one_shot() -> None:
    record = job(ONCE, last_run_at="2026-03-12T09:00:00+00:00")
    assert records.next_run(record, at("09T09:00:00"), UTC) == at("10T09:00:00")
    assert records.next_run(record, at("12T09:00:01"), UTC) is None


def test_dates_are_iso_or_unix_seconds() -> None:
    instant = datetime.datetime(2024, 3, 31, 15, 46, 40, tzinfo=datetime.UTC)
    for value in ("2024-03-31T15:46:40+00:00", "2024-03-31T17:46:40+02:00", "2024-03-31T15:46:40Z", 1711900000,
                  1711900000.0):
        assert records.instant(value) == instant
    for value in (None, "", "soon", True, [], {}, float("inf"), float("nan"), 1e300, "0001-01-01T00:00:00+14:00"):
        assert records.instant(value) is None, value


def test_the_state_is_whatever_of_the_agent_s_fields_says_so() -> None:
    for fields, state in (({}, "scheduled"), ({"enabled": True, "state": "scheduled"}, "scheduled"),
                          ({"enabled": False}, "paused"), ({"state": "paused"}, "paused"),
                          ({"state": "completed", "enabled": False}, "completed"),
                          ({"state": "completed"}, "completed")):
        assert records.state(job(**fields)) == state


def test_the_next_run_of_a_cron_job_is_its_coming_occurrence_in_its_zone() -> None:
    due = records.next_run(job(next_run_at="2026-01-01T00:00:00+00:00"), at("10T08:30:00"), BERLIN)
    assert due and due.isoformat() == "2026-03-11T09:00:00+01:00"


def test_the_next_run_of_an_interval_stays_on_its_grid_of_whole_seconds() -> None:
    record = job(HOURLY, next_run_at="2026-03-10T07:12:34.654321+00:00")
    assert records.next_run(record, at("10T09:00:00"), UTC) == at("10T09:12:34")
    assert records.next_run(record, at("10T09:12:34"), UTC) == at("10T10:12:34")


def test_a_one_shot_that_has_not_run_is_due_still() -> None:
    assert records.next_run(job(ONCE), at("11T00:00:00"), UTC) == at("10T09:00:00")


def test_only_a_scheduled_job_has_a_next_run() -> None:
    for fields in ({"enabled": False}, {"state": "paused"}, {"state": "completed"}):
        assert records.next_run(job(**fields), at("10T08:00:00"), UTC) is None


def test_a_run_that_went_well_is_recorded_with_its_successor() -> None:
    record = finished(job(last_error="old", last_delivery_error="old"), "10T09:00:03")
    assert {key: record[key] for key in ("last_run_at", "last_status", "last_error", "last_delivery_error", "state",
                                         "next_run_at", "repeat")} == {
        "last_run_at": "2026-03-10T09:00:03+00:00", "last_status": "ok", "last_error": None,
        "last_delivery_error": None, "state": "scheduled", "next_run_at": "2026-03-11T09:00:00+00:00",
        "repeat": {"times": None, "completed": 1}}


def test_a_run_that_failed_is_recorded_and_the_job_goes_on() -> None:
    record = finished(job(), "10T09:00:03", "exited with code 3.")
    assert (record["last_status"], record["last_error"]) == ("error", "exited with code 3.")
    assert record["next_run_at"] == "2026-03-11T09:00:00+00:00"


def test_occurrences_while_a_run_went_on_are_passed_over() -> None:
    record = finished(job(HOURLY, next_run_at="2026-03-10T09:00:00+00:00"), "10T12:30:00")
    assert record["next_run_at"] == "2026-03-10T13:00:00+00:00"


def test_an_interval_does_not_drift_with_the_length_of_its_runs() -> None:
    record = job(HOURLY, next_run_at="2026-03-10T09:00:00.999999+00:00")
    for ended, following in (("10T09:00:59", "10:00:00"), ("10T10:20:00", "11:00:00"), ("10T11:00:00", "12:00:00")):
        assert finished(record, ended)["next_run_at"] == f"2026-03-10T{following}+00:00"


def test_a_one_shot_is_completed_by_its_run_however_that_ended() -> None:
    for error in (None, "exited with code 1."):
        record = finished(job(ONCE), "10T09:00:01", error)
        assert (record["state"], record["enabled"], record["next_run_at"]) == ("completed", False, None)


def test_a_job_whose_repeat_is_used_up_is_completed() -> None:
    record = job(repeat={"times": 2, "completed": 0})
    assert finished(record, "10T09:00:01")["state"] == "scheduled"
    assert finished(record, "11T09:00:01")["repeat"] == {"times": 2, "completed": 2}
    assert (record["state"], record["enabled"], record["next_run_at"]) == ("completed", False, None)


def test_a_one_shot_given_another_time_while_it_ran_has_that_time_before_it() -> None:
    later = {"kind": "once", "run_at": "2026-03-10T12:00:00+00:00", "display": "x"}
    record = job(later, armed_at="2026-03-10T09:00:30+00:00", next_run_at=later["run_at"], state="scheduled",
                 repeat={"times": 1, "completed": 0})
    records.finish(record, at("10T09:00:00"), at("10T09:01:00"), UTC, None)
    assert (record["state"], record["next_run_at"], record["last_status"]) == ("scheduled", later["run_at"], "ok")
    assert records.is_due(record, at("10T12:00:00"), UTC)


def test_a_paused_job_that_was_run_by_hand_stays_paused() -> None:
    record = finished(job(enabled=False, state="paused", next_run_at=None), "10T09:00:01")
    assert (record["state"], record["enabled"], record["next_run_at"]) == ("paused", False, None)
    assert (record["last_status"], record["repeat"]["completed"]) == ("ok", 1)


def test_a_repeat_that_the_agent_wrote_otherwise_is_taken_as_for_ever() -> None:
    for repeat in (None, 3, {"times": None}, {"times": 0, "completed": None}):
        assert finished(job(repeat=repeat), "10T09:00:01")["repeat"]["completed"] == 1


def test_a_job_is_due_from_the_second_that_is_written_on() -> None:
    record = job(next_run_at="2026-03-10T09:00:00+00:00", last_run_at="2026-03-09T09:00:01+00:00")
    assert not records.is_due(record, at("10T08:59:59.999"), UTC)
    assert records.is_due(record, at("10T09:00:00"), UTC)
    assert records.is_due(record, at("12T00:00:00"), UTC)


def test_a_part_of_a_second_in_what_the_agent_wrote_does_not_make_a_timer_early() -> None:
    record = job(HOURLY, next_run_at="2026-03-10T09:00:00.654321+00:00", last_run_at="2026-03-10T08:00:00.654321+00:00")
    assert records.is_due(record, at("10T09:00:00.01"), UTC)
    assert not records.is_due(record, at("10T08:59:59"), UTC)


def test_a_job_that_nobody_has_written_a_next_run_for_is_due() -> None:
    for written in ({}, {"next_run_at": None}, {"next_run_at": "soon"}):
        assert records.is_due(job(**written), at("10T08:00:00"), UTC)


def test_an_occurrence_that_the_last_run_answered_is_not_due_again() -> None:
    record = finished(job(), "10T09:00:03")
    assert not records.is_due(record, at("10T09:00:04"), UTC)
    assert records.is_due(record, at("11T09:00:00"), UTC)


def test_a_clock_set_back_does_not_make_a_job_wait_for_a_date_that_was_never_meant() -> None:
    record = job(next_run_at="2027-06-02T09:00:00+00:00", last_run_at="2027-06-01T09:00:01+00:00",
                 created_at="2026-01-01T00:00:00+00:00")
    assert records.is_due(record, at("10T09:00:00.5"), UTC)
    assert not records.is_due(record, at("10T08:30:00"), UTC)
    assert not records.is_due(record, at("10T09:05:00"), UTC)


def test_a_clock_set_back_a_little_does_not_run_an_answered_occurrence_again() -> None:
    record = finished(job(), "10T09:00:03")
    assert not records.is_due(record, at("10T08:59:59"), UTC)


def test_an_occurrence_that_the_agent_s_own_scheduler_has_taken_is_not_due() -> None:
    record = job(next_run_at="2026-03-11T09:00:00+00:00", last_run_at="2026-03-09T09:00:03+00:00")
    assert not records.is_due(record, at("10T09:00:00.5"), UTC)


def test_a_claim_is_seen_by_the_agent_s_own_scheduler() -> None:
    recurring, once = job(next_run_at="2026-03-10T09:00:00+00:00"), job(ONCE)
    for record in (recurring, once):
        records.claim(record, at("10T09:00:00.5"), UTC)
    assert records.instant(recurring["next_run_at"]) == at("11T09:00:00")
    assert records.is_claimed(once, at("10T09:10:00")) and not records.is_claimed(once, at("10T09:40:00"))
    assert not records.is_claimed(once, at("10T08:00:00")) and not records.is_claimed(recurring, at("10T09:00:01"))
    records.drop_claims(once)
    assert not records.is_claimed(once, at("10T09:10:00"))


def test_a_one_shot_that_the_agent_has_counted_already_is_not_counted_twice() -> None:
    record = finished(job(ONCE, repeat={"times": 1, "completed": 1}), "10T09:00:03")
    assert record["repeat"] == {"times": 1, "completed": 1}
    assert record["state"] == "completed"
