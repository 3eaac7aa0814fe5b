"""The systemd manager of an installation, called as root or as the account whose manager it is."""

import os
import subprocess
import time
from collections.abc import Sequence

from .layout import Layout
from .processes import COMMAND_TIMEOUT_S, run
from .settings import InstallError

BOOTED = "/run/systemd/system"
"""This folder exists if systemd runs the machine (sd_booted(3))."""
START_TIMEOUT_S = 10.0


class Manager:
    """Calls systemctl(1) for the manager of `layout`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def runs(self) -> bool:
        """Return True if the manager runs."""
        if not os.path.isdir(BOOTED):
            return False
        return self._layout.is_system or os.path.exists(f"{self._layout.runtime_dir}/systemd/private")

    def start_for_account(self) -> bool:
        """Enable the account's manager without a login, and wait until it runs; return True if it does."""
        if not os.path.isdir(BOOTED):
            return False
        if not self.runs():
            self.enable_linger()
            deadline = time.monotonic() + START_TIMEOUT_S
            while not self.runs() and time.monotonic() < deadline:
                time.sleep(0.2)
        return self.runs()

    def enable_linger(self) -> bool:
        """Enable the account's manager without a login (loginctl(1)); return False if that is not allowed."""
        return self._layout.is_system or run(["loginctl", "enable-linger", str(os.getuid())]).returncode == 0

    def disable_linger(self) -> None:
        """Undo `enable_linger`."""
        run(["loginctl", "disable-linger", str(os.getuid())])

    def call(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Return what systemctl prints. Raises InstallError with its message."""
        done = self._call(arguments, timeout_s)
        if done.returncode:
            reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            raise InstallError(f"systemd refused '{' '.join(arguments)}': {reason.rstrip('.')}.")
        return done.stdout

    def attempt(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Return what systemctl prints; it may fail, since the units may not exist."""
        return self._call(arguments, timeout_s).stdout

    def has(self, unit: str) -> bool:
        """Return True if the manager has a file of `unit`."""
        return self._call(["cat", "--", unit], COMMAND_TIMEOUT_S).returncode == 0

    def _call(self, arguments: Sequence[str], timeout_s: float) -> "subprocess.CompletedProcess[str]":
        environment = [] if self._layout.is_system else ["env", f"XDG_RUNTIME_DIR={self._layout.runtime_dir}"]
        options = [self._layout.manager, "--no-ask-password"]  # --quiet would hide why a job of systemd failed
        return run([*environment, "systemctl", *options, *arguments], timeout_s)
