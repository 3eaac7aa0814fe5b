"""The systemd scheduler: one runtime timer for each job, started and never enabled.

A timer that nothing wants is unloaded when it is stopped and read afresh when it is started; so no verb reloads the
manager, and each costs the same with ten jobs and with ten thousand. After a reboot hermes-oscron-sync.service
starts them again, and the bridge, which knows what was missed, catches up.
"""

import datetime
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping

from ...errors import cause
from ...hermes.homes import NAME, machine_zone, split_instance
from ..plan import Plan, Report, SchedulerError, nothing, to_fire
from . import watches
from .systemctl import Manager
from .timer import render

ENDED = ("inactive", "failed")
TIMER = re.compile(rf"hermes-job@(?P<instance>{NAME.pattern}:{NAME.pattern})\.timer")


class Systemd:
    """Fires jobs by timers of one systemd manager."""

    kind = "systemd"

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def possible(self) -> bool:
        """Whether systemd runs this machine (sd_booted(3))."""
        return os.path.isdir("/run/systemd/system")

    def unavailable(self) -> str | None:
        """Why no timer can be armed here, or None."""
        return self._manager.unreachable()

    def fires_at(self, due: datetime.datetime) -> datetime.datetime:
        """At DUE, to the second."""
        return due

    grid = fires_at

    def arm(self, plan: Plan, now: datetime.datetime) -> None:
        """Start PLAN's timer, by its new schedule also where an old one was running. Raises SchedulerError."""
        if plan.paused:
            return self.disarm([plan.instance])
        unit = unit_of(plan.instance)
        if self.has(plan.instance):
            self._manager.stop([unit])
        self._write(unit, render(plan, machine_zone(), now))
        try:
            self._manager.start([unit])
        except SchedulerError:
            self._remove(unit)
            raise

    def disarm(self, instances: Iterable[str]) -> None:
        """Stop the timers of INSTANCES and remove them. Raises SchedulerError."""
        self._stop([unit_of(instance) for instance in instances if self.has(instance)])

    def forget(self, instance: str) -> None:
        """Remove INSTANCE's timer, and its service from the list of failed units. Raises SchedulerError."""
        self.disarm([instance])
        self._manager.reset_failed(service_of(instance))

    def reconcile(self, plans: Mapping[str, Plan], now: datetime.datetime,
                  leave: Callable[[str], bool] = nothing) -> Report:
        """Arm PLANS and nothing else; a timer that runs as it should is not touched. Raises SchedulerError."""
        plans = {instance: plan for instance, plan in to_fire(plans).items() if not leave(instance)}
        files, active = self._files(), self._active()
        stale = sorted(unit for unit in files | active
                       if instance_of(unit) not in plans and not leave(instance_of(unit)))
        self._stop(stale)
        changed = {unit_of(plan.instance): content for plan in plans.values()
                   if (content := self._wanted(plan, now, files))}
        self._manager.stop([unit for unit in changed if unit in active])
        unwritten = self._write_each(changed)
        to_start = sorted(unit for unit in map(unit_of, plans)
                          if unit not in unwritten and (unit in changed or unit not in active))
        refused = unwritten | self._start_each(to_start)
        armed = [instance_of(unit) for unit in to_start if unit not in refused]
        return Report(armed, [instance_of(unit) for unit in stale],
                      {instance_of(unit): sentence for unit, sentence in refused.items()}, unwatched=armed)

    def withdraw(self) -> None:
        """Stop and remove all timers of jobs. Raises SchedulerError."""
        if self.possible():
            self._stop(sorted(self._files() | self._active()))

    def watch(self, profiles: Collection[str]) -> None:
        """Have a change of the jobs of PROFILES, and of no others, seen. Raises SchedulerError."""
        watches.watch(self._manager, profiles)

    def differences(self, plans: Mapping[str, Plan], now: datetime.datetime) -> dict[str, str]:
        """What is wrong with the timers, by instance."""
        plans = to_fire(plans)
        files, active = self._files(), self._active()
        wrong = {instance_of(unit): f"{unit} is there, but jobs.json has no such scheduled job."
                 for unit in active if instance_of(unit) not in plans}  # a file of a timer that is gone fires nothing
        for plan in plans.values():
            unit = unit_of(plan.instance)
            if unit not in active:
                wrong[plan.instance] = f"{unit} is not running, so the job will not fire."
            elif self._wanted(plan, now, files):
                wrong[plan.instance] = f"{unit} does not say what jobs.json says."
        return wrong

    def catch_up(self, instance: str) -> None:
        """Run INSTANCE's job now, in the same unit that its timer starts, if it is due. Raises SchedulerError."""
        self.start(instance)

    def run(self, instance: str) -> Callable[[], str | None]:
        """Start the service of `instance` for the request that was made. Raises SchedulerError.

        systemd takes a start for the run that is there until that unit has ended, some milliseconds after the runner.
        The unit's invocation id shows that, and then it is started once more.
        """
        invocation = self._shown(instance)["InvocationID"]
        self.start(instance)
        retried = False

        def ended() -> str | None:
            nonlocal retried
            shown = self._shown(instance)
            if shown.get("Job") or shown["ActiveState"] not in ENDED:
                return None
            if shown["InvocationID"] == invocation and not retried:
                retried = True
                self.start(instance)
                return None
            journal = "journalctl --user" if self._manager.user else "journalctl"
            return (f"{service_of(instance)} ended before the run began ({shown['Result']}, exit status "
                    f"{shown['ExecMainStatus']}); '{journal} -u {service_of(instance)}' says why.")

        return ended

    def _shown(self, instance: str) -> dict[str, str]:
        """The state of the service of `instance`. Raises SchedulerError."""
        shown = self._manager.call("show", "-p", "ActiveState,Job,InvocationID,Result,ExecMainStatus", "--",
                                   service_of(instance))
        return dict(line.split("=", 1) for line in shown.splitlines())

    def start(self, instance: str) -> None:
        """Start the service of INSTANCE, and do not wait for it. Raises SchedulerError."""
        self._manager.call("start", "--no-block", "--", service_of(instance))

    def has(self, instance: str) -> bool:
        """Whether there is a timer of ours for INSTANCE."""
        return os.path.exists(self._path(unit_of(instance)))

    def count(self) -> int:
        """How many timers of ours there are."""
        return len(self._files())

    def troubles(self) -> list[str]:
        """Which of the units that the installation needs have failed, in sentences. Raises SchedulerError."""
        failed = self._manager.call("list-units", "--state=failed,auto-restart", "--plain", "--no-legend", "--full",
                                    "hermes-oscron*")
        manager = "--user" if self._manager.user else "--system"
        return [f"{unit} has failed: 'systemctl {manager} status {unit}' says why, and 'restart' in the place of "
                f"'status' starts it again." for unit in (line.split()[0] for line in failed.splitlines() if line)]

    def _write_each(self, contents: Mapping[str, str]) -> dict[str, str]:
        """Write the units of CONTENTS; what went wrong with those that could not be written."""
        unwritten: dict[str, str] = {}
        for unit, content in contents.items():
            try:
                self._write(unit, content)
            except SchedulerError as error:
                unwritten[unit] = str(error)
        return unwritten

    def _start_each(self, units: list[str]) -> dict[str, str]:
        """Start UNITS; what systemd said of those it refused. All at once is quick, and one by one where that fails."""
        refused: dict[str, str] = {}
        try:
            self._manager.start(units)
        except SchedulerError:
            for unit in units:
                try:
                    self._manager.start([unit])
                except SchedulerError as error:
                    refused[unit] = str(error)
                    self._remove(unit)
        return refused

    def _wanted(self, plan: Plan, now: datetime.datetime, files: set[str]) -> str | None:
        """What PLAN's timer should hold, or None when it holds that."""
        unit = unit_of(plan.instance)
        wanted = render(plan, machine_zone(), now)
        if unit not in files:
            return wanted
        try:
            with open(self._path(unit), "rb") as file:
                return None if file.read() == wanted.encode() else wanted
        except OSError:  # whatever is in its place, it is not that
            return wanted

    def _files(self) -> set[str]:
        try:
            return {name for name in os.listdir(self._manager.unit_dir) if TIMER.fullmatch(name)}
        except FileNotFoundError:
            return set()

    def _active(self) -> set[str]:
        listed = self._manager.call("list-units", "--type=timer", "--state=active", "--plain", "--no-legend",
                                    "--full", "hermes-job@*")
        return {unit for line in listed.splitlines() if line and TIMER.fullmatch(unit := line.split()[0])}

    def _stop(self, units: list[str]) -> None:
        self._manager.stop(units)
        for unit in units:
            self._remove(unit)

    def _path(self, unit: str) -> str:
        return f"{self._manager.unit_dir}/{unit}"

    def _write(self, unit: str, content: str) -> None:
        """Write UNIT, whose timer does not run.

        In place: a folder that changes makes systemd read the names in it again, 30 ms for 5,000. The file lives in
        memory, follows from jobs.json, and a torn one is put right by the next sync.
        """
        try:
            os.makedirs(self._manager.unit_dir, exist_ok=True)
            with open(self._path(unit), "w", encoding="utf-8") as file:
                file.write(content)
        except OSError as error:
            raise SchedulerError(f"{self._path(unit)} cannot be written: {cause(error)}") from error

    def _remove(self, unit: str) -> None:
        try:
            os.unlink(self._path(unit))
        except FileNotFoundError:
            pass


def service_of(instance: str) -> str:
    """The service that runs INSTANCE's job. Raises ValueError for what is no instance."""
    split_instance(instance)
    return f"hermes-job@{instance}.service"


def unit_of(instance: str) -> str:
    """The timer of INSTANCE. Raises ValueError for what is none."""
    split_instance(instance)
    return f"hermes-job@{instance}.timer"


def instance_of(unit: str) -> str:
    """The instance whose timer is UNIT."""
    match = TIMER.fullmatch(unit)
    assert match
    return match["instance"]
