import os
import re
from pathlib import Path

from ..conftest import release_script, wait_for, write_jobs, write_waiting_script
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
    head, *lines, where = cli.out("runs", "a").splitlines()
    assert head.split() == ["ENDED", "STATUS", "BYTES", "OUTPUT"]
    assert [line.split()[2:] for line in lines] == [
        ["ok", str(day), f"2026-03-{day:02}_09-00-00.md"] for day in (7, 6, 5, 4, 3)]
    assert where == f"The outputs are in {folder}"
    assert max(map(len, [head, *lines])) < 80


def test_a_run_has_its_status_and_the_time_of_its_end(cli: Cli, root: Path) -> None:
    folder = write_outputs(root, 3)
    (folder / "2026-03-01_09-00-00.md").write_text("# Cron Job: a (FAILED)\n\n## Response\n")
    (folder / "2026-03-02_09-00-00.md").write_text("# Cron Job: a\n\n**Status:** silent (empty output)\n\n## Prompt\n")
    for name in folder.iterdir():
        os.utime(name, (1772355600.5, 1772355600.5))
    assert [(run["status"], run["ended_at"]) for run in cli.json("runs", "a")] == [
        (status, "2026-03-01T09:00:00+00:00") for status in ("ok", "silent", "error")]


def test_the_requested_number_of_outputs_is_listed(cli: Cli, root: Path) -> None:
    folder = write_outputs(root, 7)
    assert len(cli.out("runs", "a", "-n", "50").splitlines()) == 9
    [run] = cli.json("runs", "a", "-n", "1")
    assert (run["filename"], run["size"], run["path"]) == (
        "2026-03-07_09-00-00.md", 7, f"{folder}/2026-03-07_09-00-00.md")


def test_a_job_that_never_ran_has_no_outputs(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY})
    assert cli.out("runs", "a") == "No runs yet.\n"
    assert cli.json("runs", "a") == []


def test_times_in_another_zone_than_that_of_the_terminal_have_its_name(cli: Cli, root: Path) -> None:
    folder = write_outputs(root, 1)
    os.utime(folder / "2026-03-01_09-00-00.md", (1772355600, 1772355600))
    for name, hour in (("UTC", "09"), ("Asia/Tokyo", "18")):
        _, line, *below = cli.out("runs", "a", TZ="UTC", HERMES_TIMEZONE=name).splitlines()
        assert line.startswith(f"2026-03-01 {hour}:00:00  ok ")
        assert (below[-1] == f"Times are in {name}.") is (name != "UTC")


def test_a_run_in_progress_is_shown(cli: Cli, root: Path, server: str) -> None:
    job_id = cli.json("create", "every 1h", "--no-agent", "--script", write_waiting_script(root))["id"]
    cli.start(job_id)
    assert re.fullmatch(r"Running for \ds\.\n", cli.out("runs", job_id))
    release_script(root)
    wait_for(lambda: "STATUS" in cli.out("runs", job_id))
    wait_for(lambda: "Running" not in cli.out("runs", job_id))


def test_a_missing_job_is_an_error(cli: Cli) -> None:
    assert "never-was" in cli.refused("runs", "never-was")
