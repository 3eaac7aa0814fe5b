"""The verbs together with the store, without anything that fires."""

import datetime
import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_oscron.bridge import Bridge
from hermes_oscron.hermes import homes, records, store
from hermes_oscron.schedule import text
from hermes_oscron.schedule.errors import ScheduleError
from hermes_oscron.schedulers.foreground import Foreground
from tests import strategies

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]
INSTANTS = st.datetimes(datetime.datetime(2030, 1, 1), datetime.datetime(2090, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0).isoformat())
SCHEDULES = strategies.expressions() | st.integers(1, 500_000).map(lambda n: f"every {n}m") | INSTANTS


@settings(max_examples=300, deadline=None)
@given(SCHEDULES, st.sampled_from(ZONES))
def test_what_is_displayed_comes_back_as_the_same_schedule(schedule: str, zone: str) -> None:
    """Through the API's verbs and the store: clients post what they were shown."""
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMES_TIMEZONE", zone)
        bridge = Bridge(root, Foreground(root))
        try:
            job = bridge.create({"prompt": "x", "schedule": schedule})
        except ScheduleError:
            return
        again = bridge.update(job["id"], {"schedule": job["schedule_display"]})
        assert (again["schedule"], again["next_run_at"]) == (job["schedule"], job["next_run_at"])
        by_expression = bridge.update(job["id"], {"schedule": job["schedule"]["expression"]})
        assert by_expression["schedule"] == job["schedule"]
        stored = store.find(homes.home(root, "default"), job["id"])
        kept = records.schedule_of(stored, ZoneInfo(zone))
        assert {"kind": kept.kind, "expression": kept.expression} == job["schedule"]
        assert text.parse(stored["schedule"]["display"], ZoneInfo(zone), datetime.datetime.now(datetime.UTC)) == kept


def test_a_zone_set_anew_moves_the_wall_clock_and_no_instant(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = Bridge(str(root), Foreground(str(root)))
    daily = bridge.create({"prompt": "x", "schedule": "0 9 * * *"})
    once = bridge.create({"prompt": "x", "schedule": "2040-01-01T09:00"})
    monkeypatch.setenv("HERMES_TIMEZONE", "Asia/Tokyo")
    assert bridge.show(daily["id"])["next_run_at"].endswith("09:00:00+09:00")
    moved = bridge.show(once["id"])
    assert moved["schedule_display"] == "Once at 2040-01-01 18:00"
    assert records.instant(moved["next_run_at"]) == records.instant(once["next_run_at"])
