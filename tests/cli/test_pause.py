from pathlib import Path

from ..conftest import stored, write_jobs
from .conftest import Cli


def test_it_pauses_the_job_and_keeps_the_reason(cli: Cli, root: Path) -> None:
    job = cli.json("create", "0 9 * * *", "say hello")
    paused = cli.json("pause", job["id"], "--reason", "holidays")
    assert (paused["state"], paused["next_run_at"], paused["paused_reason"]) == ("paused", None, "holidays")
    assert stored(root)[0]["enabled"] is False
    assert cli.json("pause", job["id"]) == paused


def test_a_completed_job_is_not_paused_and_a_note_reports_it(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": {"kind": "interval", "minutes": 60}, "state": "completed",
                      "enabled": False})
    done = cli.run("pause", "a")
    assert done.stderr == "NOTE: only a scheduled job can be paused, and this one is completed.\n"
    assert done.returncode == 0
    assert stored(root)[0]["state"] == "completed"


def test_a_missing_job_is_an_error(cli: Cli) -> None:
    assert "never-was" in cli.refused("pause", "never-was")
    cli.refused("pause", code=2)
