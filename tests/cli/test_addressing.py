"""The jobs that a command is typed for, on every command that takes several."""

import json
from pathlib import Path

import pytest

from ..conftest import stored, write_jobs, write_script
from .conftest import Cli, Installed

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
JOBS = [{"id": "aaaa11112222", "name": "Disk", "prompt": "p", "schedule": DAILY, "last_status": "error"},
        {"id": "aaaa33334444", "name": "mail", "prompt": "p", "schedule": DAILY},
        {"id": "bbbb55556666", "name": "dead: end", "prompt": "p", "schedule": DAILY, "state": "paused",
         "enabled": False}]


@pytest.fixture
def jobs(root: Path) -> list[str]:
    """The ids of three jobs."""
    write_jobs(root, *JOBS)
    return [str(job["id"]) for job in JOBS]


@pytest.mark.parametrize(("text", "number"), [
    ("aaaa11112222", 0), ("aaaa1", 0), ("Disk", 0), ("disk", 0), ("MAIL", 1), ("bbbb", 2), ("dead: end", 2),
    ("default:Disk", 0), ("default:bbbb", 2)])
def test_a_job_is_named_by_id_beginning_or_name(cli: Cli, jobs: list[str], text: str, number: int) -> None:
    assert cli.json("show", text)["id"] == jobs[number]


def test_a_text_that_names_several_jobs_is_refused(cli: Cli, root: Path, jobs: list[str]) -> None:
    for text in ("aaaa", "twin"):
        write_jobs(root, *JOBS, {**JOBS[0], "id": "c", "name": "twin"}, {**JOBS[0], "id": "d", "name": "twin"})
        assert "Several jobs" in cli.refused("delete", text)
    assert len(stored(root)) == 5


def test_a_name_comes_before_the_beginning_of_an_id(cli: Cli, root: Path) -> None:
    write_jobs(root, {**JOBS[0], "id": "beef00000000"}, {**JOBS[0], "id": "c", "name": "beef"})
    assert cli.json("show", "beef")["id"] == "c"


def test_several_jobs_are_changed_by_one_command(cli: Cli, root: Path, jobs: list[str]) -> None:
    assert [job["state"] for job in cli.json("pause", "Disk", "mail", "aaaa1")] == ["paused", "paused"]
    assert [record["state"] for record in stored(root)] == ["paused"] * 3
    assert [job["id"] for job in cli.json("resume", "--all")] == jobs
    assert [job["repeat"]["times"] for job in cli.json("update", "--state", "failed", "--repeat", "3")] == [3]
    assert cli.out("show", "Disk", "mail").count("\n\nId: ") == 1
    assert cli.out("delete", "--all") == "".join(f"Deleted {job_id}.\n" for job_id in jobs)
    assert stored(root) == []


def test_an_unknown_job_among_several_changes_none(cli: Cli, root: Path, jobs: list[str]) -> None:
    assert "no job 'nemo'" in cli.refused("delete", "Disk", "nemo")
    assert len(stored(root)) == 3


def test_an_error_of_one_job_does_not_keep_the_others_from_the_change(cli: Cli, root: Path) -> None:
    write_jobs(root, {**JOBS[0], "schedule": {**DAILY, "expr": "0 0 30 2 *"}, "state": "completed"}, JOBS[2])
    result = cli.run("resume", "--all", "--json")
    assert result.returncode == 1
    assert [job["id"] for job in json.loads(result.stdout)] == ["bbbb55556666"]
    assert result.stderr.startswith("Error: aaaa11112222 cannot be resumed") and result.stderr.count("\n") == 1


@pytest.mark.parametrize(("state", "chosen"), [
    ("scheduled", [0, 1]), ("paused", [2]), ("completed", []), ("error", []), ("running", []), ("queued", []),
    ("failed", [0])])
def test_jobs_are_chosen_by_state(cli: Cli, jobs: list[str], state: str, chosen: list[int]) -> None:
    result = cli.run("show", "--state", state, "--json")
    assert [job["id"] for job in json.loads(result.stdout)] == [jobs[i] for i in chosen]
    assert (result.returncode, result.stderr) == (0, "" if chosen else "No job matches.\n")


@pytest.mark.parametrize("command", ["show", "pause", "resume", "run", "stop", "delete"])
def test_jobs_or_an_option_that_chooses_them_must_be_given(cli: Cli, jobs: list[str], command: str) -> None:
    assert cli.refused(command, code=2) == "Give one or more jobs, --all or --state."
    assert cli.refused(command, "Disk", "--all", code=2) == "Give either jobs, or --all or --state."


@pytest.mark.parametrize(("arguments", "question"), [
    (["delete", "Disk"], b"Delete Disk (aaaa11112222), with all outputs? [y/N]: "),
    (["delete", "--all"], b"Delete 3 jobs, with all outputs? [y/N]: "),
    (["stop", "--all"], b"Stop the runs of 3 jobs? [y/N]: ")])
def test_a_terminal_is_asked_before_jobs_are_lost(cli: Cli, root: Path, jobs: list[str], arguments: list[str],
                                                  question: bytes) -> None:
    written = cli.on_terminal(*arguments, typed="\n", code=1)
    assert question in written and b"Nothing was changed." in written
    assert len(stored(root)) == 3
    assert question not in cli.on_terminal(*arguments, "--yes", code=int(arguments[0] == "stop"))
    assert len(stored(root)) == {"delete Disk": 2, "delete --all": 0}.get(" ".join(arguments), 3)


def test_the_answer_yes_does_it(cli: Cli, root: Path, jobs: list[str]) -> None:
    assert b"Deleted aaaa11112222." in cli.on_terminal("delete", "Disk", typed="y\n")
    assert len(stored(root)) == 2


def test_root_is_asked_too(as_root: Installed) -> None:
    write_jobs(as_root.root, *JOBS)
    as_root.own()
    assert b"Nothing was changed." in as_root.on_terminal("delete", "Disk", typed="n\n", code=1)
    assert b"Deleted aaaa11112222." in as_root.on_terminal("delete", "Disk", typed="y\n")
    assert as_root.out("delete", "mail", "dead: end") == "Deleted aaaa33334444.\nDeleted bbbb55556666.\n"
    assert stored(as_root.root) == []


def test_root_changes_several_jobs_of_the_account(as_root: Installed) -> None:
    write_jobs(as_root.root, *JOBS)
    write_script(as_root.root, "hi.sh", "echo hi")
    as_root.own()
    assert [job["id"] for job in as_root.json("pause", "Disk", "mail")] == ["aaaa11112222", "aaaa33334444"]
    assert "Id:          aaaa11112222" in as_root.on_terminal("show", "disk").decode()
