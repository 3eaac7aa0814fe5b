from pathlib import Path

from ..conftest import write_jobs
from .conftest import Cli

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def write_outputs(root: Path, count: int) -> Path:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY})
    folder = root / "cron" / "output" / "a"
    folder.mkdir(parents=True)
    for day in range(1, count + 1):
        (folder / f"2026-03-{day:02}_09-00-00.md").write_text("x" * day)
    return folder


def test_the_newest_five_outputs_are_listed_first(cli: Cli, root: Path) -> None:
    folder = write_outputs(root, 7)
    assert [line.split() for line in cli.out("runs", "a").splitlines()] == [
        [str(day), f"{folder}/2026-03-{day:02}_09-00-00.md"] for day in (7, 6, 5, 4, 3)]


def test_the_requested_number_of_outputs_is_listed(cli: Cli, root: Path) -> None:
    folder = write_outputs(root, 7)
    assert len(cli.out("runs", "a", "-n", "50").splitlines()) == 7
    assert cli.json("runs", "a", "-n", "1") == [{"filename": "2026-03-07_09-00-00.md", "size": 7,
                                                 "path": f"{folder}/2026-03-07_09-00-00.md"}]


def test_a_job_that_never_ran_has_no_outputs(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY})
    assert cli.out("runs", "a") == "No runs yet.\n"
    assert cli.json("runs", "a") == []


def test_a_missing_job_is_an_error(cli: Cli) -> None:
    assert "never-was" in cli.refused("runs", "never-was")
