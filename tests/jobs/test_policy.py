"""The policy of a job: what each key takes, how it is stored and shown, and where it comes from."""

from typing import Any

import pytest

from hermes_oscron.jobs import policy, policy_types
from hermes_oscron.jobs.checks import ValidationError
from hermes_oscron.jobs.lifecycle import edit
from hermes_oscron.jobs.model import Job
from hermes_oscron.schedule.model import Schedule

from .samples import BERLIN, DAILY, SECOND, UTC, at, job

VALUES: dict[str, tuple[Any, Any, str]] = {
    "timeout": ("15m", 900, "15m"),
    "stop_timeout": ("30s", 30, "30s"),
    "success_exit_codes": ([75, 3.0, 3], [3, 75], "3,75"),
    "nice": (10.0, 10, "10"),
    "memory_max": ("512M", 512 * 1024**2, "512M"),
    "cpu_quota": ("50%", 50, "50%"),
    "io_weight": (20, 20, "20"),
    "tasks_max": (64, 64, "64"),
    "run_on": ("partition:long,gpu", "partition:long,gpu", "partition:long,gpu"),
    "cpus": (4.0, 4, "4"),
    "gpus": (1, 1, "1"),
    "overlap": ("queue", "queue", "queue"),
    "catch_up": ("all", "all", "all"),
    "catch_up_window": ("6h", 21600, "6h"),
    "start_deadline": (300, 300, "5m"),
    "retries": (3, 3, "3"),
    "retry_delay": ("5m", 300, "5m"),
    "retry_backoff": (1.5, 1.5, "1.5"),
    "retry_on": (["timeout", 75.0, "timeout"], ["timeout", 75], "timeout,75"),
    "jitter": ("10m", 600, "10m"),
    "timezone": ("Europe/Berlin", "Europe/Berlin", "Europe/Berlin"),
    "not_before": ("2027-01-01", "2027-01-01", "2027-01-01"),
    "not_after": ("2027-12-31", "2027-12-31", "2027-12-31"),
    "exclude": (["2026-12-25", "2026-12-24..2027-01-01", "/etc/holidays"],
                ["2026-12-25", "2026-12-24..2027-01-01", "/etc/holidays"],
                "2026-12-25,2026-12-24..2027-01-01,/etc/holidays"),
    "pause_after": (3, 3, "3"),
    "budget": ("2.50 USD per day", "2.50 USD per day", "2.50 USD per day"),
    "notify": ({"ping": "https://hc.example/{job}"}, {"ping": "https://hc.example/{job}"},
               ".ping=https://hc.example/{job}"),
    "group": ("backups", "backups", "backups"),
    "max_parallel": (2, 2, "2"),
    "environment": ({"LANG": "C"}, {"LANG": "C"}, ".LANG=C"),
    "credentials": ({"key": "/etc/job.key"}, {"key": "/etc/job.key"}, ".key=/etc/job.key"),
    "environment_file": ("/etc/job.env", "/etc/job.env", "/etc/job.env"),
}
"""For each key: a value as a client gives it, as it is stored, and as a terminal shows it."""
REFUSED: dict[str, tuple[Any, ...]] = {
    "timeout": (0, -1, 0.5, 1.5, True, "", "0s", "90", "1.5h", "1w", "100000d", 10**12, float("nan"), [], {}),
    "stop_timeout": (0, "0s", "61m", "1h", 3601, 0.9, "1000s", False),
    "nice": (-1, 20, "10", True, 1.5, []),
    "memory_max": (0, "0", "15M", "512K", "512m", "512", "1.5G", "10000G", 16 * 1024**2 - 1, 10**15, True),
    "cpu_quota": (0, "0%", "50", "100000%", 100_000, 0.5, "-5%", True),
    "io_weight": (0, 10_001, "100", 0.5, False),
    "tasks_max": (7, 1_000_001, "64", 64.5, "infinity"),
    "run_on": ("", "gpu", "cluster:gpu", "partition:", "partition:a b", "partition:a\n",
               "constraint:`id`", 1, ["local"]),
    "cpus": (0, -1, "4", 1.5, True, 100_001),
    "gpus": (0, "all", 0.5, True, 10_001),
    "overlap": ("", "Queue", "forbid", True, 1, ["skip"]),
    "catch_up": ("", "every", True, 0),
    "catch_up_window": (59, "59s", "0m", "100000d", -1, True, "always"),
    "start_deadline": (0, 59.9, "30s", "1w", [], False),
    "retries": (-1, 101, "3", 1.5, True),
    "retry_delay": (0, "0s", "1w", True),
    "retry_backoff": (0.9, 11, "2", True, float("nan")),
    "retry_on": ("error", ["ok"], ["stopped"], [0], [256], [True], ["75"], [1.5]),
    "jitter": (0, 59, "30s", "0m", "1441m", "25h", "2d", 86401, 90.5, True, [], "always"),
    "timezone": ("", "Berlin", "CET+1", "../UTC", "Europe/Nowhere", "/etc/localtime", "UTC\n", 1, []),
    "not_before": ("", "2027-1-1", "2027-02-30", "20270101", "tomorrow", "2027-01-01T00:00", 20270101),
    "not_after": ("2027-13-01", "0000-01-01", []),
    "exclude": ("2026-12-25", ["12-25"], ["2026-12-25.."], ["2027-01-01..2026-12-24"], ["2026-02-29"], ["holidays"],
                [7], ["2026-12-25"] * 101, ["..2026-12-25"], [""]),
    "pause_after": (0, 1001, "3", True, 2.5),
    "budget": ("", "2", 2, "2 USD", "$2 per day", "2 usd per day", "0 USD per day", "0.00 USD per day",
               "-1 USD per day", "1e3 tokens per day", "1.5 tokens per day", "02 USD per day", "2 USD  per day",
               "2 USD per week", "2 USD per day\n", "10000000000 USD per day", ["2 USD per day"],
               {"day": "2 USD"}, True),
    "notify": ("mailto://a", ["mailto://a"], {"on": "failure"}, {"urls": ""}, {"urls": "admin"}, {"urls": ["mailto://a"]},
               {"urls": "mailto://a  mailto://b"}, {"command": ""}, {"command": " "}, {"command": 7}, {"ping": "ftp://a"},
               {"ping": "https://a/{id}"}, {"ping": "https://a b"}, {"ping": "x" * 4097}, True),
    "group": ("", ".", "..", "a/b", "a b", "x" * 65, "é", 7, "a\n"),
    "max_parallel": (0, 1001, "2", 1.5, True),
    "credentials": ("/etc/job.key", ["/etc/job.key"], {"a/b": "/x"}, {"..": "/x"}, {"": "/x"}, {"a": "x"}, {"a": 7},
                    {f"a{n}": "/x" for n in range(101)}),
    "environment": ("LANG=C", ["LANG=C"], {"A B": "x"}, {"": "x"}, {"1A": "x"}, {"A=B": "x"}, {"A": 1}, {"A": "\0"},
                    {"A": "x" * 4097}, {"A" * 129: "x"}, {f"A{n}": "x" for n in range(101)}),
    "environment_file": ("", "job.env", "~/job.env", 7, "/a\0b", "/" * 4097, []),
    "success_exit_codes": (3, "3", [0], [256], [-1], ["3"], [1.5], [True], [[3]], [3] * 101, {}),
}


