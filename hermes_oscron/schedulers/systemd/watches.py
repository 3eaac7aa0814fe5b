"""The path units by which systemd sees that anybody has changed a profile's jobs, and asks for a sync.

hermes-oscron-changed.path, which the installation enables, watches the profile `default` and the coming and going of
the others; each of these has an instance of hermes-oscron-watch@.path, up to a number: to systemd each path is one of
the few inotify instances that its account has (inotify(7), max_user_instances).
"""

import re
from collections.abc import Collection

from ...hermes.homes import DEFAULT
from .systemctl import UNDER_WAY, Manager

CHANGED = "hermes-oscron-changed.path"
SYNC, CHANGE = "hermes-oscron-sync.service", "hermes-oscron-changed.service"
TRIGGERS = (CHANGED, "hermes-oscron-sync.timer")
"""What starts a sync, and can fail: a path by a loop of links in it, say, or if no inotify instance is left. A failed
hermes-oscron-sync.socket is doctor's to report: systemd starts none while its service runs."""
MOST = 10
"""Profiles besides `default`; what changes in more of them is seen by the next sync."""
WATCH = re.compile(r"hermes-oscron-watch@(?P<profile>.+)\.path")


def watch(manager: Manager, profiles: Collection[str]) -> None:
    """Watch the jobs of PROFILES, and of no others, where this installation watches any. Raises SchedulerError."""
    if manager.unreachable():
        return
    listed = manager.call("list-units", "--plain", "--no-legend", "--full", "--state=active,failed", *TRIGGERS,
                          "hermes-oscron-watch@*.path")
    states = {unit: state for unit, _loaded, state, *_ in map(str.split, listed.replace("●", " ").splitlines())}
    if CHANGED not in states:
        return
    manager.start([unit for unit in TRIGGERS if states.get(unit) == "failed"])
    active = {unit for unit, state in states.items() if state == "active"}
    watched = sorted(profile for profile in profiles if profile != DEFAULT)[:MOST]
    wanted = {f"hermes-oscron-watch@{profile}.path" for profile in watched}
    manager.stop(sorted(unit for unit in active if WATCH.fullmatch(unit) and unit not in wanted))
    manager.start(sorted(wanted - active))


def sync_is_pending(manager: Manager) -> bool:
    """Whether a sync runs, or is about to since it was asked for. Raises SchedulerError."""
    if manager.unreachable():
        return False
    units = manager.properties((SYNC, CHANGE), ("ActiveState", "Job"))
    return any(state["ActiveState"] in UNDER_WAY or state.get("Job") for state in units.values())
