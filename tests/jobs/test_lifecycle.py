from typing import Any

import pytest

from hermes_oscron.jobs import claiming, lifecycle
from hermes_oscron.jobs.due import is_due
from hermes_oscron.jobs.fields import ValidationError
from hermes_oscron.jobs.model import Job
from hermes_oscron.schedule.model import Schedule, ScheduleError

from .samples import BERLIN, DAILY, HOURLY, MINUTE, ONCE, SECOND, UTC, after_run, at, job

NOW = at("09T12:00:30")


def created(schedule: Schedule, **fields: Any) -> Job:
    return lifecycle.create("default", "a", {"prompt": "p", **fields}, schedule, UTC, NOW, SECOND)


def test_a_new_job_is_due_at_its_first_occurrence() -> None:
    daily = created(Schedule("cron", "0 9 * * *"))
    assert (daily.state, daily.next_run_at, daily.repeat) == ("scheduled", at("10T09:00:00"), (None, 0))
    assert daily.record["created_at"] == NOW.isoformat() and daily.record["name"] == "p"


def test_an_interval_counts_from_its_creation_on_the_grid_of_the_scheduler() -> None:
    every = Schedule("interval", "every 1h")
    assert created(every).next_run_at == at("09T13:00:30")
    by_cron = lifecycle.create("default", "a", {"prompt": "p"}, every, UTC, NOW, MINUTE)
    assert by_cron.next_run_at == at("09T13:00:00")


def test_a_one_shot_runs_once_unless_the_client_sets_repeat() -> None:
    once = Schedule("once", ONCE["run_at"])
    assert created(once).repeat == (1, 0)
    assert created(once, repeat=3).repeat == (3, 0)


@pytest.mark.parametrize(("overlap", "following"), [
    (None, "10T14:00:00"), ("skip", "10T14:00:00"), ("queue", "10T12:00:00"), ("replace", "10T12:00:00")])
def test_an_occurrence_during_a_run_is_due_after_it_by_the_policy(overlap: str | None, following: str) -> None:
    hourly = job({"kind": "cron", "expr": "0 * * * *"}, next_run_at=at("10T11:00:00").isoformat())
    hourly = hourly.with_policy({"overlap": overlap})
    began, ended = at("10T11:00:01"), at("10T13:30:00")
    after = lifecycle.record_run(hourly, began, ended, None)
    assert after.next_run_at == at(following)
    by_agent = lifecycle.correct_after_agent(after.with_fields({"next_run_at": None}), hourly, ended, began)
    assert by_agent.next_run_at == at(following)
    short = lifecycle.record_run(hourly, began, at("10T11:59:59"), None)
    assert short.next_run_at == at("10T12:00:00")


def test_a_job_is_paused_after_so_many_failures_in_a_row() -> None:
    daily = job(policy={"pause_after": 2}, next_run_at=at("10T09:00:00").isoformat(), failure_streak=1)
    failed = after_run(daily, "10T09:00:02", "no")
    paused = lifecycle.pause_if_failing(daily, failed, "no", at("10T09:00:02"))
    assert (paused.state, paused.next_run_at) == ("paused", None)
    assert paused.record["paused_reason"] == "Paused by its policy after 2 failed runs in a row. The last one: no"
    resumed = lifecycle.resume(paused, at("10T12:00:00"), SECOND)
    assert resumed.is_scheduled and resumed.record["failure_streak"] == 0
    well = lifecycle.pause_if_failing(daily, after_run(daily, "10T09:00:02"), None, at("10T09:00:02"))
    assert well.is_scheduled and well.record["failure_streak"] == 0
    by_agent = lifecycle.pause_if_failing(daily, daily, "no", at("10T09:00:02"))
    assert by_agent.state == "paused", "the agent 0.19 does not count the failures"
    held = failed.with_fields({"policy_retry": {"at": failed.record["next_run_at"], "expr": DAILY["expr"], "retry": 1,
                                                "of": 2, "due": at("10T09:00:00").isoformat()}})
    assert lifecycle.pause_if_failing(daily, held, "no", at("10T09:00:02")) is held
    without = failed.without_fields("policy")._replace(policy={})
    assert lifecycle.pause_if_failing(daily, without, "no", NOW).is_scheduled


def test_a_job_may_be_created_paused() -> None:
    paused = created(Schedule("cron", "0 9 * * *"), enabled=False)
    assert (paused.state, paused.next_run_at) == ("paused", None)


def test_a_job_needs_something_to_run() -> None:
    for fields in ({"prompt": " "}, {"prompt": "", "script": "x.sh"}, {"no_agent": True}):
        with pytest.raises(ValidationError, match="is missing"):
            created(Schedule("cron", "0 9 * * *"), **fields)


