"""The difference between what is armed and the plans, and the changes that remove it, the same for every scheduler."""

import datetime
from collections.abc import Mapping

import pytest

from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.protocol import Changes, Drift, Plan, Problem, Report, SchedulerError
from hermes_oscron.schedulers.reconcile import NOT_RUNNING, changes_for, compare, reconcile

from .plans import daily_plan

NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)


def plans(*instances: str) -> dict[str, Plan]:
    return {instance: daily_plan(instance) for instance in instances}


def skip_none(_instance: str) -> bool:
    return False


class FixedDrift(Foreground):
    """A scheduler with a fixed drift that arms every given plan, and collects the changes."""

    def __init__(self, drift: Drift, problems: list[Problem] | None = None) -> None:
        super().__init__("/")
        self.changes: list[Changes] = []
        self._drift = drift
        self._problems = problems or []

    def drift(self, plans: Mapping[str, Plan], now: datetime.datetime) -> Drift:
        return self._drift

    def apply(self, changes: Changes, now: datetime.datetime) -> Report:
        self.changes.append(changes)
        return Report(list(changes.arm), list(changes.disarm), self._problems)


def test_an_instance_armed_as_planned_is_not_drift() -> None:
    assert compare({"a:b": b"9"}, {"a:b": b"9"}, "timer") == {}


@pytest.mark.parametrize(("armed", "sentence"), [
    ({}, "it has no timer, so it will not fire."),
    ({"a:b": NOT_RUNNING}, "its timer is not running or damaged, so it may not fire."),
    ({"a:b": b"10"}, "its timer differs from jobs.json."),
])
def test_a_job_that_is_armed_differently_is_drift_with_the_reason(armed: dict[str, bytes], sentence: str) -> None:
    assert compare({"a:b": b"9"}, armed, "timer") == {"a:b": sentence}


def test_an_instance_that_fires_without_a_job_is_drift() -> None:
    assert compare({}, {"a:b": b"9"}, "crontab line") == {
        "a:b": "it has a crontab line, but no scheduled job in jobs.json."}


def test_a_leftover_that_does_not_fire_is_removed_but_not_a_problem() -> None:
    assert compare({}, {"a:b": NOT_RUNNING}, "timer") == {"a:b": ""}


def test_without_drift_nothing_changes() -> None:
    assert changes_for(Drift({}, {}), plans("a:b"), skip_none) == Changes({}, [])


def test_a_job_that_differs_is_armed_and_one_without_a_plan_is_disarmed() -> None:
    drift = Drift({"a:new": "it has no timer.", "a:gone": "no job.", "a:left": ""}, {})
    assert changes_for(drift, plans("a:new", "a:same"), skip_none) == Changes(plans("a:new"), ["a:gone", "a:left"])


def test_a_skipped_job_stays_as_it_is() -> None:
    drift = Drift({"a:running": "differs.", "a:unread": "no job.", "a:new": "none."}, {}, disarm_first={"a:running"})
    changes = changes_for(drift, plans("a:running", "a:new"), lambda instance: instance in ("a:running", "a:unread"))
    assert changes == Changes(plans("a:new"), [])


def test_a_job_that_must_be_disarmed_first_is_both_disarmed_and_armed() -> None:
    drift = Drift({"a:b": "differs."}, {}, disarm_first={"a:b"})
    assert changes_for(drift, plans("a:b"), skip_none) == Changes(plans("a:b"), ["a:b"])


def test_a_job_whose_plan_cannot_be_armed_is_disarmed() -> None:
    drift = Drift({"a:b": "it has a timer, but no scheduled job in jobs.json."}, {"a:b": "no calendar for it."})
    assert changes_for(drift, plans("a:b"), skip_none) == Changes({}, ["a:b"])


def test_the_report_has_plans_that_cannot_be_armed_and_those_refused() -> None:
    refused = Problem("a:c", "systemd refused: no.")
    scheduler = FixedDrift(Drift({"a:c": "none.", "a:d": "none."}, {"a:b": "no calendar for it."}), [refused])
    report = reconcile(scheduler, plans("a:b", "a:c", "a:d"), NOW, skip_none)
    assert scheduler.changes == [Changes(plans("a:c", "a:d"), [])]
    assert report == Report(["a:c", "a:d"], [], [Problem("a:b", "no calendar for it.", needs_edit=True), refused])


def test_a_scheduler_that_refuses_everything_is_an_error() -> None:
    class Refusing(FixedDrift):
        def apply(self, changes: Changes, now: datetime.datetime) -> Report:
            raise SchedulerError("no")

    with pytest.raises(SchedulerError, match="no"):
        reconcile(Refusing(Drift({}, {})), {}, NOW, skip_none)
