"""A hold: the agent runs a job at a time of its own, because its quota is used up or the model was not reached."""

from typing import Any

import pytest

from hermes_oscron.jobs import lifecycle
from hermes_oscron.jobs.due import is_due, next_run
from hermes_oscron.jobs.model import Job
from hermes_oscron.jobs.record import HOLD_FIELDS, QUOTA, UNREACHABLE, hold_of
from hermes_oscron.jobs.view import to_json
from hermes_oscron.schedule.model import Schedule
from hermes_oscron.schedulers.plan import plan_of
from hermes_oscron.service.late import due_at

from .samples import DAILY, HOURLY, MINUTE, SECOND, after_run, at, job

NOW = at("10T09:00:10")
END = "2026-03-10T13:49:29.123456+00:00"
SCHEDULES = (DAILY, HOURLY)
QUOTA_FIELDS = {"quota_hold_until": END}
RECOVERY = {**QUOTA_FIELDS, "quota_hold_cron_expr": "0 9 * * *"}


def rung(schedule: Any) -> dict[str, Any]:
    return {"unreachable_retry": {"attempt": 1, "at": END, "expr": schedule.get("expr")}}


def held_jobs() -> list[Job]:
    return [job(schedule, next_run_at=END, **fields) for schedule in SCHEDULES
            for fields in (QUOTA_FIELDS, rung(schedule))] + [job(next_run_at=END, **RECOVERY)]


@pytest.mark.parametrize("held", held_jobs())
def test_a_hold_comes_before_the_schedule(held: Job) -> None:
    assert next_run(held, NOW) == held.next_run_at
    assert not is_due(held, NOW) and not is_due(held, at("10T13:49:00")) and is_due(held, at("10T13:49:30"))
    plan = plan_of(held, NOW)
    assert plan and plan.schedule == Schedule("once", "2026-03-10T13:49:30+00:00"), "a part of a second is rounded up"
    assert (due_at(held, SECOND), due_at(held, MINUTE)) == (at("10T13:49:30"), at("10T13:50:00"))
    shown = to_json(held, NOW, SECOND)
    assert (shown["state"], shown["next_run_at"]) == ("scheduled", "2026-03-10T13:49:30+00:00")
    hold = hold_of(held.record)
    assert hold and shown["held"] == f"held until 2026-03-10 13:49 UTC: {hold.reason}"


@pytest.mark.parametrize("held", held_jobs())
def test_a_sync_and_a_run_that_the_agent_recorded_keep_a_hold_to_the_letter(held: Job) -> None:
    before = held.with_fields({"next_run_at": "2026-03-10T09:00:00+00:00"})
    assert lifecycle.refresh_next_run(held, NOW, SECOND) is held
    assert lifecycle.correct_after_agent(held, before, NOW) is held
    assert lifecycle.undo(held.with_fields({"last_run_at": END}), before, before, NOW).record["next_run_at"] == END


@pytest.mark.parametrize("held", held_jobs())
def test_a_run_by_hand_ends_a_hold_if_it_goes_well(held: Job) -> None:
    failed = after_run(held, "10T09:30:00", "interrupted")
    assert hold_of(failed.record) == hold_of(held.record) and failed.record["next_run_at"] == END
    fine = after_run(held, "10T09:30:00")
    assert hold_of(fine.record) is None and not fine.record.keys() & set(HOLD_FIELDS)
    assert fine.next_run_at and fine.next_run_at != held.next_run_at


@pytest.mark.parametrize("held", held_jobs())
def test_the_run_at_the_end_of_a_hold_leads_back_to_the_schedule(held: Job) -> None:
    after = plan_of(after_run(held, "10T13:49:40", "no"), at("10T13:49:41"))
    assert after and after.schedule == held.schedule


@pytest.mark.parametrize("held", held_jobs())
def test_another_schedule_or_state_ends_a_hold(held: Job) -> None:
    hourly = lifecycle.edit(held, {}, Schedule("cron", "30 * * * *"), NOW, SECOND)
    assert not hourly.record.keys() & set(HOLD_FIELDS) and hourly.next_run_at == at("10T09:30:00")
    paused = lifecycle.pause(held, None, NOW)
    assert hold_of(paused.record) is None
    assert hold_of(lifecycle.resume(paused, NOW, SECOND).record) is None
    assert lifecycle.edit(held, {"name": "other"}, None, NOW, SECOND).record["next_run_at"] == END


@pytest.mark.parametrize("fields", [
    {"quota_hold_until": "2026-03-10T13:49:29+00:00"}, {"quota_hold_until": None}, {"quota_hold_until": 5},
    {**RECOVERY, "quota_hold_cron_expr": "0 8 * * *"}, {"unreachable_retry": END},
    {"unreachable_retry": {"at": END, "expr": "0 8 * * *"}}, {"unreachable_retry": {"at": None, "expr": "0 9 * * *"}},
    {"unreachable_retry": {"at": END}},
])
def test_what_does_not_match_the_record_is_not_a_hold(fields: dict[str, Any]) -> None:
    free = job(next_run_at=END, **fields)
    assert hold_of(free.record) is None and to_json(free, NOW, SECOND)["held"] is None
    assert next_run(free, NOW) == at("11T09:00:00")
    assert lifecycle.refresh_next_run(free, NOW, SECOND).next_run_at == at("11T09:00:00")


def test_the_reason_is_the_field_that_holds_the_job() -> None:
    assert [hold.reason for held in held_jobs() if (hold := hold_of(held.record))] == [
        QUOTA, UNREACHABLE, QUOTA, UNREACHABLE, QUOTA]
