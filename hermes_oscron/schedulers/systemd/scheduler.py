"""The systemd scheduler: one runtime timer for each job, started and never enabled.

A timer that no unit depends on is unloaded when it is stopped and read again when it is started. So no command reloads
the manager, and each costs the same with ten jobs and with ten thousand. After a reboot hermes-oscron-sync.service
starts the timers again.
"""

import datetime
import os
import re
from collections.abc import Collection, Mapping, Sequence

from ...barrier import use_each
from ...errors import cause, describe
from ...files import mtime
from ...hermes.home import SAFE_NAME, split_instance
from ...hermes.timezone import machine_zone
from ..plan import without_paused
from ..protocol import (
    NO_LIMITS,
    SECOND,
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
from ..reconcile import NOT_RUNNING, compare
from . import drop_in
from .health import start_failures, unit_problems
from .line_budget import cost_of, over_budget
from .systemctl import ACTIVE_STATES, Systemctl
from .unit_file import render

ENDED_STATES = ("inactive", "failed")
TIMER = re.compile(rf"hermes-job@(?P<instance>{SAFE_NAME.pattern}:{SAFE_NAME.pattern})\.timer")
SERVICE = re.compile(rf"hermes-job@(?P<instance>{SAFE_NAME.pattern}:{SAFE_NAME.pattern})\.service")
LOADED_ONLY = b"\n"
"""The content of a timer that systemd runs though its file is gone, empty or unreadable."""


class Systemd:
    """Fires jobs by timers of one systemd manager."""

    kind = "systemd"
    resolution = SECOND

    def __init__(self, systemctl: Systemctl) -> None:
        self._systemctl = systemctl

    def availability(self) -> Availability:
        """Return whether systemd runs this machine (sd_booted(3)), and why its manager cannot be reached."""
        return Availability(os.path.isdir("/run/systemd/system"), self._systemctl.unreachable() or "")

    def drift(self, plans: Mapping[str, Plan], now: datetime.datetime) -> Drift:
        """Compare the timers with `plans`. Raises SchedulerError."""
        wanted, unusable = use_each(without_paused(plans), lambda plan: render(plan, machine_zone(), now).encode()
                                    + drop_in.render(plan.limits))
        files, active = self._files(), self._active()
        armed = {instance_of(unit): self._read(unit) if unit in files else LOADED_ONLY
                 for unit in active} | {instance_of(unit): NOT_RUNNING for unit in files - active}
        refused = over_budget(wanted, {instance: armed[instance] for instance in wanted.keys() & armed.keys()})
        wrong = compare(wanted, armed, "timer")
        stop_first = {instance_of(unit) for unit in active - files}
        return Drift({instance: wrong[instance] for instance in wrong.keys() - refused}, unusable | refused, stop_first)

    def apply(self, changes: Changes, now: datetime.datetime) -> Report:
        """Stop, write and start timers, in as few calls of systemctl as possible. Raises SchedulerError.

        A timer beyond the budget of lines is not changed.
        """
        contents, unusable = use_each(without_paused(changes.arm),
                                      lambda plan: render(plan, machine_zone(), now).encode())
        refused = self._over_budget(contents, {*changes.disarm, *changes.deleted})
        disarm = sorted({*changes.disarm, *changes.deleted, *(changes.arm.keys() - contents.keys())} - refused.keys())
        self._stop([unit_of(instance) for instance in disarm])
        self._systemctl.reset_failed([service_of(instance) for instance in changes.deleted])
        for instance in changes.deleted:
            drop_in.remove(self._systemctl.unit_dir, service_of(instance))
        units = {unit_of(instance): contents[instance] for instance in contents.keys() - refused}
        self._systemctl.stop([unit for unit in units if os.path.exists(self._path(unit))])
        failed = self._write_each(units)
        failed |= self._limit({unit: changes.arm[instance_of(unit)].limits for unit in units.keys() - failed.keys()})
        failed |= self._start_each(sorted(units.keys() - failed.keys()))
        problems = unusable | refused | {instance_of(unit): sentence for unit, sentence in failed.items()}
        return Report([instance for instance in contents if instance not in problems],
                      [instance for instance in disarm if instance not in contents],
                      [Problem(instance, sentence) for instance, sentence in problems.items()])

    def start(self, instance: str, limits: Limits = NO_LIMITS) -> EndOfStart:
        """Start the service of `instance` with `limits`. Raises SchedulerError.

        A unit ends some milliseconds after its runner. A start before that does nothing: systemd takes it for the run
        that is there. If the unit ends with the invocation id that it had before, this has happened, and the service is
        started once more.
        """
        invocation = self._state(instance)["InvocationID"]
        self.start_service(instance, limits)
        retried = False

        def end_of_start() -> str | None:
            nonlocal retried
            state = self._state(instance)
            if state.get("Job") or state["ActiveState"] not in ENDED_STATES:
                return None
            if state["InvocationID"] == invocation and not retried:
                retried = True
                self.start_service(instance, limits)
                return None
            journal = "journalctl --user" if self._systemctl.user else "journalctl"
            return (f"{service_of(instance)} ended before the run began ({state['Result']}, exit status "
                    f"{state['ExecMainStatus']}); see '{journal} -u {service_of(instance)}'.")

        return end_of_start

    def start_service(self, instance: str, limits: Limits = NO_LIMITS) -> None:
        """Start the service of `instance` with `limits`, and do not wait for it. Raises SchedulerError."""
        if failed := self._limit({unit_of(instance): limits}):
            raise SchedulerError(failed[unit_of(instance)])
        self._systemctl.call("start", "--no-block", "--", service_of(instance))

    def running(self) -> set[str]:
        """Return the instances whose service has not ended. Raises SchedulerError."""
        listed = self._systemctl.call("list-units", "--type=service", f"--state={','.join(ACTIVE_STATES)}", "--plain",
                                      "--no-legend", "--full", "hermes-job@*")
        matches = (SERVICE.fullmatch(line.split()[0]) for line in listed.splitlines() if line)
        return {match["instance"] for match in matches if match}

    def next_elapses(self, instances: Sequence[str]) -> dict[str, datetime.datetime | None]:
        """Return when the timer of each of `instances` elapses next; None if it never does. Raises SchedulerError."""
        elapses = self._systemctl.next_elapses([unit_of(instance) for instance in instances])
        return {instance: elapses.get(unit_of(instance)) for instance in instances}

    def armed_since(self, instance: str) -> float | None:
        """Return when the timer of `instance` was written, in unix seconds; None if there is none."""
        return mtime(self._path(unit_of(instance)))

    def health(self) -> list[Problem]:
        """Return the problems of the installation's units, and the jobs that systemd could not start.

        Raises SchedulerError.
        """
        return unit_problems(self._systemctl) + start_failures(self._systemctl)

    def remove_all(self) -> None:
        """Stop and remove the timers of all jobs. Raises SchedulerError."""
        if self.availability().supported:
            self._stop(sorted(self._files() | self._active()))
            drop_in.remove_all(self._systemctl.unit_dir, SERVICE)

    def has_timer(self, instance: str) -> bool:
        """Return True if there is a timer file for `instance`."""
        return os.path.exists(self._path(unit_of(instance)))

    def timer_count(self) -> int:
        """Return the number of timer files."""
        return sum(name.startswith("hermes-job@") for name in os.listdir(self._systemctl.unit_dir))

    def _over_budget(self, contents: Mapping[str, bytes], disarm: Collection[str]) -> dict[str, str]:
        """Return the reasons for those of `contents` that would exceed the budget of lines."""
        if not any(map(cost_of, contents.values())):
            return {}  # no file need be read
        armed = {instance_of(unit): self._read(unit) for unit in self._files()}
        return over_budget(contents, {instance: armed[instance] for instance in armed.keys() - disarm})

    def _write_each(self, contents: Mapping[str, bytes]) -> dict[str, str]:
        """Write the units, and return the reasons for those that could not be written."""
        unwritten: dict[str, str] = {}
        for unit, content in contents.items():
            try:
                self._write(unit, content)
            except SchedulerError as error:
                unwritten[unit] = str(error)
        return unwritten

    def _limit(self, limits: Mapping[str, Limits]) -> dict[str, str]:
        """Write the drop-ins of the services of timers, and return the reasons for those that could not be written.

        systemd reads the files of a unit when it loads it, so a service that is loaded because it has failed is reset.
        One that runs keeps its drop-in: the sync after its run writes the new one.
        """
        folder, problems = self._systemctl.unit_dir, dict[str, str]()
        contents = {service_of(instance_of(unit)): drop_in.render(each) for unit, each in limits.items()}
        changed = [service for service, content in contents.items() if drop_in.read(folder, service) != content]
        if not changed:
            return {}
        states = self._systemctl.properties(changed, ("ActiveState",))
        changed = [service for service in changed if states[service]["ActiveState"] in ENDED_STATES]
        self._systemctl.reset_failed([service for service in changed if states[service]["ActiveState"] == "failed"])
        for service in changed:
            try:
                drop_in.write(folder, service, contents[service])
            except OSError as error:
                problems[service.removesuffix(".service") + ".timer"] = describe(error)
        return problems

    def _start_each(self, units: list[str]) -> dict[str, str]:
        """Start `units`, and return the reasons for those that systemd refused.

        One call starts them all; if it fails, each is started alone.
        """
        refused: dict[str, str] = {}
        try:
            self._systemctl.start(units)
        except SchedulerError:
            for unit in units:
                try:
                    self._systemctl.start([unit])
                except SchedulerError as error:
                    refused[unit] = str(error)
                    self._remove(unit)
        return refused

    def _state(self, instance: str) -> dict[str, str]:
        """Return the state of the service of `instance`. Raises SchedulerError."""
        names = ("ActiveState", "Job", "InvocationID", "Result", "ExecMainStatus")
        return self._systemctl.properties([service_of(instance)], names)[service_of(instance)]

    def _read(self, unit: str) -> bytes:
        """Return the content of the file of `unit`, which is active."""
        try:
            with open(self._path(unit), "rb") as file:
                timer = file.read()
        except OSError:
            return LOADED_ONLY
        service = service_of(instance_of(unit))
        return timer + drop_in.read(self._systemctl.unit_dir, service) if timer else LOADED_ONLY

    def _files(self) -> set[str]:
        try:
            return {name for name in os.listdir(self._systemctl.unit_dir) if TIMER.fullmatch(name)}
        except FileNotFoundError:
            return set()

    def _active(self) -> set[str]:
        listed = self._systemctl.call("list-units", "--type=timer", "--state=active", "--plain", "--no-legend",
                                      "--full", "hermes-job@*")
        return {unit for line in listed.splitlines() if line and TIMER.fullmatch(unit := line.split()[0])}

    def _stop(self, units: list[str]) -> None:
        self._systemctl.stop(units)
        for unit in units:
            self._remove(unit)

    def _path(self, unit: str) -> str:
        return f"{self._systemctl.unit_dir}/{unit}"

    def _write(self, unit: str, content: bytes) -> None:
        """Write `unit`, whose timer is not running. Raises SchedulerError.

        The file is written in place: a new name in the folder makes systemd read all names again, 30 ms for 5,000. It
        is in memory and derived from jobs.json, and the next sync repairs a torn one.
        """
        try:
            os.makedirs(self._systemctl.unit_dir, exist_ok=True)
            with open(self._path(unit), "wb") as file:
                file.write(content)
        except OSError as error:
            raise SchedulerError(f"{self._path(unit)} cannot be written: {cause(error)}") from error

    def _remove(self, unit: str) -> None:
        try:
            os.unlink(self._path(unit))
        except FileNotFoundError:
            pass


def service_of(instance: str) -> str:
    """Return the name of the service that runs `instance`. Raises ValueError for a malformed instance."""
    split_instance(instance)
    return f"hermes-job@{instance}.service"


def unit_of(instance: str) -> str:
    """Return the name of the timer of `instance`. Raises ValueError for a malformed instance."""
    split_instance(instance)
    return f"hermes-job@{instance}.timer"


def instance_of(unit: str) -> str:
    """Return the instance of the timer `unit`."""
    match = TIMER.fullmatch(unit)
    assert match
    return match["instance"]
