"""The zone in a line is one that systemd has: old names may be known to Python alone."""

import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.schedule.parse import parse_schedule
from hermes_oscron.schedulers.protocol import SchedulerError
from hermes_oscron.schedulers.systemd.calendar import on_calendar
from hermes_oscron.schedulers.systemd.zone_name import systemd_zone_name

NOW = datetime.datetime(2026, 11, 23, 4, tzinfo=datetime.UTC)


@pytest.fixture
def zones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of zones of a Debian 13 without tzdata-legacy."""
    for name in ("America/New_York", "Asia/Kolkata", "Etc/UTC"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr("hermes_oscron.schedulers.systemd.zone_name.ZONES", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("name", "there"), [
    ("US/Eastern", "America/New_York"), ("Asia/Calcutta", "Asia/Kolkata"), ("Zulu", "Etc/UTC"), ("UTC", "UTC"),
    ("America/New_York", "America/New_York")])
def test_a_name_that_systemd_does_not_have_is_written_as_one_that_it_has(zones: Path, name: str, there: str) -> None:
    assert systemd_zone_name(ZoneInfo(name)) == there


def test_a_new_name_is_written_as_the_old_one_where_only_that_is_there(zones: Path) -> None:
    (zones / "Asia" / "Calcutta").touch()
    (zones / "Asia" / "Kolkata").unlink()
    assert systemd_zone_name(ZoneInfo("Asia/Kolkata")) == "Asia/Calcutta"


def test_the_line_of_a_job_has_the_name_that_systemd_has(zones: Path) -> None:
    zone = ZoneInfo("US/Eastern")
    [line, *_] = on_calendar(parse_schedule("0 9 * * *", zone, NOW), zone, ZoneInfo("UTC"), NOW)
    assert line == "*-*-* 09:00:00 America/New_York"


def test_a_zone_that_systemd_does_not_know_by_any_name_is_refused(zones: Path) -> None:
    with pytest.raises(SchedulerError, match=rf"systemd does not know the zone Asia/Tokyo: there is no {zones}/Asia"):
        systemd_zone_name(ZoneInfo("Asia/Tokyo"))
