"""The budget of a job: from when it counts, and when it is exhausted."""

from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.jobs.budget import budget_of, skip_exhausted

from .samples import BERLIN, ONCE, UTC, at, job


@pytest.mark.parametrize(("words", "zone", "since"), [
    ("2 USD per day", UTC, "10T00:00:00"), ("2 USD per day", BERLIN, "10T23:00:00"),
    ("2 USD per month", UTC, "01T00:00:00")])
def test_a_day_or_month_begins_in_the_zone_of_the_job(words: str, zone: ZoneInfo, since: str) -> None:
    budget = budget_of(job(zone=zone, policy={"budget": words}), at("10T23:30:00"))
    assert budget and (budget.amount, budget.key, budget.since) == (2.0, "estimated_cost_usd", at(since))


def test_a_job_without_the_key_has_no_budget() -> None:
    assert budget_of(job(policy={"timeout": 5}), at("10T09:00:00")) is None


def test_a_job_is_due_again_after_an_occurrence_for_which_nothing_is_left() -> None:
    now, due = at("10T09:00:01"), at("10T09:00:00").isoformat()
    daily = job(policy={"budget": "100 tokens per day"}, next_run_at=due)
    budget = budget_of(daily, now)
    assert budget and skip_exhausted(daily, now, budget, 99) == (daily, "")
    after, reason = skip_exhausted(daily, now, budget, 1_234_567)
    assert after.next_run_at == at("11T09:00:00")
    assert reason == ("The budget of the job is exhausted: of 100 tokens per day, its runs have used 1234567 since "
                      "2026-03-10 00:00:00 UTC.")
    requested = daily.with_fields({"manual_run_at": daily.record["next_run_at"]})
    assert skip_exhausted(requested, now, budget, 100) == (requested, ""), "'hermes cron run' is a request"


def test_a_one_shot_for_which_nothing_is_left_is_completed() -> None:
    now = at("10T09:00:00")
    once = job(ONCE, policy={"budget": "1 USD per day"}, next_run_at=now.isoformat())
    budget = budget_of(once, now)
    assert budget and skip_exhausted(once, now, budget, 1.0)[0].state == "completed"
