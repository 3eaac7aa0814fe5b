"""Problems that doctor finds. On machines that fire: tests/machine/test_doctor.py."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.hermes.home import home_of
from hermes_oscron.runs import lock
from hermes_oscron.runs.model import Result, Run
from hermes_oscron.schedulers.active import set_active_scheduler
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.protocol import Drift, Plan
from hermes_oscron.service import bookkeeping
from hermes_oscron.service.doctor import Doctor
from hermes_oscron.service.findings import WARNING
from tests.conftest import write_jobs
from tests.fuzz.world import Ledger

from .world import DAILY, Timers, UnwatchedSelection, diagnosis, put_record, selection, service


@pytest.mark.parametrize(("schedule", "part"), [
    ("every 2h", "a text, 'every 2h', and not an object: the agent does not run the job either. 'hermes-oscron update "
                 "default:odd --schedule \"every 2h\"' stores it as one."),
    ("0 9 * * 1-5", "'hermes-oscron update default:odd --schedule \"0 9 * * 1-5\"' stores it as one."),
    ("soonish", "'hermes-oscron update default:odd --schedule SCHEDULE' gives it another one."),
    ("every $HOME", "'hermes-oscron update default:odd --schedule SCHEDULE' gives it another one."),
    (None, "The record has no schedule: it must be an object with a 'kind'. 'hermes-oscron update default:odd "
           "--schedule SCHEDULE' gives it another one."),
])
def test_a_schedule_that_is_not_an_object_is_reported_with_the_remedy(root: Path, schedule: Any, part: str) -> None:
    put_record(root, schedule=schedule)
    scheduler = Foreground(str(root))
    with scheduler.firing(lambda now: {}):
        [found] = diagnosis(root, scheduler)
        assert found.startswith("default:odd: the job can never fire: ") and part in found
        if "update" in part and "SCHEDULE" not in part:
            service(root, scheduler).update("odd", {"schedule": schedule})
            assert diagnosis(root, scheduler) == []


def test_a_state_that_is_not_a_text_must_be_repaired_in_the_file(root: Path) -> None:
    put_record(root, state=["paused"])
    scheduler = Foreground(str(root))
    with scheduler.firing(lambda now: {}):
        [found] = diagnosis(root, scheduler)
    assert found.endswith(f"The record's state is not a text. Repair it in {root}/cron/jobs.json, or delete the job.")


@pytest.mark.parametrize("expr", ["0 9 31 2 *", "x"])
def test_a_schedule_that_never_fires_is_reported(root: Path, expr: str) -> None:
    put_record(root, schedule={"kind": "cron", "expr": expr})
    scheduler = Foreground(str(root))
    with scheduler.firing(lambda now: {}):
        found = diagnosis(root, scheduler)
    assert any("default:odd: the job can never fire" in sentence for sentence in found)
    assert not any("default:sound" in sentence for sentence in found)


@pytest.mark.parametrize(("expr", "part"), [
    ("5-5 9 * * *", "croniter and the agent the whole field; write `5 9 * * *`"),
    ("0 9 * * * 0", "the agent takes the sixth as the second; write `0 9 * * *`"),
    ("5-5 9 * * *", " 'hermes-oscron update default:odd --schedule SCHEDULE' gives it another one."),
])
def test_a_schedule_that_programs_read_in_two_ways_is_reported(root: Path, expr: str, part: str) -> None:
    put_record(root, schedule={"kind": "cron", "expr": expr})
    scheduler = Foreground(str(root))
    with scheduler.firing(lambda now: {}):
        found = diagnosis(root, scheduler)
    assert any(sentence.startswith("default:odd: ") and part in sentence for sentence in found), found


def test_a_move_made_while_doctor_starts_is_not_a_problem(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_active_scheduler(str(root), "systemd")
    monkeypatch.setattr("hermes_oscron.service.selection.scheduler_of", lambda root, kind: Timers(root))
    kept = UnwatchedSelection(str(root), Ledger(str(root)), active_at_start="foreground")
    assert Doctor(kept).diagnose() == []
    moved = UnwatchedSelection(str(root), Ledger(str(root)))
    assert "systemd fires the jobs, but oscron.toml sets foreground" in Doctor(moved).diagnose()[0].sentence


class Unarmable(Ledger):
    """A scheduler that cannot express any plan."""

    def drift(self, plans: Mapping[str, Plan], now: datetime.datetime) -> Drift:
        return Drift({}, dict.fromkeys(plans, "The schedule cannot be expressed."))


def test_a_job_that_the_scheduler_cannot_arm_is_reported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermes_oscron.service.doctor.CONFIRM_S", 0.0)
    put_record(root)
    found = diagnosis(root, Unarmable(str(root)))
    assert found == [f"default:{name}: The schedule cannot be expressed." for name in ("sound", "odd")]


def test_a_job_that_no_program_can_run_is_reported(root: Path) -> None:
    write_jobs(root, {"id": "prompt", "prompt": "x", "schedule": DAILY},
               {"id": "script", "prompt": "", "no_agent": True, "script": "gone.sh", "schedule": DAILY},
               {"id": "paused", "prompt": "x", "schedule": DAILY, "enabled": False, "state": "paused"})
    scheduler = Foreground(str(root))
    with scheduler.firing(lambda now: {}):
        assert diagnosis(root, scheduler) == [
            f"default:script: There is no script {root}/scripts/gone.sh. Put it there; 'hermes-oscron update ID "
            f"--script NAME' names another one."]
        (root / "oscron.toml").write_text('[exec]\ncommand = ["not-there-at-all"]\n')
        assert "default:prompt: There is no program not-there-at-all in " in diagnosis(root, scheduler)[0]
        (root / "oscron.toml").write_text('[exec]\nagent = "none"\n')
        found = diagnosis(root, scheduler)
        assert len(found) == 2 and found[0].startswith("default:prompt: No program can run the prompt")


def test_a_prompt_that_lacks_what_its_record_names_is_a_warning(root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "x", "profile": "gone", "schedule": DAILY})
    scheduler = Foreground(str(root))
    with scheduler.firing(lambda now: {}):
        [found] = Doctor(selection(root, scheduler)).diagnose()
    assert found.severity == WARNING and found.sentence.startswith("default:a: There is no profile 'gone'")
    assert "The job runs in default, which owns it. 'hermes-oscron update ID --run-profile NAME'" in found.sentence


def test_a_zone_that_does_not_exist_is_reported(root: Path) -> None:
    (root / ".env").write_text("HERMES_TIMEZONE=Mars/Base\n")
    scheduler = Foreground(str(root))
    with scheduler.firing(lambda now: {}):
        [found] = diagnosis(root, scheduler)
    assert found.startswith(f"default: HERMES_TIMEZONE in {root}/.env is 'Mars/Base', and there is no such zone.")


def test_runs_that_wait_to_be_entered_in_the_ledger_are_reported(root: Path) -> None:
    home = home_of(str(root), "default")
    for started in (1.5, 2.5):
        lock.keep_unentered(home, Run("a", started, "schedule"), Result(3.0, None))
    scheduler = Foreground(str(root))
    with scheduler.firing(lambda now: {}):
        [found] = Doctor(selection(root, scheduler)).diagnose()
        assert found.severity == WARNING and found.sentence == (
            f"default: 2 runs that ended are not in {home.state.ledger}, which could not be written. 'hermes-oscron "
            f"sync' enters them, or prints the reason.")
        bookkeeping.keep(home, datetime.datetime.now(datetime.UTC))
        assert diagnosis(root, scheduler) == []