def test_every_key_is_tested_here() -> None:
    assert VALUES.keys() == REFUSED.keys() == policy.KEYS.keys()


@pytest.mark.parametrize("key", VALUES)
def test_a_value_is_stored_in_one_form_and_shown_as_it_can_be_typed(key: str) -> None:
    given, stored, words = VALUES[key]
    assert policy.check("policy", {key: given}) == {key: stored} == policy.check("policy", {key: stored})
    setting = f"{key}{words}" if words.startswith(".") else f"{key}={words}"
    assert policy.words({key: stored}) == [setting]
    assert policy.check("policy", policy.from_words([setting])) == {key: stored}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in REFUSED.items() for value in values])
def test_a_wrong_value_is_refused_in_one_sentence_that_names_the_key(key: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=rf"^[^\n]*'policy\.{key}[^\n]*\.$"):
        policy.check("policy", {key: value})


@pytest.mark.parametrize("value", [7, "timeout", [], ["timeout"], True])
def test_a_policy_is_an_object(value: Any) -> None:
    with pytest.raises(ValidationError, match="'policy' must be an object"):
        policy.check("policy", value)


def test_a_key_that_is_not_implemented_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValidationError, match=r"There is no 'policy\.retrys'; the policies are .*timeout"):
        policy.check("policy", {"retrys": 3})


@pytest.mark.parametrize("key", policy.SYSTEMD_ONLY)
def test_a_limit_that_only_systemd_has_is_refused_elsewhere(key: str) -> None:
    stored = VALUES[key][1]
    policy.require_systemd({key: stored}, "systemd")
    policy.require_systemd({key: None, "timeout": 5}, "crontab")
    for scheduler in ("crontab", "foreground", ""):
        with pytest.raises(ValidationError, match=rf"'policy\.{key}' needs systemd"):
            policy.require_systemd({key: stored}, scheduler)


def test_a_time_is_shown_in_the_largest_unit_that_divides_it() -> None:
    assert [policy_types.time_words(seconds) for seconds in (1, 90, 120, 3600, 86400, 90000)] == [
        "1s", "90s", "2m", "1h", "1d", "25h"]


@pytest.mark.parametrize("setting", ["timeout", "", "15m"])
def test_a_setting_in_the_terminal_has_an_equals_sign(setting: str) -> None:
    with pytest.raises(ValidationError, match="write KEY=VALUE"):
        policy.from_words([setting])


def test_the_keys_of_the_job_replace_those_of_its_profile() -> None:
    defaults = {"timeout": 60, "stop_timeout": 5}
    plain = job()._replace(defaults=defaults, policy=defaults)
    own = plain.with_policy({"timeout": 900})
    assert (own.record["policy"], own.policy) == ({"timeout": 900}, {"timeout": 900, "stop_timeout": 5})
    assert own.with_policy({"stop_timeout": 9}).record["policy"] == {"timeout": 900, "stop_timeout": 9}
    without = own.with_policy({"timeout": None})
    assert "policy" not in without.record and without.policy == defaults


