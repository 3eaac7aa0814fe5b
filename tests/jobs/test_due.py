import datetime

from hermes_oscron.jobs.due import ceil_to, first_due, floor_to, is_due, is_missed, next_run, why_never_fires
from hermes_oscron.jobs.lifecycle import refresh_next_run
from hermes_oscron.jobs.missed import skip_missed

from .samples import BERLIN, HOURLY, MINUTE, ONCE, SECOND, UTC, after_run, at, job


def test_a_cron_job_runs_next_at_its_coming_occurrence_in_its_zone() -> None:
    due = next_run(job(zone=BERLIN, next_run_at="2026-01-01T00:00:00+00:00"), at("10T08:30:00"))
    assert due and due.isoformat() == "2026-03-11T09:00:00+01:00"


def test_an_interval_stays_on_its_grid_of_whole_seconds() -> None:
    hourly = job(HOURLY, next_run_at="2026-03-10T07:12:34.654321+00:00")
    assert next_run(hourly, at("10T09:00:00")) == at("10T09:12:34")
    assert next_run(hourly, at("10T09:12:34")) == at("10T10:12:34")


def test_a_job_that_was_set_after_the_clock_was_read_is_not_due_before_that() -> None:
    new = job(HOURLY, created_at=at("09T12:00:00.4").isoformat(), next_run_at=at("09T13:00:00").isoformat())
    assert next_run(new, at("09T11:59:59.9")) == at("09T13:00:00")
    minutely = job({"kind": "cron", "expr": "* * * * *"}, armed_at=at("09T12:00:00.4").isoformat())
    assert next_run(minutely, at("09T11:59:59.9")) == at("09T12:01:00")
    assert next_run(minutely, at("09T09:00:00")) == at("09T09:01:00"), "the clock that set it was ahead"


def test_a_one_shot_that_has_not_run_is_still_due() -> None:
    assert next_run(job(ONCE, next_run_at=ONCE["run_at"]), at("11T00:00:00")) == at("10T09:00:00")


def test_a_run_recorded_by_a_clock_that_was_ahead_does_not_count_for_a_one_shot() -> None:
    once = job(ONCE, last_run_at="2026-03-12T09:00:00+00:00")
    assert next_run(once, at("09T09:00:00")) == at("10T09:00:00")
    assert next_run(once, at("12T09:00:01")) is None


def test_only_a_scheduled_job_has_a_next_run() -> None:
    for fields in ({"enabled": False}, {"state": "paused"}, {"state": "completed"}):
        assert next_run(job(**fields), at("10T08:00:00")) is None


def test_a_job_without_a_usable_schedule_never_fires() -> None:
    broken = job({"kind": "moon"})
    assert next_run(broken, at("10T08:00:00")) is None and why_never_fires(broken, at("10T08:00:00"))
    assert not why_never_fires(job({"kind": "moon"}, state="completed"), at("10T08:00:00"))
    assert not why_never_fires(job(), at("10T08:00:00"))
    assert not why_never_fires(job(ONCE, next_run_at=ONCE["run_at"]), at("11T08:00:00"))


def test_a_one_shot_that_the_agent_would_not_run_is_over() -> None:
    used_up = {"repeat": {"times": 1, "completed": 1}}
    for fields in ({}, {"state": "error", "next_run_at": ONCE["run_at"]}, {**used_up, "next_run_at": ONCE["run_at"]},
                   {"next_run_at": 1773133200}):
        over = job(ONCE, **fields)
        assert next_run(over, at("10T09:02:01")) is None and why_never_fires(over, at("10T09:02:01")), fields
    assert next_run(job(ONCE), at("10T09:02:00")) == at("10T09:00:00"), "the agent's grace"
    assert next_run(job(ONCE, last_run_at="2026-03-01T09:00:00+00:00"), at("10T08:00:00")) is None
    assert next_run(job(**used_up), at("10T08:00:00")) == at("10T09:00:00"), "a recurring job has one run more"
    assert not why_never_fires(job(ONCE, **used_up, run_claim={"by": "x"}), at("10T09:02:01")), "it runs"


def test_a_job_is_due_from_the_stored_second_on() -> None:
    daily = job(next_run_at="2026-03-10T09:00:00+00:00", last_run_at="2026-03-09T09:00:01+00:00")
    assert not is_due(daily, at("10T08:59:59.999"))
    assert is_due(daily, at("10T09:00:00")) and is_due(daily, at("12T00:00:00"))


def test_a_part_of_a_second_in_the_record_does_not_make_a_timer_early() -> None:
    hourly = job(HOURLY, next_run_at="2026-03-10T09:00:00.654321+00:00", last_run_at="2026-03-10T08:00:00.654321+00:00")
    assert is_due(hourly, at("10T09:00:00.01")) and not is_due(hourly, at("10T08:59:59"))


