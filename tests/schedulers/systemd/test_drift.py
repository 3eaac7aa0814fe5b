"""The difference between the timers and the plans, with a `systemctl` that lists one active timer."""

import datetime
import os
from pathlib import Path

import pytest

from hermes_oscron.schedulers.systemd.scheduler import Systemd
from hermes_oscron.schedulers.systemd.systemctl import Systemctl

NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
UNIT = "hermes-job@default:a.timer"


@pytest.fixture
def timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the timer's file, which does not exist yet."""
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\necho {UNIT} loaded active waiting\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = tmp_path / "systemd" / "user" / UNIT
    path.parent.mkdir(parents=True)
    return path


@pytest.mark.parametrize("state", ["missing", "empty", "unreadable", "written"])
def test_an_active_timer_without_a_job_is_not_harmless(timer: Path, state: str) -> None:
    """It fires by the schedule that systemd has read, and not by its file: doctor must report it."""
    if state == "unreadable":
        timer.mkdir()
    elif state != "missing":
        timer.write_text("[Timer]\n" if state == "written" else "")
    assert Systemd(Systemctl(user=True)).drift({}, NOW).wrong == {
        "default:a": "it has a timer, but no scheduled job in jobs.json."}


def test_a_timer_is_armed_since_its_file_was_written(timer: Path) -> None:
    systemd = Systemd(Systemctl(user=True))
    assert systemd.armed_since("default:a") is None
    timer.touch()
    os.utime(timer, (1000, 2000))
    assert systemd.armed_since("default:a") == 2000
