"""A systemd manager, the system's or a user's own, by systemctl(1)."""

import datetime
import json
import os
import subprocess
from collections.abc import Sequence

from ...account import runtime_dir, uses_privileged_helper
from ...errors import cause
from ..protocol import SchedulerError

SYSTEMCTL_TIMEOUT_S = 60.0
ACTIVE_STATES = ("activating", "active", "deactivating", "reloading")
"""Values of ActiveState in which a unit has not ended."""
MAX_UNITS_PER_CALL = 500
"""More might not fit a command line."""


class Systemctl:
    """One systemd manager."""

    def __init__(self, user: bool) -> None:
        self.user = user

    @property
    def runtime_dir(self) -> str:
        """/run, or the runtime folder of this account."""
        if not self.user:
            return "/run"
        return runtime_dir(os.environ)

    @property
    def unit_dir(self) -> str:
        """The folder of runtime units: read without a reload, gone after a reboot (systemd.unit(5), load path)."""
        return f"{self.runtime_dir}/systemd/{'user' if self.user else 'system'}"

    def request_sync(self, unless_in_sync: bool = False) -> None:
        """Make systemd run hermes-oscron-sync.service, after its present run if there is one; do not wait for it.

        This writes to the pipe of hermes-oscron-sync.socket. systemd would ignore a start while the oneshot is just
        ending, but it looks at the pipe again when the service has ended. With `unless_in_sync` the service does
        nothing if all jobs are armed as they are. Raises SchedulerError.
        """
        path = f"{self.runtime_dir}/hermes-oscron-sync"
        try:
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(pipe, b"\0" if unless_in_sync else b"\n")
            except BlockingIOError:  # it is full: a sync is requested already
                pass
            finally:
                os.close(pipe)
        except OSError as error:
            raise SchedulerError(f"A sync cannot be requested through {path}: {cause(error)}") from error

    def unreachable(self) -> str | None:
        """Return why the manager cannot be reached, or None."""
        if self.user and not os.path.exists(f"{self.runtime_dir}/systemd/private"):
            return (f"No systemd user manager runs for this account ({self.runtime_dir}/systemd is not there); "
                    f"'loginctl enable-linger' starts one for good.")
        if not self.user and not os.path.isdir("/run/systemd/system"):
            return ("systemd does not run this machine (there is no /run/systemd/system). 'hermes-oscron sync "
                    "--scheduler crontab' moves the jobs to cron.")
        return None

    def is_shutting_down(self) -> bool:
        """Return True unless the manager goes on. Raises SchedulerError."""
        state = self._run("is-system-running").stdout.strip()  # its exit status is an error for `degraded` too
        return state not in ("initializing", "starting", "running", "degraded", "maintenance")

    def start(self, units: Sequence[str]) -> None:
        """Start `units`. Raises SchedulerError."""
        for batch in _batches(units):
            self.call("start", "--", *batch)

    def stop(self, units: Sequence[str]) -> None:
        """Stop `units`. Raises SchedulerError if one still runs after that.

        Other errors do not matter: a timer may elapse and unload at the same moment, or never have existed.
        """
        for batch in _batches(units):
            result = self._run("stop", "--", *batch)
            if result.returncode and self._any_runs(batch):
                raise _systemd_error(result)

    def reset_failed(self, units: Sequence[str]) -> None:
        """Clear the failed state of `units`. For most this fails, since they are not loaded; systemctl goes on."""
        for batch in _batches(units):
            self._run("reset-failed", "--", *batch)

    def properties(self, units: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the properties `names` of each of `units`; a numeric one that is not set may be missing.

        Raises SchedulerError.
        """
        found: dict[str, dict[str, str]] = {}
        for batch in _batches(units):
            shown = self.call("show", "-p", ",".join(names), "--", *batch)
            found |= {unit: dict(line.split("=", 1) for line in block.splitlines())
                      for unit, block in zip(batch, shown.strip("\n").split("\n\n"), strict=True)}
        return found

    def next_elapses(self, timers: Sequence[str]) -> dict[str, datetime.datetime]:
        """Return when each of `timers` elapses next; one that never does is left out. Raises SchedulerError.

        `show` asks for all properties of a unit. One of them is whether it is enabled, for which systemd searches the
        folders of all units, once for each unit: 8 ms of PID 1 for each of 10,000 timers. `list-timers` does not.
        """
        patterns = timers if len(timers) <= MAX_UNITS_PER_CALL else ["*.timer"]
        listed = json.loads(self.call("list-timers", "--output=json", "--", *patterns)) if timers else []
        return {timer["unit"]: datetime.datetime.fromtimestamp(timer["next"] / 1e6, datetime.UTC) for timer in listed
                if timer["next"]}

    def call(self, *arguments: str) -> str:
        """Return the output of `systemctl` with `arguments`. Raises SchedulerError with its error message."""
        result = self._run(*arguments)
        if result.returncode:
            raise _systemd_error(result)
        return result.stdout

    def _any_runs(self, units: Sequence[str]) -> bool:
        states = self._run("is-active", "--", *units).stdout.split()
        return any(state not in ("inactive", "failed", "unknown") for state in states)

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = ["systemctl", "--user" if self.user else "--system", "--no-ask-password", *arguments]
        environment = {**os.environ, "XDG_RUNTIME_DIR": self.runtime_dir, "LC_ALL": "C", "TZ": "UTC"}
        try:
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SYSTEMCTL_TIMEOUT_S,
                                  stdin=subprocess.DEVNULL, check=False)
        except FileNotFoundError:
            raise SchedulerError("systemctl is not installed.") from None
        except OSError as error:
            raise SchedulerError(f"systemctl cannot be started: {cause(error)}") from error
        except subprocess.TimeoutExpired:
            raise SchedulerError(f"systemd did not answer 'systemctl {arguments[0]}' for {SYSTEMCTL_TIMEOUT_S:.0f} s."
                                 ) from None


def own_systemctl() -> Systemctl:
    """Return the manager that fires this account's jobs: the system's for root, or if root installed, else its own."""
    return Systemctl(user=os.geteuid() != 0 and not uses_privileged_helper())


def _systemd_error(result: "subprocess.CompletedProcess[str]") -> SchedulerError:
    message = " ".join(result.stderr.split()) or f"exit code {result.returncode}"
    return SchedulerError(f"systemd refused: {message}")


def _batches(units: Sequence[str]) -> list[Sequence[str]]:
    return [units[i : i + MAX_UNITS_PER_CALL] for i in range(0, len(units), MAX_UNITS_PER_CALL)]
