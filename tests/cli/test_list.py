import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from ..conftest import release_script, wait_for, write_jobs, write_waiting_script
from .conftest import COMMAND, Cli, Installed

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
    for columns in ("20", "80"):
        lines = cli.out("list", COLUMNS=columns).splitlines()
        assert len(lines) == 3
        assert all(len(line) + line.count("夜") <= 80 for line in lines)


def test_no_line_is_cut_in_a_pipe(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    long = {"kind": "cron", "expr": "1,3,5,7,9,11,13,15,17,19,21,23,25,27,29 1-23/2 1-31/3 * 1-5", "display": "x"}
    write_jobs(root, {"id": "aaaaaaaaaaaa", "name": "n" * 200, "schedule": long, "last_status": "delivery_failed"})
    for environment in ({}, {"COLUMNS": "nonsense"}):
        line = cli.out("list", **environment).splitlines()[1]
        assert "n" * 200 in line and long["expr"] in line and line.split()[-1] == "delivery_failed"


def test_the_table_cuts_the_name_before_anything_else(cli: Cli, root: Path) -> None:
    once = {"kind": "once", "run_at": "2099-11-24T09:00:30+00:00", "display": "x"}
    write_jobs(root, {"id": "aaaaaaaaaaaa", "name": "n" * 200, "schedule": once, "last_status": "ok"},
               {"id": "bbbbbbbbbbbb", "name": "夜" * 100, "schedule": once, "last_status": "error"})
    _, first, second = cli.out("list", COLUMNS="80").splitlines()
    assert re.fullmatch(r"a{12}  n{11}…  Once at 2099-11-24 09:00:30  2099-11-24 09:00  ok   ", first)
    assert re.fullmatch(r"b{12}  夜{5} …  Once at 2099-11-24 09:00:30  2099-11-24 09:00  error", second)


def test_the_table_never_cuts_the_last_status(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "aaaaaaaaaaaa", "name": "n" * 200, "schedule": DAILY, "last_status": "delivery_failed"},
               {"id": "bbbbbbbbbbbb", "name": "short", "schedule": DAILY, "last_status": "ok"})
    _, first, second = cli.out("list", COLUMNS="80").splitlines()
    assert re.fullmatch(r"a{12}  n{12}…  Daily at 9:00 AM  [-\d]{10} 09:00  delivery_failed", first)
    assert "Daily at 9:00 AM" in second
    write_jobs(root, {"id": "aaaaaaaaaaaa", "name": "n", "schedule": DAILY, "last_status": "unheard_of" * 20})
    assert re.fullmatch(r"a{12}  n {5}Daily at 9:00 AM  [-\d]{10} 09:00  unheard_of[a-z_]{13}…",
                        cli.out("list", COLUMNS="80").splitlines()[1]), "but an unknown one"


def test_a_column_gets_only_the_room_that_it_needs(cli: Cli, root: Path) -> None:
    long = {"kind": "cron", "expr": "1,3,5,7,9,11,13,15 1-23/2 1-31/3 * 1-5", "display": "x"}
    write_jobs(root, {"id": "aaaaaaaaaaaa", "name": "a", "schedule": long, "last_status": "ok"})
    assert "1,3,5,7,9,11,13,15 1-23/2 1-31/3 * …  " in cli.out("list", COLUMNS="80")


def test_a_running_job_has_the_time_for_which_it_runs(cli: Cli, root: Path, server: str) -> None:
    work = root / "profiles" / "work"
    (work / "scripts").mkdir(parents=True)
    ids = [cli.json("create", "every 1h", "--profile", profile, "--no-agent",
                    "--script", write_waiting_script(home))["id"]
           for profile, home in (("default", root), ("work", work))]
    cli.start(ids[0])
    cli.start(f"work:{ids[1]}")
    assert re.search(rf"^{ids[0]} .* running \ds  -", cli.out("list"), re.M)
    assert re.search(rf"^{ids[1]} .* running \ds  -", cli.out("list", "--profile", "work"), re.M)
    assert len(re.findall(r" running \ds  -", cli.out("list", "--all-profiles"))) == 2
    assert re.search(r"^State: +scheduled, running for \ds$", cli.out("show", f"work:{ids[1]}"), re.M)
    release_script(root)
    release_script(work)
    wait_for(lambda: "running" not in cli.out("list", "--all-profiles") + cli.out("show", ids[0]))


