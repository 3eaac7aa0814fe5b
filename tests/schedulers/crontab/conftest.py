"""A `crontab` command that keeps its lines in a file."""

import datetime
import os
from pathlib import Path

import pytest

from hermes_oscron.schedulers.crontab import daemon
from hermes_oscron.schedulers.crontab.scheduler import Crontab
from tests.schedulers.plans import daily_plan

NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
PLAN = daily_plan("default:a")


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Return the file of the lines that `crontab -l` prints."""
    return tmp_path / "lines"


@pytest.fixture
def crontab(tmp_path: Path, lines: Path, monkeypatch: pytest.MonkeyPatch) -> Crontab:
    """Return the scheduler of a crontab that has a line for `PLAN`."""
    scheduler = Crontab(str(tmp_path))
    lines.write_bytes(scheduler.line(scheduler.entry(PLAN, NOW)))
    (tmp_path / "crontab").write_text(f'#!/bin/sh\n[ "$1" = -l ] && exec cat {lines}\nexec cat >{lines}\n')
    (tmp_path / "crontab").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(daemon, "missing", lambda: None)
    return scheduler
