"""The Scheduler protocol: given the desired plans, change what the operating system fires and report the changes.

A scheduler knows nothing of records, profiles or clients. It arms plans, starts runs, and says what is wrong with it.
"""

import datetime
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from ..errors import OscronError
from ..schedule.model import Schedule

SECOND, MINUTE = datetime.timedelta(seconds=1), datetime.timedelta(minutes=1)


class SchedulerError(OscronError):
    """The operating system refused, or cannot be asked. The text quotes it and says what to do."""


class Plan(NamedTuple):
    """How one job is to be armed. `phase` is an instant at which an interval is due. A paused job must not fire."""

    instance: str
    schedule: Schedule
    zone: ZoneInfo
    phase: datetime.datetime | None
    paused: bool = False


class Availability(NamedTuple):
    """Whether this machine has the scheduler at all (`supported`), and why it cannot fire now ("" if it can)."""

    supported: bool
    reason: str = ""


class Changes(NamedTuple):
    """What to disarm and then what to arm. Of the instances in `deleted` nothing may remain, not even a failed unit."""

    arm: Mapping[str, Plan] = {}
    disarm: Collection[str] = ()
    deleted: Collection[str] = ()


class Problem(NamedTuple):
    """Something that is wrong with `subject`: an instance, a profile, a unit, or the scheduler.

    A problem `needs_edit` if it stays until somebody edits a file, so that trying again is useless.
    """

    subject: str
    sentence: str
    needs_edit: bool = False


class Report(NamedTuple):
    """What was changed: the instances that were armed and disarmed, and what could not be done."""

    armed: list[str]
    disarmed: list[str]
    problems: list[Problem]


class Drift(NamedTuple):
    """How what is armed differs from the plans, by instance.

    `wrong` has a sentence for each instance that is armed otherwise, or not at all, or should not be; the sentence is
    empty for a harmless leftover. `unusable` has the reason for each plan that cannot be armed. Instances in
    `disarm_first` must be disarmed before they can be armed.
    """

    wrong: dict[str, str]
    unusable: dict[str, str]
    disarm_first: Collection[str] = ()


EndOfStart = Callable[[], str | None]
"""Says why a runner that was started has ended, in a sentence, and None while it has not."""


class Scheduler(Protocol):
    """Something that fires jobs."""

    @property
    def kind(self) -> str:
        """The name in oscron.toml."""

    @property
    def resolution(self) -> datetime.timedelta:
        """The grid of times on which it can fire: a second or a minute."""

    def availability(self) -> Availability:
        """Return whether it is there, and whether it can fire."""

    def drift(self, plans: Mapping[str, Plan], now: datetime.datetime) -> Drift:
        """Compare what is armed with `plans`. Raises SchedulerError."""

    def apply(self, changes: Changes, now: datetime.datetime) -> Report:
        """Make `changes`. Raises SchedulerError if nothing could be done at all."""

    def start(self, instance: str) -> EndOfStart:
        """Start the runner of `instance`, without waiting; does nothing if it is starting. Raises SchedulerError."""

    def running(self) -> set[str]:
        """Return the instances whose runner is starting, running or ending, as far as the system can tell."""

    def health(self) -> list[Problem]:
        """Return what is wrong with the scheduler itself. Raises SchedulerError."""

    def remove_all(self) -> None:
        """Disarm every job and leave nothing behind. Raises SchedulerError."""


class ChangeWatcher(Protocol):
    """Notices when other programs change the jobs, and requests a sync."""

    def watch(self, profiles: Collection[str]) -> None:
        """Watch the jobs of `profiles` and of no others. Raises SchedulerError."""

    def sync_is_pending(self) -> bool:
        """Return True if a sync runs or was requested. Raises SchedulerError."""