def test_times_in_another_zone_than_that_of_the_terminal_have_its_name(cli: Cli, root: Path) -> None:
    work = root / "profiles" / "work"
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY})
    write_jobs(work, {"id": "b", "prompt": "p", "schedule": DAILY})
    assert "Times" not in cli.out("list", TZ="UTC")
    assert cli.out("list", TZ="Asia/Tokyo").splitlines()[2] == "Times are in UTC."
    (work / ".env").write_text("HERMES_TIMEZONE=Asia/Tokyo\n")
    assert cli.out("list", "--profile", "work", TZ="UTC").splitlines()[2] == "Times are in Asia/Tokyo."
    _, first, second = cli.out("list", "--all-profiles", TZ="UTC").splitlines()
    assert " 09:00 " in first and " 00:00 " in second, "all times are in the zone of the active profile"
    _, first, second, below = cli.out("list", "--all-profiles", "--tz", "Asia/Tokyo", TZ="UTC").splitlines()
    assert " 18:00 " in first and " 09:00 " in second and below == "Times are in Asia/Tokyo."
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY, "state": "paused"})
    assert "Times" not in cli.out("list", TZ="Asia/Tokyo"), "no time is shown"


def test_json_prints_what_the_api_returns(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY})
    answer = cli.json("list")
    assert {key: answer[key] for key in answer if key != "jobs"} == {
        "active_profile": "default", "all_profiles": False, "other_profile_count": 0, "armed": True,
        "paused_profiles": {}}
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


def test_the_commands_that_read_do_not_import_croniter(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "x", "schedule": DAILY})
    for arguments in (["list"], ["show", "a"], ["next", "0 9 * * 1"], ["translate", "0 9 * * 1"]):
        told = cli.run(*arguments, PYTHONPROFILEIMPORTTIME="1")
        assert told.returncode == 0 and "croniter" not in told.stderr, arguments
    assert "| croniter\n" in cli.run("update", "a", "--schedule", "0 9 * * 1", PYTHONPROFILEIMPORTTIME="1").stderr


SOME = [
    {"id": "aaaaaaaaaaaa", "name": "Mail", "schedule": {**DAILY, "expr": "0 10 * * *"}, "last_status": "ok",
     "last_run_at": "2026-03-01T09:00:00+00:00", "prompt": "read", "repeat": {"times": 9, "completed": 2}},
    {"id": "bbbbbbbbbbbb", "name": "disk", "schedule": DAILY, "last_status": "error", "prompt": "look"},
    {"id": "cccccccccccc", "name": "Backup", "schedule": DAILY, "state": "paused", "enabled": False, "prompt": "p"},
]


def ids(cli: Cli, *arguments: str) -> str:
    """The first letters of the ids that `list` prints with `arguments`."""
    return "".join(line[0] for line in cli.out("list", *arguments).splitlines()[1:])


@pytest.mark.parametrize(("arguments", "letters"), [
    (["mail"], "a"), (["ISK"], "b"), (["9:00"], "bc"), (["0 10"], "a"), (["cccc"], "c"), (["--state", "failed"], "b"),
    (["--state", "paused"], "c"), (["a", "--state", "scheduled"], "ab"), (["--sort", "name"], "cba"),
    (["--sort", "name", "--reverse"], "abc"), (["--reverse"], "cba"), (["--sort", "last"], "bac"),
    (["--sort", "runs"], "abc"), (["--sort", "ran"], "abc"), (["--sort", "state"], "cab")])
