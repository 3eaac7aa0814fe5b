from pathlib import Path

from ..conftest import stored
from .conftest import Cli


def test_it_pauses_the_job_and_keeps_the_reason(cli: Cli, root: Path) -> None:
    job = cli.json("create", "0 9 * * *", "say hello")
    paused = cli.json("pause", job["id"], "--reason", "holidays")
    assert (paused["state"], paused["next_run_at"], paused["paused_reason"]) == ("paused", None, "holidays")
    assert stored(root)[0]["enabled"] is False
    assert cli.json("pause", job["id"]) == paused


def test_a_missing_job_is_an_error(cli: Cli) -> None:
    assert "never-was" in cli.refused("pause", "never-was")
    cli.refused("pause", code=2)
