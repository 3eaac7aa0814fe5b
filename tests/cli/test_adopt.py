import datetime
from pathlib import Path

from ..conftest import stored, wait_for, write_jobs, write_script
from .conftest import Cli

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def jobs_of_an_agent(root: Path) -> None:
    """One job of each fate, as the agent may have left them."""
    script = {"no_agent": True, "script": write_script(root, "a.sh", "echo\n"), "schedule": DAILY}
    write_jobs(
        root,
        {"id": "armed", "name": "Morning", **script, "next_run_at": "2099-01-01T09:00:00+00:00"},
        {"id": "paused", "name": "Paused", **script, "state": "paused", "enabled": False},
        {"id": "missed", "name": "Missed", **script, "next_run_at": "2026-01-01T09:00:00+00:00"},
        {"id": "done", "name": "Done", "schedule": {"kind": "once", "run_at": "2026-01-01T09:00:00+00:00"},
         "last_run_at": "2026-01-01T09:00:01+00:00", "state": "completed", "enabled": False},
        {"id": "lost", "name": "Lost\x1b[2J", "schedule": {"kind": "moon"}},
    )


def test_the_dry_run_prints_the_effect_on_each_job_and_changes_nothing(cli: Cli, root: Path) -> None:
    jobs_of_an_agent(root)
    before = (root / "cron" / "jobs.json").read_bytes()
    said = cli.out("adopt", "--dry-run")
    now = datetime.datetime.now(datetime.UTC)
    day = now.date() + datetime.timedelta(days=now.hour >= 9)
    assert said == (f"default:armed  Morning\n    fires at {day} 09:00:00 UTC\n"
                    "default:paused  Paused\n    stays paused\n"
                    "default:missed  Missed\n    runs at once: due 2026-01-01 09:00 UTC\n"
                    "default:done  Done\n    stays completed\n"
                    "default:lost  Lost [2J\n"
                    "    never fires: The record's schedule is not a schedule: {'kind': 'moon'}\n")
    assert (root / "cron" / "jobs.json").read_bytes() == before


def test_adopt_without_dry_run_syncs_the_jobs(cli: Cli, root: Path, server: str) -> None:
    jobs_of_an_agent(root)
    assert "runs at once" in cli.out("adopt")
    wait_for(lambda: next(job for job in stored(root) if job["id"] == "missed").get("last_status") == "ok")
    assert "runs at once" not in cli.out("adopt", "--dry-run")


def test_a_home_without_jobs_is_reported(cli: Cli, root: Path) -> None:
    assert cli.out("adopt", "--dry-run") == f"There are no jobs in {root} yet.\n"
