"""Problems that doctor finds. On machines that fire: tests/machine/test_doctor.py."""

import datetime
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_oscron.schedulers.active import set_active_scheduler
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.protocol import Drift, Plan
from hermes_oscron.service.doctor import Doctor
from tests.fuzz.world import Ledger

from .world import Timers, UnwatchedSelection, doctor, put_record


@pytest.mark.parametrize("expr", ["0 9 31 2 *", "x"])
def test_a_schedule_that_never_fires_is_reported(root: Path, expr: str) -> None:
    put_record(root, schedule={"kind": "cron", "expr": expr})
    scheduler = Foreground(str(root))
    with scheduler.firing(lambda now: {}):
        found = doctor(root, scheduler).diagnose()
    assert any("default:odd: the job can never fire" in sentence for sentence in found)
    assert not any("default:sound" in sentence for sentence in found)


def test_a_move_made_while_doctor_starts_is_not_a_problem(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_active_scheduler(str(root), "systemd")
    monkeypatch.setattr("hermes_oscron.service.selection.scheduler_of", lambda root, kind: Timers(root))
    kept = UnwatchedSelection(str(root), Ledger(str(root)), active_at_start="foreground")
    assert Doctor(kept).diagnose() == []
    moved = UnwatchedSelection(str(root), Ledger(str(root)))
    assert "systemd fires the jobs, but oscron.toml sets foreground" in Doctor(moved).diagnose()[0]


class Unarmable(Ledger):
    """A scheduler that cannot express any plan."""

    def drift(self, plans: Mapping[str, Plan], now: datetime.datetime) -> Drift:
        return Drift({}, dict.fromkeys(plans, "The schedule cannot be expressed."))


def test_a_job_that_the_scheduler_cannot_arm_is_reported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermes_oscron.service.doctor.CONFIRM_S", 0.0)
    put_record(root)
    found = doctor(root, Unarmable(str(root))).diagnose()
    assert found == [f"default:{name}: The schedule cannot be expressed." for name in ("sound", "odd")]
