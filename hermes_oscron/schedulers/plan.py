"""What the bridge asks of whatever fires: plans in, a report out. Every scheduler keeps this protocol."""

import datetime
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from ..hermes import records
from ..hermes.homes import Home, instance
from ..hermes.store import Record
from ..schedule.types import INTERVAL, Schedule


class SchedulerError(Exception):
    """What fires said no; the text is its own sentence and what to do about it."""


class Plan(NamedTuple):
    """One job that should be armed: `grid` is when an interval is due next."""

    instance: str
    name: str
    schedule: Schedule
    zone: ZoneInfo
    grid: datetime.datetime | None


def plan_of(home: Home, record: Record, zone: ZoneInfo, now: datetime.datetime) -> Plan | None:
    """How RECORD's job should be armed at NOW; None when it should not be. Raises ScheduleError."""
    due = records.next_run(record, now, zone)
    if due is None:
        return None
    schedule = records.schedule_of(record, zone)
    return Plan(
        instance(home.profile, str(record["id"])),
        str(record.get("name") or record["id"]),
        schedule,
        zone,
        due if schedule.kind == INTERVAL else None,
    )


class Report(NamedTuple):
    """What a reconciliation did: instances newly armed, instances disarmed, and what could not be done and why."""

    armed: list[str]
    disarmed: list[str]
    refused: dict[str, str]


class Scheduler(Protocol):
    """Something that fires jobs."""

    @property
    def kind(self) -> str:
        """Its name in oscron.toml."""

    def unavailable(self) -> str | None:
        """Why it cannot fire here, in a sentence; None when it can."""

    def arm(self, plan: Plan, now: datetime.datetime) -> None:
        """Fire PLAN's job from NOW on as it says, and by no earlier plan. Raises SchedulerError."""

    def disarm(self, instances: Iterable[str]) -> None:
        """Fire INSTANCES no more; those it does not know are no error. Raises SchedulerError."""

    def forget(self, instance: str) -> None:
        """Disarm INSTANCE, whose job is no more, and drop what is remembered of its runs. Raises SchedulerError."""

    def reconcile(self, plans: Mapping[str, Plan], now: datetime.datetime, leave: Collection[str] = ()) -> Report:
        """Arm PLANS and nothing else, touching only what differs and nothing of the profiles LEAVE.

        Raises SchedulerError where nothing could be done at all.
        """

    def differences(self, plans: Mapping[str, Plan], now: datetime.datetime) -> dict[str, str]:
        """For each instance that is not armed as PLANS says, what is wrong with it, in a sentence."""

    def troubles(self) -> list[str]:
        """What is wrong with itself, in sentences. Raises SchedulerError."""

    def start(self, instance: str) -> None:
        """Run INSTANCE's job now, and do not wait for it; one that is starting already is that run.

        Raises SchedulerError.
        """

    def start_again(self, instance: str) -> None:
        """Run INSTANCE's job now, once more than what has run until now. Raises SchedulerError."""
