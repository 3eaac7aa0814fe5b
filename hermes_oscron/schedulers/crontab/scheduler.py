"""The crontab scheduler: one line for each job in the account's own crontab, and two to keep them in step.

    30 8 * * 1 '/root/.hermes/cron/oscron/bin/hermes-cron-exec' default:4f2a9c1d07be # hermes-oscron
    # 0 9 * * * '/root/.hermes/cron/oscron/bin/hermes-cron-exec' default:77aa01b2c3d4 # hermes-oscron, paused

A line is ours when it starts a command of this Hermes root and ends in our mark. All others are the user's.
cron(8) does not make up for what it has missed, nor tells that it has: so at boot and every hour a sync looks whether
something was due that has not run.
"""

import datetime
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from ...barrier import use_each
from ...errors import cause
from ...hermes.homes import NAME, machine_zone
from .. import detached
from ..plan import Plan, Report, SchedulerError, nothing, to_fire
from ..systemd import watches
from ..systemd.systemctl import manager
from . import daemon, wrapper
from .line import line_of, to_the_minute
from .table import Table

MARK, PAUSED = " # hermes-oscron", ", paused"
SYNCS = ("@reboot", "17 * * * *")
"""When the crontab is put in step with the jobs, and what was missed is run."""


class Entry(NamedTuple):
    """One line of ours: when, what, and whether it is only there to be seen."""

    when: str
    words: str
    paused: bool = False


