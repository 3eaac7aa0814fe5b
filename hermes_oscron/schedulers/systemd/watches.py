"""The path units by which systemd sees that anybody has changed a profile's jobs, and asks for a sync.

hermes-oscron-changed.path, which the installation enables, watches the profile `default` and the coming and going of
the others; each of these has an instance of hermes-oscron-watch@.path.
"""

import re
from collections.abc import Collection

from ...hermes.homes import DEFAULT
from .systemctl import Manager

CHANGED = "hermes-oscron-changed.path"
WATCH = re.compile(r"hermes-oscron-watch@(?P<profile>.+)\.path")


def watch(manager: Manager, profiles: Collection[str]) -> None:
    """Watch the jobs of PROFILES, and of no others, where this installation watches any. Raises SchedulerError."""
    if manager.unreachable():
        return
    listed = manager.call("list-units", "--plain", "--no-legend", "--full", "--state=active", CHANGED,
                          "hermes-oscron-watch@*.path")
    active = {line.split()[0] for line in listed.splitlines() if line}
    if CHANGED not in active:
        return
    wanted = {f"hermes-oscron-watch@{profile}.path" for profile in profiles if profile != DEFAULT}
    manager.stop(sorted(unit for unit in active if WATCH.fullmatch(unit) and unit not in wanted))
    manager.start(sorted(wanted - active))