def test_jobs_are_filtered_and_sorted(cli: Cli, root: Path, arguments: list[str], letters: str) -> None:
    write_jobs(root, *SOME)
    assert ids(cli, *arguments) == letters
    assert "".join(job["id"][0] for job in cli.json("list", *arguments)["jobs"]) == letters


def test_the_next_job_comes_first_and_paused_ones_last(cli: Cli, root: Path) -> None:
    write_jobs(root, SOME[2], {**SOME[0], "next_run_at": "2099-01-02T10:00:00+00:00",
                               "schedule": {"kind": "once", "run_at": "2099-01-02T10:00:00+00:00"}}, SOME[1])
    assert ids(cli, "--sort", "next") == "bac"


def test_the_columns_are_chosen(cli: Cli, root: Path) -> None:
    write_jobs(root, *SOME)
    head, line, *_ = cli.out("list", "--columns", "name,ran,runs,profile,prompt,state").splitlines()
    assert head.split() == ["NAME", "RAN", "RUNS", "PROFILE", "PROMPT", "STATE"]
    assert re.split("  +", line.strip()) == ["Mail", "2026-03-01 09:00", "2 of 9", "default", "read", "scheduled"]
    assert "There is no column 'nemo'; the columns are id, name," in cli.refused("list", "--columns", "nemo", code=2)


def test_times_are_relative_on_request(cli: Cli, root: Path) -> None:
    write_jobs(root, *SOME)
    lines = cli.out("list", "--relative", "--columns", "id,next,ran", TZ="Asia/Tokyo").splitlines()
    assert re.fullmatch(r"a{12}  in (\d+h )?\d+[hms] +\d+d \d+h ago", lines[1].strip()) and len(lines) == 4


def test_a_filter_may_match_no_job(cli: Cli, root: Path) -> None:
    write_jobs(root, *SOME)
    assert cli.out("list", "nemo") == "No job matches.\n"
    assert cli.json("list", "nemo")["jobs"] == []


def test_a_terminal_shows_states_in_colours(cli: Cli, root: Path) -> None:
    write_jobs(root, *SOME)
    written = cli.on_terminal("list")
    assert b"\x1b[31merror" in written and b"\x1b[33mpaused" in written
    assert b"\x1b[31m" not in cli.on_terminal("list", NO_COLOR="1")
    assert "\x1b" not in cli.out("list")


def test_a_terminal_cuts_texts_unless_they_are_wanted(cli: Cli, root: Path) -> None:
    write_jobs(root, {**SOME[0], "name": "n" * 100})
    written = re.sub(r"\x1b\[[\d;]*m", "", cli.on_terminal("list").decode())
    assert len(written.splitlines()) == 2 and all(len(line) <= 80 for line in written.splitlines())
    assert b"n" * 100 in cli.on_terminal("list", "--wide")


def test_a_reader_may_end_early(cli: Cli, root: Path) -> None:
    write_jobs(root, *({"id": f"{i:012}", "prompt": "p" * 80, "schedule": DAILY} for i in range(2000)))
    for command in ("list", "list --json", "show --all"):
        done = subprocess.run(f"set -o pipefail; {shlex.join(COMMAND)} {command} | head -1", capture_output=True,
                              shell=True, executable="/bin/bash", text=True, timeout=120, check=False)
        assert (done.stderr, done.stdout.count("\n")) == ("", 1), command


def test_root_gets_the_width_of_the_terminal(as_root: Installed) -> None:
    write_jobs(as_root.root, {**SOME[0], "name": "n" * 100})
    as_root.own()
    lines = as_root.on_terminal("list").decode().splitlines()
    assert len(lines) == 2 and all(len(line) <= 80 for line in lines) and "\x1b" not in lines[1]
    assert "n" * 100 in as_root.out("list")
