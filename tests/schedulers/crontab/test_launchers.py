"""The commands that crontab lines start."""

from pathlib import Path

import pytest

from hermes_oscron.schedulers.crontab import launchers
from hermes_oscron.schedulers.crontab.scheduler import Crontab
from hermes_oscron.schedulers.protocol import Changes, SchedulerError
from tests.schedulers.plans import daily_plan

from .conftest import NOW, PLAN


def prevent_launchers(root: Path) -> None:
    """Put a file at the path of their folder."""
    folder = Path(launchers.folder(str(root)))
    folder.parent.mkdir(parents=True)
    folder.touch()


def test_a_job_is_not_armed_without_the_command_that_its_line_starts(crontab: Crontab, tmp_path: Path,
                                                                     lines: Path) -> None:
    prevent_launchers(tmp_path)
    with pytest.raises(SchedulerError, match="cannot be written"):
        crontab.apply(Changes(arm={"default:b": daily_plan("default:b")}), NOW)
    assert b"default:b" not in lines.read_bytes()


def test_a_job_is_deleted_even_if_the_commands_cannot_be_written(crontab: Crontab, tmp_path: Path, lines: Path) -> None:
    prevent_launchers(tmp_path)
    assert crontab.apply(Changes(deleted=[PLAN.instance]), NOW).disarmed == [PLAN.instance]
    assert b"default:a" not in lines.read_bytes()


@pytest.mark.parametrize("changes", [Changes(), Changes(disarm=[PLAN.instance])], ids=["no change", "disarm"])
def test_a_sync_restores_the_commands_even_if_it_arms_nothing(crontab: Crontab, tmp_path: Path,
                                                              changes: Changes) -> None:
    """After an upgrade the lines are those that should be there, and the commands are missing."""
    crontab.apply(changes, NOW)
    assert launchers.problem(str(tmp_path)) is None
