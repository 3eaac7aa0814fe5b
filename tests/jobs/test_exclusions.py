"""The days on which a job does not run by its policy."""

import datetime
from typing import Any

import pytest

from hermes_oscron.jobs.exclusions import NotADay, days_in, days_in_file, skip_excluded
from hermes_oscron.jobs.model import Job

from .samples import DAILY, HOURLY, ONCE, at, job

CHRISTMAS = [days_in("2026-03-10..2026-03-12")]


def skipped(schedule: Any = DAILY, due: str = "10T09:00:00", now: str = "10T09:00:01", excluded: Any = CHRISTMAS,
            **policy: Any) -> tuple[Job, str]:
    return skip_excluded(job(schedule, policy=policy, next_run_at=at(due).isoformat()), at(now), excluded)


def test_an_occurrence_on_an_excluded_day_is_skipped() -> None:
    after, reason = skipped()
    assert (after.next_run_at, reason) == (at("11T09:00:00"), "2026-03-10 is excluded by the policy of the job.")
    assert skipped(due="09T09:00:00", now="09T09:00:01")[1] == ""


def test_of_several_missed_occurrences_the_first_that_is_not_excluded_is_due() -> None:
    assert skipped(now="14T12:00:00")[0].next_run_at == at("13T09:00:00")
    assert skipped(now="12T12:00:00")[0].next_run_at == at("13T09:00:00")


def test_a_job_runs_from_its_first_day_on() -> None:
    after, reason = skipped(excluded=[], not_before="2026-03-12")
    assert after.next_run_at == at("11T09:00:00") and "is before 2026-03-12, the first day" in reason
    assert skipped(excluded=[], not_before="2026-03-10")[1] == ""


def test_a_job_is_completed_after_its_last_day() -> None:
    assert skipped(excluded=[], not_after="2026-03-10")[1] == ""
    after, reason = skipped(excluded=[], not_after="2026-03-09")
    assert after.state == "completed" and "is after 2026-03-09, the last day" in reason


def test_a_one_shot_on_an_excluded_day_is_completed() -> None:
    assert skipped(ONCE)[0].state == "completed"
    once = {**ONCE, "run_at": "2026-03-10T09:00:00.250000+00:00"}
    assert skipped(once, due="10T09:00:00.250000", now="10T09:00:02")[0].state == "completed", "the agent's own time"


@pytest.mark.parametrize(("schedule", "policy"), [(DAILY, {}), (ONCE, {}), (DAILY, {"not_after": "2026-03-09"})])
def test_a_run_that_the_agent_has_requested_is_not_skipped(schedule: Any, policy: dict[str, Any]) -> None:
    """The agent 0.19 stores the time of the request as `next_run_at`, to the microsecond."""
    assert skipped(schedule, due="10T10:12:34.567890", now="10T10:12:35", **policy)[1] == ""


def test_an_interval_that_the_agent_has_begun_to_the_microsecond_is_not_a_request() -> None:
    assert "excluded" in skipped(HOURLY, due="10T10:12:34.567890", now="10T10:12:35")[1]


def test_the_day_is_that_of_the_zone_of_the_job() -> None:
    after, reason = skipped(due="09T23:30:00", now="09T23:30:01", timezone="Asia/Tokyo")
    assert reason.startswith("2026-03-10 is excluded") and after.next_run_at


def test_a_minutely_job_that_was_missed_for_months_is_due_soon() -> None:
    minutely = {"kind": "cron", "expr": "* * * * *"}
    everything = [days_in("2025-01-01..2027-01-01")]
    assert skipped(minutely, now="30T09:00:30", excluded=everything)[0].next_run_at == at("30T09:01:00")


def test_a_file_has_a_day_or_a_range_on_each_line() -> None:
    day = datetime.date
    assert days_in_file("# holidays\n2026-12-25\n\n 2026-12-31..2027-01-01  # New Year\n") == [
        (day(2026, 12, 25), day(2026, 12, 25)), (day(2026, 12, 31), day(2027, 1, 1))]
    for text in ("25.12.2026", "2026-12-25 2026-12-26", "BEGIN:VCALENDAR"):
        with pytest.raises(NotADay, match="is not a day like"):
            days_in_file(text)
