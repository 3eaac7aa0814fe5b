"""The crontab scheduler: one line for each job in the account's own crontab, and two that start a sync.

    30 8 * * 1 '/root/.hermes/cron/oscron/bin/hermes-cron-exec' default:4f2a9c1d07be # hermes-oscron
    # 0 9 * * * '/root/.hermes/cron/oscron/bin/hermes-cron-exec' default:77aa01b2c3d4 # hermes-oscron, paused

A line belongs to hermes-oscron if it starts a command of this Hermes root and ends in our mark. All others are the
user's. cron(8) neither makes up for occurrences that it has missed nor reports them. So at boot and every hour a sync
starts the jobs that were due and have not run.
"""

import datetime
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from ...barrier import use_each
from ...errors import cause
from ...files import make_private_dir, mtime, touch
from ...hermes.home import SAFE_NAME
from ...hermes.timezone import machine_zone
from ...state import State
from .. import spawn
from ..protocol import (
    MINUTE,
    NO_LIMITS,
    Availability,
    Changes,
    Drift,
    EndOfStart,
    Limits,
    Plan,
    Problem,
    Report,
    SchedulerError,
)
from ..reconcile import compare
from . import daemon, launchers
from .expression import expression_of
from .table import CrontabFile

MARK, PAUSED = " # hermes-oscron", ", paused"
SYNC_TIMES = ("@reboot", "17 * * * *")
"""The times at which cron starts a sync, the first unless it ends the daemon."""
OTHER_CLOCK = re.compile(rb"""\s*["']?(CRON_TZ|RANDOM_DELAY)["']?\s*=""")
"""A variable by which cronie starts all lines below it at other times (crontab(5) of cronie)."""
LAUNCHERS = "launchers"
"""The subject of a problem by which no line can start its job."""


class Entry(NamedTuple):
    """One line of a job or of a sync: its time fields and its command. A `paused` one is written as a comment."""

    fields: str
    command: str
    paused: bool = False


