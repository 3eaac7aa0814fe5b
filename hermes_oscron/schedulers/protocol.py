"""The Scheduler protocol: given the desired plans, change what the operating system fires and report the changes.

A scheduler does not depend on records, profiles or clients. It arms plans, starts runs, and reports its problems.
"""

import datetime
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from ..errors import OscronError
from ..schedule.model import Schedule

SECOND, MINUTE = datetime.timedelta(seconds=1), datetime.timedelta(minutes=1)


class SchedulerError(OscronError):
    """The operating system refused, or cannot be reached. The text quotes it and states what to do."""


class Limits(NamedTuple):
    """The limits in the policy of a job that the system itself can apply; None is the usual one.

    `stop_timeout` is in seconds, `memory_max` in bytes, `cpu_quota` in percent of one CPU. `on_cluster` is 1 if the job
    runs on a cluster: then the others, except the first, are not for this machine.
    """

    stop_timeout: int | None = None
    nice: int | None = None
    memory_max: int | None = None
    cpu_quota: int | None = None
    io_weight: int | None = None
    tasks_max: int | None = None
    on_cluster: int | None = None


NO_LIMITS = Limits()


class Plan(NamedTuple):
    """The way in which one job should be armed.

    `phase` is an instant at which an interval is due. A paused job must not fire.
    """

    instance: str
    schedule: Schedule
    zone: ZoneInfo
    phase: datetime.datetime | None
    paused: bool = False
    limits: Limits = NO_LIMITS


class Availability(NamedTuple):
    """`supported` is True if this machine has the scheduler; `reason` states why it cannot fire now, "" if it can."""

    supported: bool
    reason: str = ""


class Changes(NamedTuple):
    """Instances to disarm and then plans to arm.

    Of the instances in `deleted` nothing may remain, not even a failed unit.
    """

    arm: Mapping[str, Plan] = {}
    disarm: Collection[str] = ()
    deleted: Collection[str] = ()


class Problem(NamedTuple):
    """A problem of `subject`: an instance, a profile, a unit, or the scheduler.

    A problem `needs_edit` if it lasts until a file is edited, so that trying again is useless.
    """

    subject: str
    sentence: str
    needs_edit: bool = False


class Report(NamedTuple):
    """The result of changes: the instances that were armed and disarmed, and those that failed."""

    armed: list[str]
    disarmed: list[str]
    problems: list[Problem]


class Drift(NamedTuple):
    """The difference between what is armed and the plans, by instance.

    `wrong` has a sentence for each instance that is armed otherwise, or not at all, or should not be; the sentence is
    empty for a harmless leftover. `unusable` has the reason for each plan that cannot be armed. Instances in
    `disarm_first` must be disarmed before they can be armed.
    """

    wrong: dict[str, str]
    unusable: dict[str, str]
    disarm_first: Collection[str] = ()


EndOfStart = Callable[[], str | None]
"""Returns why a runner that was started has ended, in a sentence, and None until it has ended."""


class Scheduler(Protocol):
    """Something that fires jobs."""

    @property
    def kind(self) -> str:
        """The name in oscron.toml."""

    @property
    def resolution(self) -> datetime.timedelta:
        """The grid of times on which it can fire: a second or a minute."""

    def availability(self) -> Availability:
        """Return whether the machine has it, and whether it can fire."""

    def drift(self, plans: Mapping[str, Plan], now: datetime.datetime) -> Drift:
        """Compare what is armed with `plans`. Raises SchedulerError."""

    def apply(self, changes: Changes, now: datetime.datetime) -> Report:
        """Make `changes`. Raises SchedulerError if nothing could be done at all."""

    def start(self, instance: str, limits: Limits = NO_LIMITS) -> EndOfStart:
        """Start the runner of `instance` with `limits`, without waiting; do nothing if it is starting.

        Raises SchedulerError.
        """

    def running(self) -> set[str]:
        """Return the instances whose runner is starting, running or ending, as far as the system shows that."""

    def next_elapses(self, instances: Sequence[str]) -> dict[str, datetime.datetime | None]:
        """Return when the system itself fires each of `instances` next, None for never; nothing if it does not show it.

        Raises SchedulerError.
        """

    def armed_since(self, instance: str) -> float | None:
        """Return since when, in unix seconds, `instance` can have fired, as far as files show; None if unknown."""

    def health(self) -> list[Problem]:
        """Return the problems of the scheduler itself. Raises SchedulerError."""

    def remove_all(self) -> None:
        """Disarm every job and remove everything written for it. Raises SchedulerError."""


class ChangeWatcher(Protocol):
    """Notices when other programs change the jobs, and requests a sync."""

    def watch(self, profiles: Collection[str]) -> None:
        """Watch the jobs of exactly `profiles`. Raises SchedulerError."""

    def sync_is_pending(self) -> bool:
        """Return True if a sync runs or was requested. Raises SchedulerError."""
