"""What the bridge asks of whatever fires: plans in, a report out. Every scheduler keeps this protocol."""

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from ..hermes import records
from ..hermes.homes import Home, instance
from ..hermes.store import Record
from ..schedule.types import INTERVAL, Schedule


class SchedulerError(Exception):
    """What fires said no; the text is its own sentence and what to do about it."""


class Plan(NamedTuple):
    """One job that has a schedule before it: `grid` is when an interval is due. A paused one is not to be fired."""

    instance: str
    schedule: Schedule
    zone: ZoneInfo
    grid: datetime.datetime | None
    paused: bool = False


def plan_of(home: Home, record: Record, zone: ZoneInfo, now: datetime.datetime) -> Plan | None:
    """How RECORD's job should be armed at NOW; None when no time is before it. Raises ScheduleError."""
    paused = records.state(record) == records.PAUSED
    due = records.next_run(record, now, zone)
    if due is None and not paused:
        return None
    schedule = records.schedule_of(record, zone)
    return Plan(
        instance(home.profile, str(record["id"])),
        schedule,
        zone,
        (due or records.grid(record)) if schedule.kind == INTERVAL else None,
        paused,
    )


def to_fire(plans: Mapping[str, Plan]) -> dict[str, Plan]:
    """Those of PLANS that are not paused."""
    return {instance: plan for instance, plan in plans.items() if not plan.paused}


class Report(NamedTuple):
    """What a reconciliation did: instances newly armed, instances disarmed, what could not be done and why.

    `unwatched` are those of which a fire may have gone by until now without anybody to see it. `started` has a sentence
    for each overdue job that was started. What was refused and is in `lasting` stays so until somebody edits a file.
    """

    armed: list[str]
    disarmed: list[str]
    refused: dict[str, str]
    unwatched: list[str]
    started: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()


UNWATCHED = "changes that others make"
"""What a report's refusals call the watching for them."""


def nothing(_instance: str) -> bool:
    """Says of no instance that it is to be left as it is."""
    return False


class Scheduler(Protocol):
    """Something that fires jobs."""

    @property
    def kind(self) -> str:
        """Its name in oscron.toml."""

    def possible(self) -> bool:
        """Whether it could fire on this machine at all; where it could not, nothing is armed in it."""

    def unavailable(self) -> str | None:
        """Why it cannot fire here, in a sentence; None when it can."""

    def fires_at(self, due: datetime.datetime) -> datetime.datetime:
        """When it fires what is due at DUE."""

    def grid(self, due: datetime.datetime) -> datetime.datetime:
        """When it fires first an interval that would be due first at DUE, and goes on from there."""

    def arm(self, plan: Plan, now: datetime.datetime) -> None:
        """Fire PLAN's job from NOW on as it says, or not at all if it is paused, and by no earlier plan.

        Raises SchedulerError.
        """

    def disarm(self, instances: Iterable[str]) -> None:
        """Fire INSTANCES no more; those it does not know are no error. Raises SchedulerError."""

    def forget(self, instance: str) -> None:
        """Disarm INSTANCE, whose job is no more, and drop what is remembered of its runs. Raises SchedulerError."""

    def reconcile(self, plans: Mapping[str, Plan], now: datetime.datetime,
                  leave: Callable[[str], bool] = nothing) -> Report:
        """Arm PLANS and nothing else, touching only what differs and no instance that it is to LEAVE as it is.

        Raises SchedulerError where nothing could be done at all.
        """

    def watch(self, profiles: Collection[str]) -> None:
        """Have a sync asked for when anybody changes the jobs of PROFILES, of these alone. Raises SchedulerError."""

    def withdraw(self) -> None:
        """Fire nothing any more and leave nothing behind, for another to take over. Raises SchedulerError."""

    def differences(self, plans: Mapping[str, Plan], now: datetime.datetime) -> dict[str, str]:
        """For each instance that is not armed as PLANS says, what is wrong with it, in a sentence."""

    def troubles(self) -> dict[str, str]:
        """What is wrong with the scheduler itself, in sentences, by what each is about. Raises SchedulerError."""

    def under_way(self) -> set[str]:
        """The instances whose run is starting, going on or ending, as far as the OS can say. Raises SchedulerError."""

    def sync_is_pending(self) -> bool:
        """Whether a sync has been asked for that has not ended, as far as the OS can say. Raises SchedulerError."""

    def catch_up(self, instance: str) -> None:
        """Run INSTANCE's job now, since it was due, and do not wait for it; a run that is starting already is that run.

        Raises SchedulerError.
        """

    def run(self, instance: str) -> Callable[[], str | None]:
        """Start INSTANCE's job for the request that was made (hermes/requests.py). Raises SchedulerError.

        Returns a function that tells why what was started ended without taking the request; None while it may take it.
        """