def test_an_edit_changes_only_the_given_fields() -> None:
    before = job(name="old", model="m", colour="red", deliver="telegram")
    after = lifecycle.edit(before, {"name": "new", "model": ""}, None, NOW, SECOND)
    assert after.record == {**before.record, "name": "new", "model": None}


def test_an_edit_with_the_same_schedule_keeps_the_next_run() -> None:
    before = job(HOURLY, next_run_at="2026-03-09T12:30:00+00:00")
    assert lifecycle.edit(before, {}, Schedule("interval", "every 1h"), NOW, SECOND).next_run_at == at("09T12:30:00")
    assert lifecycle.edit(before, {}, Schedule("interval", "every 2h"), NOW, SECOND).next_run_at == at("09T14:00:30")


def test_a_new_schedule_makes_a_completed_job_due_again() -> None:
    done = job(ONCE, state="completed", enabled=False, repeat={"times": 1, "completed": 1})
    again = lifecycle.edit(done, {}, Schedule("cron", "0 9 * * *"), NOW, SECOND)
    assert (again.state, again.repeat, again.next_run_at) == ("scheduled", (None, 0), at("10T09:00:00"))


def test_pause_and_resume() -> None:
    paused = lifecycle.pause(job(next_run_at="2026-03-10T09:00:00+00:00"), "holiday", NOW)
    assert (paused.state, paused.record["paused_reason"], paused.next_run_at) == ("paused", "holiday", None)
    assert lifecycle.pause(paused, "other", NOW) == paused
    resumed = lifecycle.resume(paused, at("12T12:00:00"), SECOND)
    assert (resumed.state, resumed.next_run_at, resumed.record["paused_at"]) == ("scheduled", at("13T09:00:00"), None)
    assert lifecycle.resume(resumed, NOW, SECOND) == resumed


def test_a_one_shot_in_the_past_cannot_be_resumed() -> None:
    with pytest.raises(ScheduleError, match="is past"):
        lifecycle.resume(job(ONCE, enabled=False), at("11T00:00:00"), SECOND)


def test_only_a_job_with_runs_left_is_resumed_after_completion() -> None:
    for repeat, state in (({"times": 2, "completed": 2}, "completed"), ({"times": None, "completed": 2}, "scheduled"),
                          ({"times": 3, "completed": 2}, "scheduled")):
        assert lifecycle.resume(job(state="completed", repeat=repeat), NOW, SECOND).state == state


def test_a_successful_run_is_recorded_with_the_next_occurrence() -> None:
    after = after_run(job(last_error="old", last_delivery_error="old"), "10T09:00:03").record
    assert {key: after[key] for key in ("last_run_at", "last_status", "last_error", "last_delivery_error", "state",
                                        "next_run_at", "repeat")} == {
        "last_run_at": "2026-03-10T09:00:03+00:00", "last_status": "ok", "last_error": None,
        "last_delivery_error": None, "state": "scheduled", "next_run_at": "2026-03-11T09:00:00+00:00",
        "repeat": {"times": None, "completed": 1}}


def test_a_failed_run_is_recorded_and_the_job_stays_scheduled() -> None:
    after = after_run(job(), "10T09:00:03", "exited with code 3.")
    assert (after.record["last_status"], after.record["last_error"]) == ("error", "exited with code 3.")
    assert after.next_run_at == at("11T09:00:00")


def test_occurrences_during_a_run_are_skipped() -> None:
    after = after_run(job(HOURLY, next_run_at="2026-03-10T09:00:00+00:00"), "10T12:30:00")
    assert after.next_run_at == at("10T13:00:00")


def test_an_interval_does_not_drift_with_the_length_of_its_runs() -> None:
    hourly = job(HOURLY, next_run_at="2026-03-10T09:00:00.999999+00:00")
    for ended, following in (("10T09:00:59", "10:00:00"), ("10T10:20:00", "11:00:00"), ("10T11:00:00", "12:00:00")):
        hourly = after_run(hourly, ended)
        assert hourly.next_run_at == at(f"10T{following}")


def test_any_end_of_its_run_completes_a_one_shot() -> None:
    for error in (None, "exited with code 1."):
        done = after_run(job(ONCE), "10T09:00:01", error)
        assert (done.state, done.record["enabled"], done.next_run_at) == ("completed", False, None)


def test_a_job_whose_repeat_is_used_up_is_completed() -> None:
    once_more = after_run(job(repeat={"times": 2, "completed": 0}), "10T09:00:01")
    assert once_more.state == "scheduled"
    done = after_run(once_more, "11T09:00:01")
    assert (done.state, done.repeat, done.next_run_at) == ("completed", (2, 2), None)
    assert done.record["enabled"] is False


