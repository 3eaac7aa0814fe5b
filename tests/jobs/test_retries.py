"""The retries of a run that failed, by the policy of its job."""

import datetime
from typing import Any

import pytest

from hermes_oscron.jobs.due import next_run
from hermes_oscron.jobs.lifecycle import record_run
from hermes_oscron.jobs.model import Job
from hermes_oscron.jobs.record import hold_of
from hermes_oscron.jobs.retries import Failure, with_retry

from .samples import DAILY, HOURLY, ONCE, SECOND, at, job

DUE, ENDED = at("10T09:00:00"), at("10T09:10:00")


def failed(policy: dict[str, Any], schedule: Any = DAILY, outcome: str = "error", code: int | None = 1, retry: int = 0,
           due: datetime.datetime = DUE, ended: datetime.datetime = ENDED, **fields: Any) -> Job:
    """Return a job on `schedule` after a run that failed."""
    before = job(schedule, policy=policy, created_at=at("01T09:00:00").isoformat(),
                 **{"next_run_at": at("11T09:00:00").isoformat(), **fields})
    after = record_run(before, ended - SECOND, ended, "it failed", due=due)
    return with_retry(before, after, Failure(outcome, code, due, retry, ended))


@pytest.mark.parametrize(("policy", "retry", "delay_s"), [
    ({"retries": 3}, 0, 60), ({"retries": 3}, 1, 120), ({"retries": 3}, 2, 240),
    ({"retries": 1, "retry_delay": 600}, 0, 600), ({"retries": 9, "retry_delay": 10, "retry_backoff": 1}, 8, 10),
    ({"retries": 9, "retry_delay": 10, "retry_backoff": 3}, 2, 90)])
def test_a_retry_is_due_after_a_delay_that_grows(policy: dict[str, Any], retry: int, delay_s: int) -> None:
    held = failed(policy, retry=retry)
    expected = ENDED + datetime.timedelta(seconds=delay_s + 1)
    assert held.next_run_at == next_run(held, ENDED) == expected
    hold = hold_of(held.record)
    assert hold and hold == (expected, f"retry {retry + 1} of {policy['retries']}", retry + 1, DUE)


@pytest.mark.parametrize(("policy", "outcome", "code", "is_retried"), [
    ({}, "error", 1, True), ({}, "timeout", None, True), ({}, "interrupted", None, True), ({}, "stopped", None, False),
    ({"retry_on": ["timeout"]}, "timeout", None, True), ({"retry_on": ["timeout"]}, "error", 1, False),
    ({"retry_on": [75]}, "error", 75, True), ({"retry_on": [75]}, "error", 1, False),
    ({"retry_on": []}, "error", 1, False)])
def test_some_failures_are_retried(policy: dict[str, Any], outcome: str, code: int | None, is_retried: bool) -> None:
    held = failed({"retries": 1, **policy}, outcome=outcome, code=code)
    assert (hold_of(held.record) is not None) == is_retried
    assert is_retried or held.next_run_at == at("11T09:00:00")


def test_after_the_last_retry_and_without_a_policy_the_schedule_decides() -> None:
    for policy, retry in (({}, 0), ({"retries": 0}, 0), ({"retries": 2}, 2)):
        done = failed(policy, retry=retry)
        assert hold_of(done.record) is None and done.next_run_at == at("11T09:00:00")


def test_the_next_occurrence_ends_the_retries() -> None:
    minutely = {"kind": "cron", "expr": "* * * * *"}
    assert hold_of(failed({"retries": 3}, minutely).record) is None
    assert hold_of(failed({"retries": 3, "retry_delay": 10}, minutely).record)


def test_a_retry_of_the_agent_is_not_multiplied() -> None:
    before = job(policy={"retries": 3}, next_run_at=at("10T09:30:00").isoformat(),
                 unreachable_retry={"attempt": 1, "at": at("10T09:30:00").isoformat(), "expr": DAILY["expr"]})
    assert with_retry(before, before, Failure("error", 1, DUE, 0, ENDED)) is before


def test_an_interval_keeps_its_phase() -> None:
    held = failed({"retries": 3}, HOURLY, next_run_at=at("10T10:00:00").isoformat())
    assert held.next_run_at == ENDED + datetime.timedelta(seconds=61) and held.phase == DUE


@pytest.mark.parametrize(("schedule", "repeat"), [(ONCE, {"times": 1, "completed": 0}),
                                                  (DAILY, {"times": 3, "completed": 2})])
def test_the_last_run_of_a_job_is_retried_and_counts_once(schedule: Any, repeat: dict[str, int]) -> None:
    held = failed({"retries": 1}, schedule, repeat=repeat)
    assert held.is_scheduled and held.repeat == (repeat["times"], repeat["completed"])
    assert next_run(held, ENDED) == ENDED + datetime.timedelta(seconds=61)
    done = failed({"retries": 1}, schedule, repeat=repeat, retry=1)
    assert done.state == "completed" and done.repeat.completed == repeat["completed"] + 1


def test_a_job_that_was_paused_or_rescheduled_during_the_run_is_not_retried() -> None:
    assert hold_of(failed({"retries": 1}, enabled=False, state="paused", next_run_at=None).record) is None
