import json
from pathlib import Path

from ..conftest import write_jobs
from .conftest import Cli

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def test_a_table_has_a_line_for_each_job(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "aaaaaaaaaaaa", "name": "First", "schedule": DAILY, "last_status": "ok"},
               {"id": "bbbbbbbbbbbb", "name": "Second", "schedule": DAILY, "state": "paused"})
    head, first, second = cli.out("list").splitlines()
    assert head.split() == ["ID", "NAME", "SCHEDULE", "NEXT", "LAST"]
    assert first.startswith("aaaaaaaaaaaa  First") and " 09:00 " in first and first.split()[-1] == "ok"
    assert "Daily at 9:00 AM" in first
    assert second.startswith("bbbbbbbbbbbb  Second") and "paused" in second


def test_the_table_fits_80_columns_for_any_job_names(cli: Cli, root: Path) -> None:
    long = {"kind": "cron", "expr": "1,3,5,7,9,11,13,15,17,19,21,23,25,27,29 1-23/2 1-31/3 * 1-5", "display": "x"}
    write_jobs(root, {"id": "aaaaaaaaaaaa", "name": "n" * 200, "schedule": long, "last_status": "delivery_failed"},
               {"id": "bbbbbbbbbbbb", "name": "夜" * 100, "schedule": DAILY, "next_run_at": None})
    for environment in ({}, {"COLUMNS": "20"}, {"COLUMNS": "nonsense"}):
        lines = cli.out("list", **environment).splitlines()
        assert len(lines) == 3
        assert all(len(line) + line.count("夜") <= 80 for line in lines)


def test_the_table_never_cuts_id_schedule_or_status(cli: Cli, root: Path) -> None:
    twice = {"kind": "cron", "expr": "30 8 * * 1,3", "display": "x"}
    write_jobs(root, {"id": "aaaaaaaaaaaa", "name": "n" * 200, "schedule": twice, "last_status": "ok"},
               {"id": "bbbbbbbbbbbb", "name": "夜" * 100, "schedule": twice, "last_status": "delivery_failed"})
    _, first, second = cli.out("list").splitlines()
    assert first.startswith("aaaaaaaaaaaa  nnn") and first.split()[-1] == "ok" and " 08:30 " in first
    assert second.startswith("bbbbbbbbbbbb  夜夜") and " 08:30 " in second


def test_json_prints_what_the_api_returns(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY})
    answer = cli.json("list")
    assert {key: answer[key] for key in answer if key != "jobs"} == {
        "active_profile": "default", "all_profiles": False, "other_profile_count": 0}
    assert [job["schedule_display"] for job in answer["jobs"]] == ["Daily at 9:00 AM"]


def test_all_profiles_are_listed_with_the_option(cli: Cli, root: Path) -> None:
    write_jobs(root / "profiles" / "work", {"id": "foreign", "prompt": "p", "schedule": DAILY})
    assert "foreign" not in cli.out("list")
    assert "foreign" in cli.out("list", "--all-profiles")
    assert [job["read_only"] for job in cli.json("list", "--all-profiles")["jobs"]] == [True]


def test_the_home_of_a_profile_is_that_profile(cli: Cli, root: Path) -> None:
    write_jobs(root / "profiles" / "work", {"id": "foreign", "prompt": "p", "schedule": DAILY})
    answer = json.loads(cli.out("list", "--json", HERMES_HOME=str(root / "profiles" / "work")))
    assert (answer["active_profile"], [job["id"] for job in answer["jobs"]]) == ("work", ["foreign"])


def test_a_home_without_jobs_prints_how_to_create_one(cli: Cli) -> None:
    assert "hermes-oscron create" in cli.out("list")
    assert cli.json("list")["jobs"] == []


def test_control_characters_of_a_job_do_not_reach_the_terminal(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "name": "x\x1b]0;owned\x07\x1b[2J\r\n[bold]y", "schedule": DAILY})
    written = cli.on_terminal("list")
    assert b"\x1b]" not in written and b"\x1b[2J" not in written and b"\x07" not in written
    assert b"x ]0;owned [2J [bold]y" in written


def test_control_characters_in_foreign_fields_do_not_reach_the_terminal(cli: Cli, root: Path) -> None:
    evil = "x\x1b]0;owned\x07\x1b[2Jy"
    write_jobs(root, {"id": "a", "schedule_display": evil, "last_status": "\x1b[2J"})
    written = cli.on_terminal("list")
    assert b"\x1b]" not in written and b"\x1b[2J" not in written


def test_an_unreadable_jobs_json_is_reported(cli: Cli, root: Path) -> None:
    path = root / "cron" / "jobs.json"
    path.parent.mkdir()
    path.write_text("")
    assert str(path) in cli.refused("list")
