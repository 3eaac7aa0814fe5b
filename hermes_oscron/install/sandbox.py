"""Tries whether systemd can start a service with the sandbox of the jobs on this machine."""

import glob
import os
import re
from collections.abc import Iterator

from . import units
from .layout import Layout
from .processes import run
from .settings import InstallError, Settings

DROP_IN = "hermes-job@.service.d/account.conf"
"""The drop-in with the sandbox of the jobs, which the API and the syncs have too."""
FAILURES = {218: "CAPABILITIES", 226: "NAMESPACE", 227: "NO_NEW_PRIVILEGES", 228: "SECCOMP", 232: "ADDRESS_FAMILIES"}
"""The exit statuses of a service that systemd could not put into its sandbox (systemd.exec(5))."""
NESTING = "In an LXC container allow nesting (Proxmox: pct set ID --features nesting=1)"


def refuse_machine_without(layout: Layout, settings: Settings) -> None:
    """Raise InstallError if systemd cannot start a service with the sandbox of the jobs. Changes nothing.

    Another failure, as without systemd-run(1) or the system bus, shows nothing about the sandbox.
    """
    options = [f"--property={line}" for line in properties(layout, settings)]
    try:
        status = run(["systemd-run", "--quiet", "--wait", "--collect", *options, "/bin/true"]).returncode
    except InstallError:  # it did not end
        return
    if status in FAILURES:
        raise InstallError(f"systemd cannot start a service with the sandbox of the jobs here "
                           f"({status}/{FAILURES[status]}), and nothing was changed.",
                           f"{NESTING}, or fire the jobs by cron: ./install.sh --account NAME --scheduler crontab")


def properties(layout: Layout, settings: Settings) -> list[str]:
    """Return the settings of the sandbox, as `NAME=VALUE`, with what drop-ins of the administrator change."""
    ours = f"{layout.units}/{DROP_IN}"
    files = {path: units.installed(path) for path in glob.glob(f"{os.path.dirname(ours)}/*.conf")}
    files[ours] = units.render(DROP_IN, layout, settings)
    names = {name for name, _ in _assignments(files[ours])}
    return [f"{name}={value}" for path in sorted(files) for name, value in _assignments(files[path]) if name in names]


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    """Yield the names and values in the section [Service] of the unit file `text`."""
    section = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        name, equals, value = (part.strip() for part in line.partition("="))
        if line.startswith("["):
            section = line.strip()
        elif equals and section == "[Service]" and not line.startswith(("#", ";")):
            yield name, value
