"""The path units by which systemd notices that a profile's jobs were changed, and requests a sync.

hermes-oscron-changed.path, which the installation enables, watches the profile `default`, and starts
hermes-oscron-settings.path, which also notices the creation and removal of the others. Each of those has an instance of
hermes-oscron-watch@.path, up to a limit: to systemd each path is one of the few inotify instances that an account has
(inotify(7), max_user_instances).
"""

import re
from collections.abc import Collection

from ...hermes.home import DEFAULT_PROFILE
from .systemctl import ACTIVE_STATES, Systemctl

CHANGED_PATH, SETTINGS_PATH = "hermes-oscron-changed.path", "hermes-oscron-settings.path"
SYNC_SERVICE, CHANGED_SERVICE = "hermes-oscron-sync.service", "hermes-oscron-changed.service"
TRIGGER_UNITS = (CHANGED_PATH, SETTINGS_PATH, "hermes-oscron-sync.timer")
"""Units that start a sync and can fail: a path by a loop of links in it, or if no inotify instance is left.

A failed hermes-oscron-sync.socket is left to doctor: systemd starts no socket while its service runs.
"""
MAX_WATCHED_PROFILES = 10
"""The number of profiles besides `default` that are watched. The next regular sync notices changes in further ones."""
AGENT_SOCKETS = "hermes-oscron-agent@*.socket"
"""The sockets of the agent workers, which the path units start. One fails if its worker cannot be started."""
WATCH_UNIT = re.compile(r"hermes-oscron-watch@(?P<profile>.+)\.path")


def watchable(profiles: Collection[str]) -> list[str]:
    """Return those of `profiles` that get a path unit of their own."""
    return sorted(profile for profile in profiles if profile != DEFAULT_PROFILE)[:MAX_WATCHED_PROFILES]


class PathWatcher:
    """Notices changed jobs by path units of one systemd manager, if this installation has any."""

    def __init__(self, systemctl: Systemctl) -> None:
        self._systemctl = systemctl

    def watch(self, profiles: Collection[str]) -> None:
        """Watch the jobs of exactly `profiles`. Raises SchedulerError."""
        if self._systemctl.unreachable():
            return
        listed = self._systemctl.call("list-units", "--plain", "--no-legend", "--full", "--state=active,failed",
                                      *TRIGGER_UNITS, "hermes-oscron-watch@*.path", AGENT_SOCKETS)
        lines = listed.replace("●", " ").splitlines()
        states = {unit: state for unit, _loaded, state, *_ in map(str.split, lines)}
        if CHANGED_PATH not in states:
            return
        self._systemctl.start([unit for unit, state in states.items() if state == "failed"
                               and (unit in TRIGGER_UNITS or unit.endswith(".socket"))])
        active = {unit for unit, state in states.items() if state == "active"}
        wanted = {f"hermes-oscron-watch@{profile}.path" for profile in watchable(profiles)}
        self._systemctl.stop(sorted(unit for unit in active if WATCH_UNIT.fullmatch(unit) and unit not in wanted))
        self._systemctl.start(sorted(wanted - active))

    def sync_is_pending(self) -> bool:
        """Return True if a sync runs or was requested. Raises SchedulerError."""
        if self._systemctl.unreachable():
            return False
        states = self._systemctl.properties((SYNC_SERVICE, CHANGED_SERVICE), ("ActiveState", "Job"))
        return any(state["ActiveState"] in ACTIVE_STATES or state.get("Job") for state in states.values())


class NoWatcher:
    """A watcher for the foreground scheduler, which reads the jobs itself."""

    def watch(self, profiles: Collection[str]) -> None:
        """Do nothing."""

    def sync_is_pending(self) -> bool:
        """Return False."""
        return False
