"""The difference between the crontab and the plans, with a `crontab` that lists a file."""

import datetime
import os
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.schedule.model import cron_schedule
from hermes_oscron.schedulers.crontab import daemon
from hermes_oscron.schedulers.crontab.scheduler import Crontab
from hermes_oscron.schedulers.protocol import Plan

NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
PLAN = Plan("default:a", cron_schedule("0 9 * * *"), ZoneInfo("UTC"), None)


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crontab:
    """Return the scheduler of a crontab that has two lines for `default:a`."""
    scheduler = Crontab(str(tmp_path))
    line = scheduler.line(scheduler.entry(PLAN, NOW))
    (tmp_path / "lines").write_bytes(line + line.replace(b"0 9 ", b"0 10 "))
    (tmp_path / "crontab").write_text(f"#!/bin/sh\nexec cat {tmp_path}/lines\n")
    (tmp_path / "crontab").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(daemon, "missing", lambda: None)
    return scheduler


def test_a_second_line_of_a_job_is_drift(crontab: Crontab) -> None:
    assert crontab.drift({PLAN.instance: PLAN}, NOW).wrong == {
        PLAN.instance: "its crontab line differs from jobs.json."}


def test_two_lines_without_a_job_are_not_harmless(crontab: Crontab) -> None:
    """cron fires both: doctor must report them."""
    assert crontab.drift({}, NOW).wrong == {
        PLAN.instance: "it has a crontab line, but no scheduled job in jobs.json."}
