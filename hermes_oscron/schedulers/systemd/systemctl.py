"""The one door to a systemd manager: systemctl(1), for the system's or for a user's own."""

import os
import subprocess
from collections.abc import Sequence

from ...errors import cause
from ...installation import is_delegated
from ..plan import SchedulerError

TIMEOUT = 60.0
"""Seconds; a manager that does not answer is a fault to report, not to wait for."""
UNDER_WAY = ("activating", "active", "deactivating", "reloading")
"""Values of ActiveState."""


class Manager:
    """The manager that owns our timers: root's is the system's, anyone else's their own."""

    def __init__(self, user: bool) -> None:
        self.user = user

    @property
    def runtime_dir(self) -> str:
        """/run, or an account's `$XDG_RUNTIME_DIR`, which a process that no session started does not have."""
        if not self.user:
            return "/run"
        return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"

    @property
    def unit_dir(self) -> str:
        """Runtime units: read without a reload, gone after a reboot (systemd.unit(5), unit file load path)."""
        return f"{self.runtime_dir}/systemd/{'user' if self.user else 'system'}"

    def request_sync(self) -> None:
        """Make systemd run hermes-oscron-sync.service, after its present run if there is one; do not wait for it.

        Write to the pipe of hermes-oscron-sync.socket: systemd would take a start for the run of a oneshot that is just
        ending, but looks at the pipe again when the service has ended. Raises SchedulerError.
        """
        path = f"{self.runtime_dir}/hermes-oscron-sync"
        try:
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(pipe, b"\n")
            except BlockingIOError:  # it is full: a sync is requested already
                pass
            finally:
                os.close(pipe)
        except OSError as error:
            raise SchedulerError(f"A sync cannot be requested through {path}: {cause(error)}") from error

    def unreachable(self) -> str | None:
        """Why the manager cannot be reached, or None."""
        if self.user and not os.path.exists(f"{self.runtime_dir}/systemd/private"):
            return (f"No systemd user manager runs for this account ({self.runtime_dir}/systemd is not there); "
                    f"'loginctl enable-linger' starts one for good.")
        if not self.user and not os.path.isdir("/run/systemd/system"):
            return "systemd does not run this machine (there is no /run/systemd/system)."
        return None

    def start(self, units: Sequence[str]) -> None:
        """Start UNITS. Raises SchedulerError."""
        for batch in _batches(units):
            self.call("start", "--", *batch)

    def stop(self, units: Sequence[str]) -> None:
        """Have UNITS stopped. Raises SchedulerError.

        What systemd says against it counts only where one still runs: a timer may elapse and go by itself meanwhile, or
        never have been there.
        """
        for batch in _batches(units):
            result = self._run("stop", "--", *batch)
            if result.returncode and self._any_runs(batch):
                raise _refusal(result)

    def reset_failed(self, unit: str) -> None:
        """Let UNIT count as failed no more; most units never did, and systemd does not know them."""
        self._run("reset-failed", "--", unit)

    def properties(self, units: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, str]]:
        """The properties `names` of each of `units`; a numeric one that is not set may be missing.

        Raises SchedulerError.
        """
        shown = self.call("show", "-p", ",".join(names), "--", *units)
        return {unit: dict(line.split("=", 1) for line in block.splitlines())
                for unit, block in zip(units, shown.strip("\n").split("\n\n"), strict=True)}

    def call(self, *arguments: str) -> str:
        """What `systemctl ARGUMENTS` prints. Raises SchedulerError with its own words."""
        result = self._run(*arguments)
        if result.returncode:
            raise _refusal(result)
        return result.stdout

    def _any_runs(self, units: Sequence[str]) -> bool:
        states = self._run("is-active", "--", *units).stdout.split()
        return any(state not in ("inactive", "failed", "unknown") for state in states)

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = ["systemctl", "--user" if self.user else "--system", "--no-ask-password", *arguments]
        environment = {**os.environ, "XDG_RUNTIME_DIR": self.runtime_dir, "LC_ALL": "C"}
        try:
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT,
                                  stdin=subprocess.DEVNULL, check=False)
        except FileNotFoundError:
            raise SchedulerError("systemctl is not installed.") from None
        except OSError as error:
            raise SchedulerError(f"systemctl cannot be started: {cause(error)}") from error
        except subprocess.TimeoutExpired:
            raise SchedulerError(f"systemd did not answer 'systemctl {arguments[0]}' for {TIMEOUT:.0f} s.") from None


def manager() -> Manager:
    """The systemd manager that fires this account's jobs: root's is the system's, anyone else's mostly their own."""
    return Manager(user=os.geteuid() != 0 and not is_delegated())


def _refusal(result: "subprocess.CompletedProcess[str]") -> SchedulerError:
    said = " ".join(result.stderr.split()) or f"exit code {result.returncode}"
    return SchedulerError(f"systemd refused: {said}")


def _batches(units: Sequence[str]) -> list[Sequence[str]]:
    """UNITS in parts that fit a command line."""
    return [units[i : i + 500] for i in range(0, len(units), 500)]
