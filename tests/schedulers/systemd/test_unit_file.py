"""The text of a timer unit: systemd itself reads it, with any name of the job."""

import datetime
import os
import re
import subprocess
import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hermes_oscron.hermes.home import SAFE_NAME
from hermes_oscron.schedule.parse import parse_schedule
from hermes_oscron.schedulers.protocol import Plan
from hermes_oscron.schedulers.systemd.unit_file import render, timer_lines

UTC = ZoneInfo("UTC")
NOW = datetime.datetime(2026, 11, 23, 4, 0, 13, tzinfo=datetime.UTC)

def unit(schedule: str = "0 9 * * *", job_id: str = "4f2a9c1d07be") -> str:
    return render(Plan(f"default:{job_id}", parse_schedule(schedule, UTC, NOW), UTC, None), UTC, NOW)


def test_a_timer_unit_is_short() -> None:
    assert unit("0 9 * * 1-5").splitlines()[1:] == [
        "[Unit]",
        "Description=default:4f2a9c1d07be (Hermes job)",
        "",
        "[Timer]",
        "OnCalendar=Mon..Fri *-*-* 09:00:00",
        "AccuracySec=1us",
    ]


def test_a_one_shot_leaves_no_timer_behind() -> None:
    assert timer_lines(parse_schedule("2027-03-15T09:00", UTC, NOW), UTC, UTC, NOW) == [
        "OnCalendar=2027-03-15 09:00:00 UTC", "AccuracySec=1us", "RemainAfterElapse=no"]


@pytest.mark.parametrize("schedule", ["0 9 * * *", "every 45m", "every 2h", "2027-03-15T09:00", "0 9 13 * 5"])
def test_a_timer_is_neither_enabled_nor_persistent(schedule: str) -> None:
    content = unit(schedule)
    assert "[Install]" not in content
    assert "Persistent" not in content
    assert content.count("AccuracySec=1us") == 1


IDS = st.from_regex(SAFE_NAME, fullmatch=True)


@settings(max_examples=10, deadline=None)
@given(st.lists(IDS, min_size=20, max_size=20, unique=True))
@example(["-", "a", "a.timer", "_..", "x" * 64, "--help", "-.-"])
def test_systemd_parses_the_timer_of_every_id(ids: list[str]) -> None:
    """No profile is in the names of the files: `systemd-analyze verify` takes what is behind a colon for an alias."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"hermes-job@{job_id}.timer") for job_id in ids]
        Path(folder, "hermes-job@.service").write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n")
        for path, job_id in zip(paths, ids, strict=True):
            path.write_text(unit(job_id=job_id))
        command = ["systemd-analyze", "verify", "--man=no", *map(str, paths)]
        told = subprocess.run(command, capture_output=True, timeout=60, text=True,
                              env={**os.environ, "SYSTEMD_LOG_LEVEL": "debug"})
    assert told.returncode == 0
    for job_id in ids:
        said = told.stdout.partition(f"-> Unit hermes-job@{job_id}.timer:\n")[2].partition("-> Unit ")[0]
        assert f"Description: default:{job_id} (Hermes job)\n" in said
        assert re.findall(r"OnCalendar: (.*)", said) == ["*-*-* 09:00:00"]
        assert f"Triggers: hermes-job@{job_id}.service" in said
