"""The commands that crontab lines start, with a `crontab` that keeps its lines in a file."""

import datetime
import os
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.schedule.model import cron_schedule
from hermes_oscron.schedulers.crontab import daemon, launchers
from hermes_oscron.schedulers.crontab.scheduler import Crontab
from hermes_oscron.schedulers.protocol import Changes, Plan, SchedulerError

NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
PLAN = Plan("default:a", cron_schedule("0 9 * * *"), ZoneInfo("UTC"), None)


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crontab:
    """Return the scheduler of a crontab that has a line for `default:a`."""
    scheduler = Crontab(str(tmp_path))
    lines = tmp_path / "lines"
    lines.write_bytes(scheduler.line(scheduler.entry(PLAN, NOW)))
    (tmp_path / "crontab").write_text(f'#!/bin/sh\n[ "$1" = -l ] && exec cat {lines}\nexec cat >{lines}\n')
    (tmp_path / "crontab").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(daemon, "missing", lambda: None)
    return scheduler


def prevent_launchers(root: Path) -> None:
    """Put a file at the path of their folder."""
    folder = Path(launchers.folder(str(root)))
    folder.parent.mkdir(parents=True)
    folder.touch()


def test_a_job_is_not_armed_without_the_command_that_its_line_starts(crontab: Crontab, tmp_path: Path) -> None:
    prevent_launchers(tmp_path)
    with pytest.raises(SchedulerError, match="cannot be written"):
        crontab.apply(Changes(arm={"default:b": PLAN._replace(instance="default:b")}), NOW)
    assert b"default:b" not in (tmp_path / "lines").read_bytes()


def test_a_job_is_deleted_even_if_the_commands_cannot_be_written(crontab: Crontab, tmp_path: Path) -> None:
    prevent_launchers(tmp_path)
    assert crontab.apply(Changes(deleted=[PLAN.instance]), NOW).disarmed == [PLAN.instance]
    assert b"default:a" not in (tmp_path / "lines").read_bytes()


@pytest.mark.parametrize("changes", [Changes(), Changes(disarm=[PLAN.instance])], ids=["no change", "disarm"])
def test_a_sync_restores_the_commands_even_if_it_arms_nothing(crontab: Crontab, tmp_path: Path,
                                                              changes: Changes) -> None:
    """After an upgrade the lines are those that should be there, and the commands are missing."""
    crontab.apply(changes, NOW)
    assert launchers.problem(str(tmp_path)) is None