class Crontab:
    """Fires jobs by lines of this account's crontab."""

    kind = "crontab"

    def __init__(self, root: str) -> None:
        self._root = root
        self._table = Table()
        commands = {name: quoted(f"{wrapper.folder(root)}/{name}") for name in (wrapper.RUNNER, wrapper.VERBS)}
        self._runner, self._verbs = commands[wrapper.RUNNER], commands[wrapper.VERBS]
        name = NAME.pattern
        self._ours = re.compile(encoded(
            r"(?P<off># )?(?P<when>@\w+|(?:[0-9*/,-]+ ){4}[0-9*/,-]+) "
            rf"(?P<words>{re.escape(self._verbs)} sync|{re.escape(self._runner)} (?P<instance>{name}:{name}))"
            rf"{MARK}(?:{PAUSED})?\n"))

    def possible(self) -> bool:
        """Whether there is a crontab command."""
        return daemon.has_crontab()

    def unavailable(self) -> str | None:
        """What cron lacks here, or None."""
        return daemon.missing()

    def fires_at(self, due: datetime.datetime) -> datetime.datetime:
        """At the minute of DUE, or the next one after it."""
        return to_the_minute(due)

    def grid(self, due: datetime.datetime) -> datetime.datetime:
        """The minute of DUE: with seconds, a run of some seconds could go over the next time, and cost that."""
        return due.replace(second=0, microsecond=0)

    def arm(self, plan: Plan, now: datetime.datetime) -> None:
        """Write PLAN's line. Raises SchedulerError."""
        self._require_cron()
        self._edit({plan.instance: self.entry(plan, now)})

    def disarm(self, instances: Iterable[str]) -> None:
        """Remove the lines of INSTANCES. Raises SchedulerError."""
        self._edit(dict.fromkeys(instances))

    def forget(self, instance: str) -> None:
        """Remove INSTANCE's line; nothing else is remembered of it. Raises SchedulerError."""
        self.disarm([instance])

    def reconcile(self, plans: Mapping[str, Plan], now: datetime.datetime,
                  leave: Callable[[str], bool] = nothing) -> Report:
        """Have a line for each of PLANS and none beside; lines that say so already are not touched.

        Raises SchedulerError.
        """
        self._require_cron()
        before = self._entries()
        entries, unusable = use_each({instance: plan for instance, plan in plans.items() if not leave(instance)},
                                     lambda plan: self.entry(plan, now))
        changes: dict[str, Entry | None] = {
            instance: None for instance in before if instance not in entries and not leave(instance)}
        changes |= entries
        self._edit(changes)
        fired = {instance: plan for instance, plan in to_fire(plans).items() if instance not in unusable}
        return Report([instance for instance in fired
                       if instance in changes and before.get(instance) != changes[instance]],
                      [instance for instance, entry in before.items()
                       if not entry.paused and instance not in fired and instance in changes],
                      unusable, unwatched=list(fired))

    def withdraw(self) -> None:
        """Remove every line of ours, and what they start. Raises SchedulerError."""
        if self.possible():
            self._table.edit(lambda lines: [line for line in lines if not self._ours.fullmatch(line)])
        wrapper.remove(self._root)

    def watch(self, profiles: Collection[str]) -> None:
        """Have systemd, where it runs, see changes of the jobs of PROFILES. Raises SchedulerError."""
        watches.watch(manager(), profiles)

    def differences(self, plans: Mapping[str, Plan], now: datetime.datetime) -> dict[str, str]:
        """What is wrong with the lines, by instance."""
        found, repeated = self._entries(), self._repeated()
        wrong = {instance: "its line is in the crontab, but jobs.json has no such scheduled job."
                 for instance in found if instance not in plans}
        entries, unusable = use_each(plans, lambda plan: self.entry(plan, now))
        for instance, entry in entries.items():
            if instance not in found and not entry.paused:
                wrong[instance] = "it has no line in the crontab, so it will not fire."
            elif instance in repeated:
                wrong[instance] = "it has several lines in the crontab."
            elif found.get(instance) != entry:
                wrong[instance] = "its line in the crontab does not say what jobs.json says."
        return wrong | unusable

    def troubles(self) -> dict[str, str]:
        """What is wrong with what the lines start, in sentences. Raises SchedulerError."""
        lines = self._table.lines()
        missing = [self.line(entry) for entry in self._syncs() if self.line(entry) not in lines]
        faults = [wrapper.fault(self._root), missing and "The crontab has lost the lines that keep it in step; "
                                                         "'hermes-oscron sync' puts them back."]
        return {fault: fault for fault in faults if fault}

    def under_way(self) -> set[str]:
        """None that could be told from cron; a runner holds the lock of its run a moment after it is started."""
        return set()

    def sync_is_pending(self) -> bool:
        """Whether systemd, where it watches the jobs, is about to sync. Raises SchedulerError."""
        return watches.sync_is_pending(manager())

    def catch_up(self, instance: str) -> None:
        """Run INSTANCE's job now, if it is due still. Raises SchedulerError."""
        self.run(instance)

    def run(self, instance: str) -> Callable[[], str | None]:
        """Start the runner of `instance` as cron does. Raises SchedulerError."""
        self._write_commands()
        return detached.start([f"{wrapper.folder(self._root)}/{wrapper.RUNNER}", instance])

    def _require_cron(self) -> None:
        if reason := daemon.missing():
            raise SchedulerError(reason)
        self._write_commands()

    def _write_commands(self) -> None:
        try:
            wrapper.write(self._root)
        except OSError as error:
            raise SchedulerError(f"{wrapper.folder(self._root)} cannot be written: {cause(error)}") from error

    def entry(self, plan: Plan, now: datetime.datetime) -> Entry:
        """Return the crontab entry that fires `plan`."""
        fields = line_of(plan.schedule, plan.zone, machine_zone(), now, plan.grid).fields
        return Entry(fields, f"{self._runner} {plan.instance}", plan.paused)

    def _syncs(self) -> list[Entry]:
        return [Entry(when, f"{self._verbs} sync") for when in SYNCS]

    def _edit(self, changes: Mapping[str, Entry | None]) -> None:
        """Put each instance's entry in the place of its line, or at the end; None takes the line away."""

        syncs = [self.line(sync) for sync in self._syncs()]

        def change(lines: list[bytes]) -> list[bytes]:
            left = dict(changes)
            kept: list[bytes] = []
            for line in lines:
                ours = self._ours.fullmatch(line)
                instance = _instance(ours) if ours else ""
                if instance in changes:
                    if entry := left.pop(instance, None):
                        kept.append(self.line(entry))
                elif instance or not ours or line in syncs:
                    kept.append(line)
            kept += [line for line in syncs if line not in kept]
            return kept + [self.line(entry) for entry in left.values() if entry]

        self._table.edit(change)

    def _repeated(self) -> set[str]:
        """The instances that several lines start."""
        matches = (self._ours.fullmatch(line) for line in self._table.lines())
        counts = Counter(_instance(ours) for ours in matches if ours)
        return {instance for instance, count in counts.items() if count > 1}

    def _entries(self) -> dict[str, Entry]:
        """The entries of the crontab that are ours, by instance."""
        found = {}
        for line in self._table.lines():
            ours = self._ours.fullmatch(line)
            if ours and (instance := _instance(ours)):
                found[instance] = Entry(ours["when"].decode(), decoded(ours["words"]), bool(ours["off"]))
        return found

    def line(self, entry: Entry) -> bytes:
        """Return `entry` as a line of the crontab."""
        return encoded(f"{'# ' * entry.paused}{entry.when} {entry.words}{MARK}{PAUSED * entry.paused}\n")


def _instance(line: re.Match[bytes]) -> str:
    """The instance that a LINE of ours starts; "" when it starts a sync."""
    return (line["instance"] or b"").decode()


def encoded(text: str) -> bytes:
    """TEXT as the file system has it."""
    return text.encode("utf-8", "surrogateescape")


def decoded(data: bytes) -> str:
    """What `encoded` made DATA of."""
    return data.decode("utf-8", "surrogateescape")


def quoted(path: str) -> str:
    """PATH as a word of the shell, in a line in which cron takes a `%` without a backslash for a newline."""
    return "'" + path.replace("'", "'\\''").replace("%", "'\\%'") + "'"
