"""Since when cron can have fired a job as it is now; of the foreground thread it is not known."""

import datetime
import os
from pathlib import Path

import pytest

from hermes_oscron.schedulers.crontab import daemon
from hermes_oscron.schedulers.crontab.scheduler import Crontab
from hermes_oscron.schedulers.crontab.table import CrontabFile
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.protocol import Changes

from .plans import daily_plan

NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
JOB = "default:a"


def test_under_cron_since_the_daemon_was_started_and_the_line_changed(
        root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid_file = tmp_path / "crond.pid"
    monkeypatch.setattr(daemon, "PID_FILES", (str(tmp_path / "other"), str(pid_file)))
    monkeypatch.setattr(daemon, "missing", lambda: None)
    monkeypatch.setattr(CrontabFile, "edit", lambda table, change: change([]))
    crontab = Crontab(str(root))
    crontab.apply(Changes(arm={JOB: daily_plan(JOB)}), NOW)
    assert crontab.armed_since(JOB) is None, "the daemon has no file"
    pid_file.touch()
    line = root / "cron" / "oscron" / "lines" / JOB
    for of_daemon, of_line in ((2000, 3000), (3000, 2000)):
        os.utime(pid_file, (1000, of_daemon))
        os.utime(line, (1000, of_line))
        assert crontab.armed_since(JOB) == 3000
    crontab.apply(Changes(arm={JOB: daily_plan(JOB)}), NOW)
    assert (since := crontab.armed_since(JOB)) and since > 3000, "the line has changed"
    crontab.apply(Changes(disarm=[JOB]), NOW)
    assert crontab.armed_since(JOB) is None


def test_in_the_foreground_it_is_not_known(root: Path) -> None:
    with Foreground(str(root)).firing(lambda now: {}):
        assert Foreground(str(root)).armed_since(JOB) is None
