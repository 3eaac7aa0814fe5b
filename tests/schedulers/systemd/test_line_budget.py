"""The limit on the calendar lines of an account, with a `systemctl` that succeeds and does nothing."""

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.schedule.model import cron_schedule
from hermes_oscron.schedulers.protocol import Changes, Drift, Plan, Report
from hermes_oscron.schedulers.reconcile import reconcile
from hermes_oscron.schedulers.systemd import line_budget
from hermes_oscron.schedulers.systemd.line_budget import BUDGET, cost_of, over_budget
from hermes_oscron.schedulers.systemd.scheduler import Systemd, unit_of
from hermes_oscron.schedulers.systemd.systemctl import Systemctl

NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
SIMPLE, SPLIT = "0 9 * * *", "0 9 1 * 1"
"""Schedules with one line and with two."""


def timer(*lines: str) -> bytes:
    return "".join(["[Timer]\n", *(f"OnCalendar={line}\n" for line in lines), "AccuracySec=1us\n"]).encode()


@pytest.mark.parametrize(("lines", "cost"), [
    ([], 0),
    (["*-*-* 09:00:00"], 0),
    (["Mon *-*-* 09:00:00 Europe/Berlin"], 0),
    (["*-*-* 09:00:00 Europe/Berlin", "2027-03-28 01:00:00 UTC"], 1),
    (["2027-03-28 01:00:00 UTC", "*-*-* 09:00:00 Europe/Berlin"], 1),
    (["*-*-01 09:00:00 CET", "Mon *-*-* 09:00:00 CET"], 10),
    (["*-*-01 09:00:00", "Mon *-*-* 09:00:00"], 1),
])
def test_a_line_costs_what_systemd_spends_on_it_and_the_first_is_free(lines: list[str], cost: int) -> None:
    assert cost_of(timer(*lines)) == cost


def costing(cost: int) -> bytes:
    return timer(*["*-*-* 09:00:00"] * (cost + 1))


def test_timers_are_accepted_up_to_the_budget_the_cheapest_first() -> None:
    armed = {"a:old": costing(BUDGET - 5)}
    assert list(over_budget({"a:big": costing(5), "a:b": costing(1), "a:c": costing(4), "a:free": costing(0)},
                            armed)) == ["a:big"]
    assert over_budget({"a:b": costing(1), "a:c": costing(4)}, armed) == {}


def test_a_timer_that_costs_no_more_than_before_is_accepted_over_the_budget_too() -> None:
    armed = {"a:old": costing(BUDGET), "a:b": costing(3)}
    assert over_budget({"a:b": costing(3), "a:old": costing(BUDGET - 1)}, armed) == {}
    assert list(over_budget({"a:b": costing(4)}, armed)) == ["a:b"]


def test_timers_that_are_refused_keep_their_share_of_the_budget() -> None:
    """Else each request with larger versions of all timers and some new ones would add as much as the budget."""
    armed = {f"a:{number}": costing(BUDGET // 10) for number in range(10)}
    larger = {instance: costing(BUDGET // 10 + 1) for instance in armed}
    new = {f"a:new{number}": costing(10) for number in range(10)}
    assert over_budget(larger | new, armed).keys() == larger.keys() | new.keys()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    """The scheduler of a user's manager that runs each timer of which there is a file. The budget is one line."""
    (tmp_path / "systemctl").write_text(f"""#!/bin/sh
echo "$@" >>"$0.log"
ls {tmp_path}/systemd/user | sed "s/$/ loaded active waiting/"
""")
    (tmp_path / "systemctl").chmod(0o755)
    (tmp_path / "systemd" / "user").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(line_budget, "BUDGET", 1)
    return Systemd(Systemctl(user=True))


def plans(**schedules: str) -> dict[str, Plan]:
    utc = ZoneInfo("UTC")
    return {f"default:{job_id}": Plan(f"default:{job_id}", cron_schedule(text), utc, None)
            for job_id, text in schedules.items()}


def arm(systemd: Systemd, arm: Mapping[str, Plan]) -> Report:
    return systemd.apply(Changes(arm=arm), NOW)


def calls(tmp_path: Path) -> str:
    return (tmp_path / "systemctl.log").read_text()


def test_a_job_beyond_the_budget_is_refused_with_the_reason_and_the_others_are_armed(
        systemd: Systemd, tmp_path: Path) -> None:
    assert arm(systemd, plans(first=SPLIT)).problems == []
    report = arm(systemd, plans(second=SPLIT, third=SIMPLE))
    assert report.armed == ["default:third"] and [problem.subject for problem in report.problems] == ["default:second"]
    assert report.problems[0].sentence.startswith(
        "Its schedule needs 2 lines in its timer, and the timers of this account have too many: 1 of 1 beyond the ")
    assert "default:second" not in calls(tmp_path)
    assert systemd.drift(plans(first=SPLIT, third=SIMPLE), NOW) == Drift({}, {}, set())


def test_a_job_whose_new_schedule_is_beyond_the_budget_keeps_firing_as_before(
        systemd: Systemd, tmp_path: Path) -> None:
    assert arm(systemd, plans(first=SPLIT, second=SIMPLE)).problems == []
    path = tmp_path / "systemd" / "user" / unit_of("default:second")
    before, called = path.read_bytes(), calls(tmp_path)
    for turn in range(2):
        report = (arm(systemd, plans(second=SPLIT)) if turn == 0 else
                  reconcile(systemd, plans(first=SPLIT, second=SPLIT), NOW, lambda _instance: False))
        assert report.armed == report.disarmed == []
        assert [problem.subject for problem in report.problems] == ["default:second"]
        assert path.read_bytes() == before
        assert "stop" not in calls(tmp_path).removeprefix(called)
    assert report.problems[0].needs_edit, "a sync that is repeated every 10 s would be of no use"


def test_lines_that_are_removed_by_the_same_change_make_room(systemd: Systemd) -> None:
    assert arm(systemd, plans(first=SPLIT)).problems == []
    report = systemd.apply(Changes(arm=plans(second=SPLIT), disarm=["default:first"]), NOW)
    assert report == Report(["default:second"], ["default:first"], [])


def test_a_sync_reports_the_job_and_does_not_try_to_arm_it(systemd: Systemd) -> None:
    assert arm(systemd, plans(first=SPLIT)).problems == []
    drift = systemd.drift(plans(first=SPLIT, second=SPLIT), NOW)
    assert drift.wrong == {} and list(drift.unusable) == ["default:second"]