class Crontab:
    """Fires jobs by lines of this account's crontab."""

    kind = "crontab"
    resolution = MINUTE

    def __init__(self, root: str) -> None:
        self._root = root
        self._lines = State(root).lines
        self._table = CrontabFile()
        commands = {name: shell_quoted(f"{launchers.folder(root)}/{name}")
                    for name in (launchers.RUNNER, launchers.CLI)}
        self._runner, self._verbs = commands[launchers.RUNNER], commands[launchers.CLI]
        name = SAFE_NAME.pattern
        self._ours = re.compile(encode(
            r"(?P<off># )?(?P<when>@\w+|(?:[0-9*/,-]+ ){4}[0-9*/,-]+) "
            rf"(?P<words>{re.escape(self._verbs)} sync|{re.escape(self._runner)} (?P<instance>{name}:{name}))"
            rf"{MARK}(?:{PAUSED})?\n"))

    def availability(self) -> Availability:
        """Return whether crontab(1) is installed, and why cron cannot fire."""
        return Availability(daemon.has_crontab(), daemon.missing() or "")

    def drift(self, plans: Mapping[str, Plan], now: datetime.datetime) -> Drift:
        """Compare the lines of the crontab with `plans`. Raises SchedulerError."""
        if reason := daemon.missing():
            raise SchedulerError(reason)
        wanted, unusable = use_each(plans, lambda plan: self.line(self.entry(plan, now)))
        armed = self._armed()
        unlisted = {instance: "" for instance, plan in plans.items() if plan.paused and instance not in armed}
        return Drift(compare(wanted, armed, "crontab line") | unlisted, unusable)

    def apply(self, changes: Changes, now: datetime.datetime) -> Report:
        """Edit the lines of all instances at once, and restore the lines that start a sync. Raises SchedulerError."""
        if changes.arm and (reason := daemon.missing()):
            raise SchedulerError(reason)
        if changes.arm or not changes.deleted:  # a job can be deleted without them; a sync restores them
            self._write_launchers()
        entries, unusable = use_each(changes.arm, lambda plan: self.entry(plan, now))
        removed = {*changes.disarm, *changes.deleted} - entries.keys()
        before = self._edit({**dict.fromkeys(removed), **entries})
        self._note(entries, removed)
        disarmed = [instance for instance, entry in before.items() if not entry.paused
                    and (instance in removed or (instance in entries and entries[instance].paused))]
        return Report([instance for instance, entry in entries.items() if not entry.paused], disarmed,
                      [Problem(instance, reason) for instance, reason in unusable.items()])

    def start(self, instance: str, limits: Limits = NO_LIMITS) -> EndOfStart:
        """Start the runner of `instance` as cron does. Raises SchedulerError."""
        self._write_launchers()
        return spawn.start_detached([f"{launchers.folder(self._root)}/{launchers.RUNNER}", instance])

    def running(self) -> set[str]:
        """Return nothing: cron does not show it, and a runner locks its run a moment after it was started."""
        return set()

    def next_elapses(self, instances: Sequence[str]) -> dict[str, datetime.datetime | None]:
        """Return nothing: cron does not show when it starts a line next."""
        return {}

    def armed_since(self, instance: str) -> float | None:
        """Return since when the cron daemon runs with the present line, in unix seconds; None if unknown."""
        times = (daemon.running_since(), mtime(f"{self._lines}/{instance}"))
        return max(times[0], times[1]) if times[0] and times[1] else None

    def health(self) -> list[Problem]:
        """Return the problems of the commands that the lines start. Raises SchedulerError."""
        lines = self._table.lines()
        found = []
        if problem := launchers.problem(self._root) or self._table.overfull():
            found.append(Problem(LAUNCHERS, problem))
        if any(self.line(sync) not in lines for sync in self._syncs()):
            found.append(Problem("crontab", "The crontab lines that start a sync are missing; 'hermes-oscron sync' "
                                            "restores them."))
        return found

    def remove_all(self) -> None:
        """Remove all lines of hermes-oscron, and the commands that they start. Raises SchedulerError."""
        if daemon.has_crontab():
            self._table.edit(lambda lines: [line for line in lines if not self._ours.fullmatch(line)])
        launchers.remove(self._root)
        shutil.rmtree(self._lines, ignore_errors=True)

    def _note(self, armed: Iterable[str], disarmed: Iterable[str]) -> None:
        """Store that the lines of `armed` have just changed, and that `disarmed` have none. Only doctor reads it."""
        with suppress(OSError):
            make_private_dir(self._lines)
            for instance in armed:
                touch(f"{self._lines}/{instance}")
        for instance in disarmed:
            with suppress(OSError):
                os.unlink(f"{self._lines}/{instance}")

    def _write_launchers(self) -> None:
        try:
            launchers.write(self._root)
        except OSError as error:
            raise SchedulerError(f"{launchers.folder(self._root)} cannot be written: {cause(error)}") from error

    def entry(self, plan: Plan, now: datetime.datetime) -> Entry:
        """Return the crontab entry that fires `plan`."""
        fields = expression_of(plan.schedule, plan.zone, machine_zone(), now, plan.phase).fields
        return Entry(fields, f"{self._runner} {plan.instance}", plan.paused)

    def _syncs(self) -> list[Entry]:
        times = SYNC_TIMES if daemon.takes_reboot() else SYNC_TIMES[1:]
        return [Entry(when, f"{self._verbs} sync") for when in times]

    def _edit(self, changes: Mapping[str, Entry | None]) -> dict[str, Entry]:
        """Replace each instance's line by its entry, or add that at the end; None removes the line.

        Returns the entries that were in the crontab before, by instance.
        """
        syncs = [self.line(sync) for sync in self._syncs()]
        before: dict[str, Entry] = {}

        def change(lines: list[bytes]) -> list[bytes]:
            left = dict(changes)
            before.clear()
            kept: list[bytes] = []
            for line in lines:
                ours = self._ours.fullmatch(line)
                instance = _instance(ours) if ours else ""
                if ours and instance:
                    before[instance] = Entry(ours["when"].decode(), decode(ours["words"]), bool(ours["off"]))
                if instance in changes:
                    if entry := left.pop(instance, None):
                        kept.append(self.line(entry))
                elif instance or not ours or line in syncs:
                    kept.append(line)
            kept += [line for line in syncs if line not in kept]
            kept += [self.line(entry) for entry in left.values() if entry]
            by_clock, others = self._split(kept)
            moved = [line for line in others if self._ours.fullmatch(line)]
            return by_clock + moved + [line for line in others if not self._ours.fullmatch(line)]

        self._table.edit(change)
        return before

    def _armed(self) -> dict[str, bytes]:
        """Return the line of each instance, or its lines if it has several, marked if they are below an OTHER_CLOCK."""
        armed: dict[str, bytes] = {}
        for by_clock, lines in zip((True, False), self._split(self._table.lines()), strict=True):
            for line in lines:
                if (ours := self._ours.fullmatch(line)) and (instance := _instance(ours)):
                    armed[instance] = armed.get(instance, b"") + (line if by_clock else b"below " + line)
        return armed

    def _split(self, lines: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return the `lines` above the first variable that changes the times of those below it, and the rest."""
        first = next((nth for nth, line in enumerate(lines) if OTHER_CLOCK.match(line)), len(lines))
        return lines[:first], lines[first:]

    def line(self, entry: Entry) -> bytes:
        """Return `entry` as a line of the crontab."""
        return encode(f"{'# ' * entry.paused}{entry.fields} {entry.command}{MARK}{PAUSED * entry.paused}\n")


def _instance(line: re.Match[bytes]) -> str:
    """Return the instance that a `line` of hermes-oscron starts; "" if it starts a sync."""
    return (line["instance"] or b"").decode()


def encode(text: str) -> bytes:
    """Return `text` as the file system has it."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """Return the text that `encode` turned into `data`."""
    return data.decode("utf-8", "surrogateescape")


def shell_quoted(path: str) -> str:
    """Return `path` as a word of the shell, in a line in which cron takes a `%` without a backslash for a newline."""
    return "'" + path.replace("'", "'\\''").replace("%", "'\\%'") + "'"
