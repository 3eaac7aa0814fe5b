"""The systemd scheduler: one runtime timer for each job, started and never enabled.

A timer that nothing wants is unloaded when it is stopped and read afresh when it is started; so no verb reloads the
manager, and each costs the same with ten jobs and with ten thousand. After a reboot hermes-oscron-sync.service
starts them again, and the bridge, which knows what was missed, catches up.
"""

import datetime
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from ...barrier import use_each
from ...errors import cause
from ...hermes.homes import NAME, machine_zone, root, split_instance
from ..charge import last_sync
from ..plan import Plan, Report, SchedulerError, nothing, to_fire
from . import watches
from .systemctl import UNDER_WAY, Manager
from .timer import render

ENDED = ("inactive", "failed")
TIMER = re.compile(rf"hermes-job@(?P<instance>{NAME.pattern}:{NAME.pattern})\.timer")
SERVICE = re.compile(rf"hermes-job@(?P<instance>{NAME.pattern}:{NAME.pattern})\.service")
KILLED = ("signal", "core-dump", "oom-kill")
"""Values of a service's Result= (systemd.service(5)) after which the next start may well succeed."""


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
        contents, unusable = use_each(plans, lambda plan: self._wanted(plan, now, files))
        stale = sorted(unit for unit in files | active
                       if instance_of(unit) not in contents and not leave(instance_of(unit)))
        self._stop(stale)
        changed = {unit_of(instance): content for instance, content in contents.items() if content}
        self._manager.stop([unit for unit in changed if unit in active])
        unwritten = self._write_each(changed)
        to_start = sorted(unit for unit in map(unit_of, contents)
                          if unit not in unwritten and (unit in changed or unit not in active))
        refused = unwritten | self._start_each(to_start)
        armed = [instance_of(unit) for unit in to_start if unit not in refused]
        return Report(armed, [instance_of(unit) for unit in stale],
                      unusable | {instance_of(unit): sentence for unit, sentence in refused.items()}, unwatched=armed)

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
        contents, unusable = use_each(plans, lambda plan: self._wanted(plan, now, files))
        for instance, content in contents.items():
            unit = unit_of(instance)
            if unit not in active:
                wrong[instance] = f"{unit} is not running, so the job will not fire."
            elif content:
                wrong[instance] = f"{unit} does not say what jobs.json says."
        return wrong | unusable

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
        service = service_of(instance)
        return self._manager.properties(
            [service], ("ActiveState", "Job", "InvocationID", "Result", "ExecMainStatus"))[service]

    def start(self, instance: str) -> None:
        """Start the service of INSTANCE, and do not wait for it. Raises SchedulerError."""
        self._manager.call("start", "--no-block", "--", service_of(instance))

    def has(self, instance: str) -> bool:
        """Whether there is a timer of ours for INSTANCE."""
        return os.path.exists(self._path(unit_of(instance)))

    def count(self) -> int:
        """How many timers of ours there are."""
        return len(self._files())

    def troubles(self) -> dict[str, str]:
        """What does not work of the units that the installation needs, in sentences. Raises SchedulerError."""
        listed = self._manager.call("list-units", "--failed", "--plain", "--no-legend", "--full", "hermes-oscron*")
        failed = [line.split()[0] for line in listed.splitlines() if line]
        return {unit: self._trouble(unit) for unit in failed if self._is_broken(unit)}

    def _trouble(self, unit: str) -> str:
        if unit == watches.SYNC:
            return f"{unit} has failed, and no sync has ended well since. Run 'hermes-oscron sync' to see why."
        systemctl = f"systemctl {'--user' if self._manager.user else '--system'}"
        return (f"{unit} failed when it was last started. See '{systemctl} status {unit}' for the reason; "
                f"'{systemctl} restart {unit}' starts it again.")

    def _is_broken(self, unit: str) -> bool:
        """Whether somebody has to see to `unit`, which has failed.

        systemd starts a service again that was killed, when it is triggered next, but no socket, path or timer. The
        account of a system installation may not reset a failed unit: a sync that it makes itself leaves that failed.
        """
        if not unit.endswith(".service"):
            return True
        state = self._manager.properties([unit], ("ActiveState", "Result", "StateChangeTimestampMonotonic"))[unit]
        if state["ActiveState"] != "failed" or state.get("Result") in KILLED:
            return False
        if unit == watches.SYNC:
            failed_for = time.clock_gettime(time.CLOCK_MONOTONIC) - int(state["StateChangeTimestampMonotonic"]) / 1e6
            return last_sync(root()) < time.time() - failed_for
        return True

    def under_way(self) -> set[str]:
        """The instances whose service has not ended. Raises SchedulerError."""
        listed = self._manager.call("list-units", "--type=service", f"--state={','.join(UNDER_WAY)}", "--plain",
                                    "--no-legend", "--full", "hermes-job@*")
        matches = (SERVICE.fullmatch(line.split()[0]) for line in listed.splitlines() if line)
        return {match["instance"] for match in matches if match}

    def sync_is_pending(self) -> bool:
        """Whether a sync runs or is about to. Raises SchedulerError."""
        return watches.sync_is_pending(self._manager)

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
