from pathlib import Path

from ..conftest import stored, write_jobs
from .conftest import Cli

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def test_only_the_job_and_its_outputs_are_deleted(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY}, {"id": "b", "prompt": "p", "schedule": DAILY})
    for job_id in ("a", "b"):
        (root / "cron" / "output" / job_id).mkdir(parents=True)
    assert cli.out("delete", "a") == "Deleted a.\n"
    assert [record["id"] for record in stored(root)] == ["b"]
    assert [folder.name for folder in (root / "cron" / "output").iterdir()] == ["b"]


def test_a_missing_job_is_an_error(cli: Cli, root: Path) -> None:
    (root / "cron" / "output" / "stray").mkdir(parents=True)
    for job_id in ("stray", "..", "../output"):
        assert "no job" in cli.refused("delete", job_id)
    assert (root / "cron" / "output" / "stray").is_dir()
