from pathlib import Path

from ..conftest import stored, write_jobs
from .conftest import Cli

ONCE = {"kind": "once", "run_at": "2024-03-15T09:00:00+00:00", "display": "x"}


def test_it_resumes_the_job_from_its_next_occurrence(cli: Cli, root: Path) -> None:
    job = cli.json("create", "0 9 * * *", "say hello")
    cli.out("pause", job["id"])
    resumed = cli.json("resume", job["id"])
    assert (resumed["state"], resumed["next_run_at"]) == ("scheduled", job["next_run_at"])
    assert stored(root)[0]["enabled"] is True


def test_a_past_one_shot_is_refused_and_stays_paused(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": ONCE, "state": "paused", "enabled": False})
    assert "past" in cli.refused("resume", "a")
    assert stored(root)[0]["state"] == "paused"


def test_a_missing_job_is_an_error(cli: Cli) -> None:
    assert "never-was" in cli.refused("resume", "never-was")
