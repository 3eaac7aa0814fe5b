import os
from pathlib import Path

from ..conftest import stored, write_jobs
from ..service.world import cut_off_run
from .conftest import Cli

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def test_a_sync_without_changes_prints_nothing(cli: Cli, root: Path) -> None:
    cli.out("create", "0 9 * * *", "say hello")
    before = (root / "cron" / "jobs.json").read_bytes()
    assert cli.out("sync") == ""
    assert (root / "cron" / "jobs.json").read_bytes() == before


def test_a_job_written_by_hand_gets_its_next_run(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY}, {"id": "bad", "schedule": {"kind": "moon"}},
               {"id": "b", "prompt": "p", "schedule": DAILY, "enabled": False})
    cli.out("sync")
    records = {record["id"]: record for record in stored(root)}
    assert records["a"]["next_run_at"].endswith("T09:00:00+00:00")
    assert "next_run_at" not in records["bad"] and "next_run_at" not in records["b"]


def test_a_run_that_was_cut_off_is_recorded(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY})
    run = cut_off_run(root, "a")
    cli.out("sync")
    record, = stored(root)
    assert record["last_status"] == "error" and "interrupted" in record["last_error"]
    assert not run.exists()


def test_an_unreadable_jobs_json_is_reported_and_not_changed(cli: Cli, root: Path) -> None:
    path = root / "profiles" / "work" / "cron" / "jobs.json"
    path.parent.mkdir(parents=True)
    path.write_text("[}")
    assert str(path) in cli.refused("sync", code=os.EX_CONFIG)
    assert path.read_text() == "[}"


def test_a_quiet_sync_prints_only_what_is_wrong(cli: Cli, root: Path) -> None:
    cli.out("disarm")
    assert "disarmed" in cli.out("sync")
    assert cli.out("sync", "--quiet") == ""
    path = root / "cron" / "jobs.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("[}")
    assert str(path) in cli.refused("sync", "--quiet", code=os.EX_CONFIG)
