from pathlib import Path

from ..conftest import release_script, stored, wait_for, write_jobs, write_script, write_waiting_script
from .conftest import Cli

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def test_it_starts_the_job_without_any_server(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "no_agent": True, "script": write_script(root, "a.sh", "echo hi"), "schedule": DAILY})
    assert "Started a." in cli.out("run", "a")
    wait_for(lambda: stored(root)[0].get("last_status") == "ok")


def test_a_paused_job_runs_and_stays_paused(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "no_agent": True, "script": write_script(root, "a.sh", "echo hi"), "schedule": DAILY,
                      "state": "paused", "enabled": False})
    cli.start("a")
    wait_for(lambda: stored(root)[0].get("last_status") == "ok")
    assert (stored(root)[0]["state"], stored(root)[0]["enabled"]) == ("paused", False)


def test_a_running_job_is_not_started_again(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "no_agent": True, "script": write_waiting_script(root), "schedule": DAILY})
    cli.start("a")
    wait_for(lambda: any((root / "cron" / "oscron" / "runs").glob("a")))
    assert "running for" in cli.refused("run", "a")
    release_script(root)
    wait_for(lambda: stored(root)[0].get("last_status") == "ok")
    assert stored(root)[0]["repeat"]["completed"] == 1


def test_a_reader_of_the_output_does_not_wait_for_the_run(cli: Cli, root: Path) -> None:
    script = write_script(root, "slow.sh", f"sleep 1.5; touch {root}/ended")
    write_jobs(root, {"id": "a", "no_agent": True, "script": script, "schedule": DAILY})
    assert cli.out("run", "a") == "Started a.\n"
    assert not (root / "ended").exists()
    wait_for(lambda: stored(root)[0].get("last_status") == "ok")


def test_a_missing_job_is_an_error(cli: Cli) -> None:
    assert "never-was" in cli.refused("run", "never-was")
