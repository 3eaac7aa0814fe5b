"""A clock that jumps, and jumps back."""

import datetime
from pathlib import Path

import pytest

from tests.faults.faulty import Faulty
from tests.fuzz.records import record
from tests.manual_clock import ManualClock

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
JUMPS = [datetime.timedelta(days=4000), datetime.timedelta(days=-4000), datetime.timedelta(minutes=95),
         datetime.timedelta(minutes=-95), datetime.timedelta(seconds=-2)]
DAY = datetime.timedelta(days=1)
PERIODS = {"daily": DAY, "often": datetime.timedelta(minutes=90), "ran": datetime.timedelta(minutes=90)}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def faulty(tmp_path: Path, clock: ManualClock) -> Faulty:
    faulty = Faulty(tmp_path / "hermes", tmp_path / "timers", clock)
    made, soon = NOW.isoformat(), (NOW + datetime.timedelta(minutes=90)).isoformat()
    often = {"kind": "interval", "minutes": 90}
    faulty.world.put({"jobs": [
        record("daily", created_at=made, next_run_at=None),
        record("often", created_at=made, schedule=often, next_run_at=soon),
        record("ran", created_at=made, schedule=often, next_run_at=soon),
        record("once", created_at=made, schedule={"kind": "once", "run_at": (NOW + 2 * DAY).isoformat()},
               next_run_at=(NOW + 2 * DAY).isoformat()),
    ]})
    return faulty


def due(faulty: Faulty, job_id: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(faulty.world.stored()[job_id]["next_run_at"])


def assert_all_fire_in_time(faulty: Faulty, clock: ManualClock) -> None:
    """Each job is due within its period; what became due in between is run now, once."""
    started = faulty.world.scheduler.ran
    for job_id, period in PERIODS.items():
        assert due(faulty, job_id) <= clock.now() + period, job_id
        assert due(faulty, job_id) > clock.now() or started.count(f"default:{job_id}") == 1
    assert dict(faulty.world.scheduler.armed) == faulty.world.plans()


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_after_the_clock_jumps_and_returns_one_sync_makes_all_jobs_fire_in_time(
    faulty: Faulty, clock: ManualClock, jump: datetime.timedelta,
) -> None:
    faulty.world.sync()
    clock.set(NOW + jump)
    faulty.world.sync()
    clock.set(NOW + datetime.timedelta(minutes=1))
    faulty.world.scheduler.ran.clear()
    faulty.world.sync()
    assert_all_fire_in_time(faulty, clock)
    assert due(faulty, "once") == NOW + 2 * DAY
    assert all("has not started" in fault for fault in faulty.world.diagnose()), "the ledger starts nothing"


def test_no_interval_waits_for_the_old_future_after_the_clock_is_set_back(faulty: Faulty, clock: ManualClock) -> None:
    ran = NOW + 400 * DAY
    content = faulty.world.document()
    for job in content["jobs"]:
        if job["id"] in PERIODS:
            job["last_run_at"], job["next_run_at"] = ran.isoformat(), (ran + PERIODS[job["id"]]).isoformat()
    faulty.world.put(content)
    faulty.world.sync()
    assert_all_fire_in_time(faulty, clock)