def test_a_repeat_that_is_not_a_count_means_no_limit() -> None:
    for repeat in (None, "forever", {"times": None}, {"times": 0, "completed": None}):
        assert after_run(job(repeat=repeat), "10T09:00:01").repeat == (None, 1)


def test_a_one_shot_that_the_agent_has_counted_is_not_counted_twice() -> None:
    done = after_run(job(ONCE, repeat={"times": 1, "completed": 1}), "10T09:00:03")
    assert (done.repeat, done.state) == ((1, 1), "completed")


def test_a_one_shot_rescheduled_during_its_run_keeps_its_new_time() -> None:
    later = {**ONCE, "run_at": "2026-03-10T12:00:00+00:00"}
    before = job(later, armed_at="2026-03-10T09:00:30+00:00", next_run_at=later["run_at"], state="scheduled",
                 repeat={"times": 1, "completed": 0})
    after = lifecycle.record_run(before, at("10T09:00:00"), at("10T09:01:00"), None)
    assert (after.state, after.next_run_at, after.record["last_status"]) == ("scheduled", at("10T12:00:00"), "ok")
    assert is_due(after, at("10T12:00:00"))


def test_a_paused_job_that_was_run_by_hand_stays_paused() -> None:
    after = after_run(job(enabled=False, state="paused", next_run_at=None), "10T09:00:01")
    assert (after.state, after.record["enabled"], after.next_run_at) == ("paused", False, None)
    assert (after.record["last_status"], after.repeat.completed) == ("ok", 1)


def test_a_run_of_a_job_without_a_usable_schedule_is_recorded_with_the_reason() -> None:
    after = after_run(job({"kind": "moon"}), "10T09:00:01")
    assert after.record["state"] == "error" and "not a schedule" in after.record["last_error"]


@pytest.mark.parametrize(("began", "schedule", "kind", "late_s"), [
    ("10T09:00:00.5", DAILY, "on_time", 0.5), ("10T09:05:01", DAILY, "late", 301),
    ("10T11:00:01", DAILY, "catch_up", 7201),
    ("10T09:02:01", HOURLY, "on_time", 121), ("10T09:30:01", HOURLY, "catch_up", 1801),
    ("10T09:02:01", {"kind": "cron", "expr": "* * * * *"}, "catch_up", 121),
])
def test_a_claim_moves_the_next_run_and_notes_how_late_the_run_began(
        began: str, schedule: dict[str, Any], kind: str, late_s: float) -> None:
    due = "2026-03-10T09:00:00+00:00"
    claimed = claiming.claim(job(schedule, next_run_at=due), at(began), "host:1:2.5", scheduled=True, occurrence=True)
    assert claimed.next_run_at and claimed.next_run_at > at(began)
    assert claimed.record["fire_claim"] == {"at": at(began).isoformat(), "by": "host:1:2.5"}
    assert claimed.record["last_dispatch"] == {"scheduled_at": due, "dispatched_at": at(began).isoformat(),
                                               "lateness_seconds": late_s, "kind": kind}


def test_a_run_requested_through_the_agent_is_not_late() -> None:
    due = "2026-03-10T09:00:00.123456+00:00"
    requested = job(next_run_at=due, manual_run_at=due, manual_run_prompt="Be brief.")
    claimed = claiming.claim(requested, at("10T09:10:00"), "host:1:2.5", scheduled=True, occurrence=True)
    assert "last_dispatch" not in claimed.record and claimed.record["manual_run_prompt"] == "Be brief."
    after = after_run(claimed, "10T09:11:00").record
    assert "manual_run_at" not in after and "manual_run_prompt" not in after


def test_failures_are_counted_as_the_agent_counts_them() -> None:
    failed = after_run(after_run(job(), "10T09:00:03", "no"), "11T09:00:03", "still no")
    assert failed.record["failure_streak"] == 2
    well = after_run(failed, "12T09:00:03").record
    assert well["failure_streak"] == 0
    assert well["last_failure"] == {"at": "2026-03-11T09:00:03+00:00", "detail": "still no"}


def test_a_run_that_went_well_and_was_not_delivered_is_not_a_failure() -> None:
    moment = at("10T09:00:03")
    after = lifecycle.record_run(job(), moment, moment, None, "no such chat").record
    assert (after["last_status"], after["last_error"], after["last_delivery_error"]) == (
        "delivery_failed", None, "no such chat")


def test_an_occurrence_that_a_scheduler_took_is_dropped_by_every_change_of_the_schedule() -> None:
    taken = job(pending_slot={"scheduled_at": "2026-03-09T09:00:00+00:00", "at": "x", "by": "x"})
    for after in (lifecycle.pause(taken, None, NOW), after_run(taken, "10T09:00:03"),
                  lifecycle.edit(taken, {}, Schedule("cron", "0 8 * * *"), NOW, SECOND),
                  lifecycle.resume(taken.with_fields({"enabled": False}), NOW, SECOND)):
        assert "pending_slot" not in after.record