def test_the_variables_of_a_job_are_added_to_those_of_its_profile() -> None:
    plain = job()._replace(defaults={"environment": {"A": "1", "B": "2"}})
    own = plain.with_policy({"environment": {"B": "3", "C": "4"}})
    assert own.policy == {"environment": {"A": "1", "B": "3", "C": "4"}}
    changed = own.with_policy(policy.check("policy", policy.from_words(["environment.C=", "environment.D=5"])))
    assert changed.record["policy"] == {"environment": {"B": "3", "D": "5"}}
    assert "policy" not in changed.with_policy({"environment": {"B": None, "D": None}}).record
    assert "policy" not in changed.with_policy({"environment": None}).record


def test_the_zone_is_that_of_the_policy_the_schedule_the_profile_or_the_home() -> None:
    def zone(policy: Any = None, tz: Any = None, **defaults: Any) -> str:
        schedule = {**DAILY, **({"tz": tz} if tz else {})}
        record = {"id": "a", "prompt": "p", "schedule": schedule, **({"policy": policy} if policy else {})}
        parsed = Job.from_record("default", record, BERLIN, defaults)
        assert parsed.schedule or parsed.schedule_error
        return parsed.zone.key if parsed.schedule else parsed.schedule_error

    assert zone() == "Europe/Berlin" and zone(timezone="Asia/Tokyo") == "Asia/Tokyo"
    assert zone({"timezone": "UTC"}, timezone="Asia/Tokyo") == zone({"timezone": "UTC"}, "Asia/Tokyo") == "UTC"
    assert zone(tz="Asia/Tokyo") == zone(tz="Asia/Tokyo", timezone="UTC") == "Asia/Tokyo"
    assert "There is no time zone 'Mars'" in zone(tz="Mars")
    assert zone(tz=7) == "Europe/Berlin", "the agent ignores it too"


def test_a_change_of_the_zone_moves_the_next_run_and_keeps_the_rest() -> None:
    daily = job(next_run_at=at("10T09:00:00").isoformat())
    moved = edit(daily, {"policy": {"timezone": "Asia/Tokyo"}}, None, at("09T12:00:00"), SECOND)
    assert moved.next_run_at == at("10T00:00:00") and moved.zone.key == "Asia/Tokyo"
    back = edit(moved, {"policy": {"timezone": None}}, None, at("09T12:00:00"), SECOND)
    assert back.next_run_at == at("10T09:00:00") and back.zone == UTC and "policy" not in back.record


def test_a_jitter_moves_the_next_run_and_keeps_the_schedule() -> None:
    daily = job(next_run_at=at("10T09:00:00").isoformat())
    moved = edit(daily, {"policy": {"jitter": 3600}}, None, at("09T12:00:00"), SECOND)
    assert moved.own_schedule == daily.schedule and moved.record["schedule"] == daily.record["schedule"]
    assert moved.next_run_at and at("10T09:00:00") < moved.next_run_at <= at("10T10:00:00")
    assert moved.with_record(moved.record) == moved
    assert edit(moved, {}, daily.schedule, at("09T12:00:00"), SECOND) == moved, "the schedule is the same"
    later = edit(moved, {}, Schedule("cron", "0 10 * * *"), at("09T12:00:00"), SECOND)
    assert later.next_run_at and (later.next_run_at - moved.next_run_at).total_seconds() == 3600
    back = edit(moved, {"policy": {"jitter": None}}, None, at("09T12:00:00"), SECOND)
    assert back.next_run_at == at("10T09:00:00") and back.schedule == daily.schedule


def test_a_zone_that_is_stored_with_the_schedule_is_kept() -> None:
    stored = job({**DAILY, "tz": "Asia/Tokyo"})
    moved = edit(stored, {}, Schedule("cron", "0 10 * * *"), at("09T12:00:00"), SECOND)
    assert moved.record["schedule"]["tz"] == "Asia/Tokyo" and moved.next_run_at == at("10T01:00:00")


def test_a_limit_for_a_group_needs_a_group() -> None:
    with pytest.raises(ValidationError, match=r"set 'policy\.group' too"):
        job().with_policy({"max_parallel": 2})
    assert job().with_policy({"max_parallel": 2, "group": "a"}).policy == {"max_parallel": 2, "group": "a"}
    assert job()._replace(defaults={"group": "a"}).with_policy({"max_parallel": 2})


@pytest.mark.parametrize("stored", [7, [1], {"timeout": "soon"}, {"from_the_future": 1}])
def test_a_job_with_an_unusable_policy_is_not_scheduled(stored: Any) -> None:
    broken = job(policy=stored)
    assert broken.schedule is None and "policy" in broken.schedule_error
    assert broken.with_policy({"timeout": 60}).schedule, "an update repairs it"
