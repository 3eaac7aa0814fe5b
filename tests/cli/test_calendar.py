import re
from pathlib import Path

import pytest

from ..conftest import write_jobs
from .conftest import Cli, Installed

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
OFTEN = {"kind": "cron", "expr": "*/5 * * * *", "display": "x"}
JOBS = [{"id": "a", "name": "mail", "prompt": "p", "schedule": DAILY},
        {"id": "b", "name": "ping", "prompt": "p", "schedule": OFTEN},
        {"id": "c", "name": "off", "prompt": "p", "schedule": DAILY, "state": "paused", "enabled": False}]


def test_each_day_has_its_jobs_in_order(cli: Cli, root: Path) -> None:
    write_jobs(root, *JOBS)
    first, second, third = cli.out("calendar", "--days", "3").split("\n\n")
    assert re.match(r"[A-Z][a-z]+day, \d{4}-\d\d-\d\d \(UTC\)\n", first)
    for day in (second, third):
        assert day.splitlines()[1:] == ["  00:00-23:55  ping  (b)  288 times", "  09:00        mail  (a)"]


def test_json_has_every_time(cli: Cli, root: Path) -> None:
    write_jobs(root, *JOBS)
    answer = cli.json("calendar", "--days", "2")
    ping, mail = answer["days"][1]["jobs"]
    assert (answer["zone"], ping["count"], len(ping["times"])) == ("UTC", 288, 288)
    assert (mail["job_id"], mail["times"]) == ("a", [f"{answer['days'][1]['date']}T09:00:00+00:00"])


def test_days_are_those_of_the_zone(cli: Cli, root: Path) -> None:
    write_jobs(root, JOBS[0])
    assert "  18:00        mail  (a)" in cli.out("calendar", "--days", "2", "--tz", "Asia/Tokyo")
    assert "(Asia/Tokyo)" in cli.out("calendar", "--tz", "Asia/Tokyo")


def test_other_profiles_are_shown_on_request(cli: Cli, root: Path) -> None:
    write_jobs(root / "profiles" / "work", {**JOBS[0], "id": "w"})
    assert "nothing" in cli.out("calendar") and "work:w" not in cli.out("calendar")
    assert "mail  (work:w)" in cli.out("calendar", "--all-profiles")
    assert "mail  (w)" in cli.out("calendar", "--profile", "work")


def test_it_fits_a_terminal_of_80_columns(cli: Cli, root: Path) -> None:
    write_jobs(root, {**JOBS[0], "name": "n" * 200})
    lines = cli.on_terminal("calendar").decode().splitlines()
    assert max(map(len, lines)) == 80 and "…" in "".join(lines)
    assert "n" * 200 in cli.out("calendar")


def test_root_sees_the_calendar_of_the_account(as_root: Installed) -> None:
    write_jobs(as_root.root, *JOBS)
    as_root.own()
    assert as_root.on_terminal("calendar").decode().count("mail  (a)") >= 6


@pytest.mark.parametrize("name", ["a", "mail"])
def test_the_next_times_of_a_job_are_printed(cli: Cli, root: Path, name: str) -> None:
    write_jobs(root, *JOBS)
    lines = cli.out("next", name, "-n", "3").splitlines()
    assert lines == cli.json("next", "0 9 * * *", "-n", "3") == cli.json("next", name, "-n", "3")
    assert cli.out("next", name, "--from", "2099-01-01") == "2099-01-01T09:00:00+00:00\n"
    assert cli.out("next", name, "--tz", "Asia/Tokyo", "--from", "2099-01-01") == "2099-01-01T18:00:00+09:00\n"


def test_a_job_without_a_next_time_is_an_error(cli: Cli, root: Path) -> None:
    write_jobs(root, *JOBS, {**JOBS[0], "id": "d", "schedule": {"kind": "sundial"}})
    assert cli.refused("next", "off") == "c has no next run: it is paused."
    assert "d has no next run: The record's schedule is not a schedule" in cli.refused("next", "d")


def test_a_word_that_is_neither_a_job_nor_a_schedule_is_reported_as_a_job(cli: Cli, root: Path) -> None:
    assert "no job 'nemo'" in cli.refused("next", "nemo")
    assert "no job" not in cli.refused("next", "60 9 * * *")
    assert cli.out("next", "hourly").endswith(":00:00+00:00\n")