def test_a_job_without_a_written_next_run_is_due() -> None:
    for written in ({}, {"next_run_at": None}, {"next_run_at": "soon"}):
        assert is_due(job(**written), at("10T08:00:00"))


def test_an_occurrence_covered_by_the_last_run_is_not_due_again() -> None:
    daily = after_run(job(), "10T09:00:03")
    assert not is_due(daily, at("10T09:00:04")) and is_due(daily, at("11T09:00:00"))


def test_after_the_clock_is_set_back_a_job_does_not_wait_for_the_old_future() -> None:
    daily = job(next_run_at="2027-06-02T09:00:00+00:00", last_run_at="2027-06-01T09:00:01+00:00",
                created_at="2026-01-01T00:00:00+00:00")
    assert is_due(daily, at("10T09:00:00.5"))
    assert not is_due(daily, at("10T08:30:00")) and not is_due(daily, at("10T09:05:00"))


def test_a_clock_set_back_a_little_does_not_repeat_an_occurrence() -> None:
    assert not is_due(after_run(job(), "10T09:00:03"), at("10T08:59:59"))


def test_an_occurrence_that_the_agent_has_taken_is_not_due() -> None:
    daily = job(next_run_at="2026-03-11T09:00:00+00:00", last_run_at="2026-03-09T09:00:03+00:00")
    assert not is_due(daily, at("10T09:00:00.5"))


def test_a_minute_scheduler_moves_an_interval_to_its_grid_but_not_to_the_past() -> None:
    hourly = job(HOURLY, next_run_at="2026-03-10T09:12:34+00:00")
    assert first_due(hourly, at("10T09:00:00"), SECOND) == at("10T09:12:34")
    assert first_due(hourly, at("10T09:00:00"), MINUTE) == at("10T09:12:00")
    assert first_due(hourly, at("10T09:12:10"), MINUTE) == at("10T09:13:00")


def test_rounding_to_a_resolution() -> None:
    assert floor_to(at("10T09:12:34.5"), SECOND) == at("10T09:12:34")
    assert ceil_to(at("10T09:12:34.5"), MINUTE) == at("10T09:13:00")
    assert ceil_to(at("10T09:12:00"), MINUTE) == at("10T09:12:00") == floor_to(at("10T09:12:00"), MINUTE)


def test_rounding_keeps_the_second_pass_of_an_hour_that_a_clock_change_repeats() -> None:
    for text in ("2026-10-25T00:37:54+00:00", "2026-10-25T01:37:54+00:00"):
        moment = datetime.datetime.fromisoformat(text)
        local = moment.astimezone(BERLIN)
        for resolution in (SECOND, MINUTE):
            assert floor_to(local, resolution).astimezone(UTC) == floor_to(moment, resolution)
            assert ceil_to(local, resolution).astimezone(UTC) == ceil_to(moment, resolution)


def test_an_interval_that_is_due_in_the_repeated_hour_is_not_moved_by_an_hour() -> None:
    due = "2026-10-25T01:37:54+00:00"
    every_four_hours = job({"kind": "interval", "minutes": 240}, BERLIN, next_run_at=due)
    now = datetime.datetime.fromisoformat("2026-10-24T22:00:00+00:00")
    first = first_due(every_four_hours, now, SECOND)
    assert first and first.isoformat() == "2026-10-25T02:37:54+01:00"
    refreshed = refresh_next_run(every_four_hours, now, SECOND)
    assert refreshed.next_run_at == every_four_hours.next_run_at


def test_an_occurrence_is_missed_after_half_the_time_to_the_next_one() -> None:
    daily = job(next_run_at="2026-03-10T09:00:00+00:00")
    assert not is_missed(daily, at("10T08:59:59")) and not is_missed(daily, at("10T11:00:00"))
    assert is_missed(daily, at("10T11:00:01"))
    assert skip_missed(daily, at("10T11:00:01")).next_run_at == at("11T09:00:00")
    assert not is_missed(daily, at("11T09:00:00")), "the next one has come"
    hourly = job(HOURLY, next_run_at="2026-03-10T09:00:00+00:00")
    assert not is_missed(hourly, at("10T09:30:00")) and is_missed(hourly, at("10T09:30:01"))
    assert is_missed(job(HOURLY, next_run_at="2026-03-10T09:00:00.567890+00:00"), at("10T09:30:01")), "as by the agent"
    minutely = job({"kind": "cron", "expr": "* * * * *"}, next_run_at="2026-03-10T09:00:00+00:00")
    assert not is_missed(minutely, at("12T09:30:01"))


def test_a_one_shot_and_a_requested_run_are_not_missed() -> None:
    assert not is_missed(job(ONCE, next_run_at=ONCE["run_at"]), at("12T09:00:00"))
    asked = "2026-03-10T09:12:34.567890+00:00"
    requested = job(next_run_at=asked, manual_run_at=asked)
    assert not is_missed(requested, at("10T20:00:00")) and skip_missed(requested, at("10T20:00:00")) is requested
