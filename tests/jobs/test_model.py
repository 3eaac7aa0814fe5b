import datetime
from typing import Any

import pytest

from hermes_oscron.jobs import record
from hermes_oscron.jobs.model import Job, stored_schedule
from hermes_oscron.schedule.display import display_schedule
from hermes_oscron.schedule.model import Schedule
from hermes_oscron.schedule.parse import parse_schedule

from .samples import BERLIN, DAILY, HOURLY, ONCE, UTC, job

NOW = datetime.datetime(2026, 3, 10, 8, 15, tzinfo=datetime.UTC)


def test_the_agent_s_schedules_are_parsed() -> None:
    for stored, schedule in ((DAILY, Schedule("cron", "0 9 * * *")), (HOURLY, Schedule("interval", "every 1h")),
                             (ONCE, Schedule("once", "2026-03-10T09:00:00+00:00")),
                             ({"kind": "cron", "expr": "0 9 * * MON-FRI"}, Schedule("cron", "0 9 * * 1-5")),
                             ({"kind": "interval", "minutes": 90}, Schedule("interval", "every 90m"))):
        assert job(stored).schedule == schedule


@pytest.mark.parametrize(("expr", "read"), [
    ("5-5 9 3-3 * *", "0-59 9 1-31 * *"), ("0 9 * * mon-mon", "0 9 * * 0-6"), ("0 9 * 3-3/2 *", "0 9 * 1-12/2 *"),
    ("0 9 * * 1-5 0", "0 9 * * 1-5"), ("0 0 12 * * *", "0 0 12 * *"),
])
def test_an_expression_that_is_refused_today_fires_as_the_agent_reads_it(expr: str, read: str) -> None:
    schedule = job({"kind": "cron", "expr": expr}).schedule
    assert schedule == Schedule("cron", read) == parse_schedule(display_schedule(schedule, UTC), UTC, NOW)


@pytest.mark.parametrize("expr", ["0 0 12 * * ?", "0 9 * * * 60", "0 9 * * * 0 2027"])
def test_a_sixth_field_that_is_not_a_second_cannot_be_used(expr: str) -> None:
    assert job({"kind": "cron", "expr": expr}).schedule is None


def test_a_one_shot_is_in_the_zone_of_the_job() -> None:
    assert job(ONCE, BERLIN).schedule == Schedule("once", "2026-03-10T10:00:00+01:00")


def test_a_stored_schedule_parses_back() -> None:
    for schedule in (Schedule("cron", "0 9 * * 1-5"), Schedule("interval", "every 2h"),
                     Schedule("interval", "every 90m"), Schedule("once", "2026-03-10T10:00:00+01:00")):
        assert job(stored_schedule(schedule, BERLIN), BERLIN).schedule == schedule


@pytest.mark.parametrize("stored", [
    None, "0 9 * * *", {}, {"kind": "cron"}, {"kind": "cron", "expr": "61 * * * *"}, {"kind": "moon"},
    {"kind": "interval", "minutes": 0}, {"kind": "interval", "minutes": "60"}, {"kind": "once", "run_at": "soon"},
    {"kind": "cron", "expr": f"0 9 * * 1#{'9' * 5000}"}, {"kind": "interval", "minutes": 10**30},
])
def test_an_unusable_schedule_is_a_value_with_a_reason(stored: Any) -> None:
    broken = job(stored)
    assert broken.schedule is None and broken.schedule_error


def test_unknown_keys_are_preserved() -> None:
    changed = job(colour={"deep": [1]}).with_schedule(Schedule("cron", "0 8 * * *")).with_fields({"name": "x"})
    assert changed.record["colour"] == {"deep": [1]}


def test_a_change_does_not_modify_the_original_job() -> None:
    before = job(name="old", repeat={"times": 3, "completed": 1, "more": True})
    after = before.with_fields({"name": "new"}).with_repeat(4, 2)
    assert before.record["name"] == "old" and before.repeat == (3, 1)
    assert after.record["repeat"] == {"times": 4, "completed": 2, "more": True}


def test_dates_are_iso_texts_or_unix_seconds() -> None:
    moment = datetime.datetime(2024, 3, 31, 15, 46, 40, tzinfo=datetime.UTC)
    for value in ("2024-03-31T15:46:40+00:00", "2024-03-31T17:46:40+02:00", "2024-03-31T15:46:40Z", 1711900000,
                  1711900000.0):
        assert record.instant(value) == moment
    for value in (None, "", "soon", True, [], {}, float("inf"), float("nan"), 1e300, "0001-01-01T00:00:00+14:00"):
        assert record.instant(value) is None, value


def test_the_state_is_read_from_any_field_that_the_agent_uses() -> None:
    for fields, state in (({}, "scheduled"), ({"enabled": True, "state": "scheduled"}, "scheduled"),
                          ({"enabled": False}, "paused"), ({"state": "paused"}, "paused"),
                          ({"state": "completed", "enabled": False}, "completed"),
                          ({"state": "completed"}, "completed")):
        assert job(**fields).state == state


def test_a_repeat_count_of_another_form_is_not_a_limit() -> None:
    for repeat in (None, "often", -1, [3], {"times": None}, {"times": 0, "completed": None}, {"times": float("nan")}):
        assert job(repeat=repeat).repeat == (None, 0)


def test_a_job_is_parsed_only_from_its_record() -> None:
    parsed = Job.from_record("work", {"id": "x", "schedule": DAILY}, UTC)
    assert (parsed.id, parsed.instance, parsed.is_scheduled) == ("x", "work:x", True)
