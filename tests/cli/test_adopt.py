import datetime
import re
import subprocess
from pathlib import Path

import pytest

from ..conftest import stored, wait_for, write_jobs, write_script
from ..wrong_reading import CLI
from .conftest import Cli

SOURCE = Path(__file__).parents[2]
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


@pytest.mark.parametrize("state", ["scheduled", "paused"])
def test_a_schedule_that_croniter_reads_in_another_way_is_reported_and_armed(cli: Cli, root: Path, state: str) -> None:
    """A job that has been armed for long must not stop because of a doubt."""
    write_jobs(root, {"id": "odd", "name": "Odd", "prompt": "x", "schedule": {"kind": "cron", "expr": "5 9 * * Mon"},
                      "state": state, "enabled": state == "scheduled"},
               {"id": "good", "name": "Good", "prompt": "x", "schedule": DAILY},
               {"id": "done", "prompt": "x", "schedule": {"kind": "cron", "expr": "5 9 * * 1"}, "state": "completed",
                "enabled": False})
    previewed, adopted = (subprocess.run([*CLI, "adopt", *options], capture_output=True, text=True, timeout=30,
                                         cwd=SOURCE) for options in (["--dry-run"], []))
    for told in (previewed, adopted):
        problem, = re.findall("PROBLEM: (.*)", told.stdout)
        assert re.search("^'5 9 .* Mon' is due at .* 10:05 as hermes-oscron .* at .* 09:05 as croniter", problem)
        assert told.stdout.index("default:odd") < told.stdout.index("PROBLEM") < told.stdout.index("default:good")
    assert (previewed.returncode, previewed.stderr) == (0, "")
    assert adopted.returncode == 1 and "Armed" not in adopted.stderr
    shown, = (job for job in cli.json("list")["jobs"] if job["id"] == "odd")
    assert shown["state"] == state
    assert "PROBLEM" not in cli.out("adopt", "--dry-run")


def test_a_home_without_jobs_is_reported(cli: Cli, root: Path) -> None:
    assert cli.out("adopt", "--dry-run") == f"There are no jobs in {root} yet.\n"