def test_a_paused_one_shot_that_was_run_by_hand_is_still_to_run() -> None:
    paused = job(ONCE, enabled=False, state="paused", next_run_at=None, repeat={"times": 1, "completed": 0})
    after = after_run(paused, "09T09:00:01")
    assert (after.state, after.repeat, after.record["last_status"]) == ("paused", (1, 0), "ok")
    completed = paused.with_fields({"state": "completed", "repeat": {"times": 1, "completed": 1}, "last_status": "ok"})
    again = lifecycle.correct_after_agent(completed, paused, at("09T09:00:01"))
    assert (again.state, again.repeat, again.record["enabled"], again.record["last_status"]) == (
        "paused", (1, 0), False, "ok")


def test_a_one_shot_that_is_resumed_during_its_run_by_hand_is_still_to_run() -> None:
    """A newer agent completes it at the end of the run."""
    paused = job(ONCE, state="paused", enabled=False, repeat={"times": 1, "completed": 0})
    completed = paused.with_fields({"state": "completed", "repeat": {"times": 1, "completed": 1},
                                    "armed_at": "2026-03-09T09:00:00.500000+00:00"})
    again = lifecycle.correct_after_agent(completed, paused, at("09T09:00:01"))
    assert (again.state, again.repeat, again.next_run_at) == ("scheduled", (1, 0), at("10T09:00:00"))
    assert lifecycle.correct_after_agent(completed, paused, at("10T09:00:01")).state == "paused", "its time is over"


def test_the_agent_s_arithmetic_is_replaced_after_its_run() -> None:
    before = job(HOURLY, next_run_at="2026-03-10T09:00:00+00:00")
    recorded = before.with_fields({"next_run_at": "2026-03-10T10:07:00+00:00"})
    assert lifecycle.correct_after_agent(recorded, before, at("10T09:07:00")).next_run_at == at("10T10:00:00")
    paused = recorded.with_fields({"state": "paused"})
    assert lifecycle.correct_after_agent(paused, before, at("10T09:07:00")).next_run_at is None
    rescheduled = recorded.with_fields({"armed_at": "2026-03-10T09:01:00+00:00"})
    assert lifecycle.correct_after_agent(rescheduled, before, at("10T09:07:00")) == rescheduled


def test_a_next_run_written_by_another_program_is_replaced() -> None:
    for written in (None, "2026-03-10T11:17:00+00:00"):
        fresh = lifecycle.refresh_next_run(job(zone=BERLIN, next_run_at=written), NOW, SECOND)
        assert fresh.record["next_run_at"] == "2026-03-10T09:00:00+01:00"


def test_a_due_job_and_one_that_needs_no_refreshing_stay_as_they_are() -> None:
    for same in (job(next_run_at="2026-03-09T09:00:00+00:00"), job(enabled=False), job({"kind": "moon"}),
                 job(next_run_at="2026-03-10T09:00:00+00:00")):
        assert lifecycle.refresh_next_run(same, NOW, SECOND) is same


def test_a_one_shot_that_has_run_is_completed() -> None:
    done = lifecycle.refresh_next_run(job(ONCE, last_run_at="2026-03-10T09:00:01+00:00"), at("11T09:00:00"), SECOND)
    assert (done.state, done.record["enabled"]) == ("completed", False)


def test_undo_reverts_the_command_and_keeps_a_run_that_ended_since() -> None:
    before = job(next_run_at="2026-03-09T09:00:00+00:00", name="old")
    after = lifecycle.edit(before, {"name": "new"}, Schedule("cron", "0 8 * * *"), NOW, SECOND)
    assert lifecycle.undo(after, before, after, NOW).record == before.record
    ran = lifecycle.undo(after_run(after, "09T12:00:40"), before, after, at("09T12:00:41"))
    assert (ran.record["name"], ran.schedule, ran.record["last_status"]) == ("old", job(DAILY).schedule, "ok")
    assert ran.next_run_at == at("10T09:00:00")


def test_undo_keeps_the_next_run_of_a_job_with_an_unreadable_schedule() -> None:
    before = job({"kind": "moon"}, next_run_at="2026-03-10T09:00:00+00:00", name="old")
    after = before.with_fields({"name": "new"})
    ran = after.with_fields({"last_run_at": "2026-03-09T12:00:40+00:00"})
    undone = lifecycle.undo(ran, before, after, at("09T12:00:41"))
    assert undone.record["name"] == "old" and undone.next_run_at == before.next_run_at
