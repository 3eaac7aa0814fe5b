"""The choice of the scheduler: the one that should fire the jobs, and the one that does."""

from ..account import uses_privileged_helper
from ..config import Config, ConfigError
from ..privileged.client import PrivilegedSystemd, PrivilegedWatcher
from ..schedulers.active import active_scheduler
from ..schedulers.crontab.scheduler import Crontab
from ..schedulers.foreground import Foreground
from ..schedulers.protocol import ChangeWatcher, Scheduler
from ..schedulers.systemd.path_watch import NoWatcher, PathWatcher
from ..schedulers.systemd.scheduler import Systemd
from ..schedulers.systemd.systemctl import own_systemctl

AUTO = "auto"


class Selection:
    """The schedulers of one Hermes root.

    `active` is the scheduler in which the jobs are armed now, also if another process moved them there. A sync moves
    them to `configured`. `active_at_start` is the kind that was active when `configured` was chosen. If both are the
    same kind, a sync leaves the jobs in the scheduler that is active by then.
    """

    def __init__(self, root: str, configured: Scheduler, active_at_start: str | None = None) -> None:
        self.root = root
        self.configured = self._active = configured
        self.active_at_start = active_at_start

    @classmethod
    def load(cls, root: str, settings: Config, kind: str | None = None) -> "Selection":
        """Return the selection with the scheduler `kind`, or the configured one. Raises ConfigError."""
        active = active_scheduler(root)  # read once: a second reading could see a move, and the next sync would undo it
        return cls(root, choose_scheduler(root, settings, active, kind), active)

    @property
    def active(self) -> Scheduler:
        kind = active_scheduler(self.root) or self.configured.kind
        if kind != self._active.kind:
            self._active = self.configured if kind == self.configured.kind else scheduler_of(self.root, kind)
        return self._active

    @property
    def watcher(self) -> ChangeWatcher:
        """The watcher that notices changed jobs while the active scheduler fires."""
        if self.active.kind == Foreground.kind:
            return NoWatcher()
        return PrivilegedWatcher(own_systemctl()) if uses_privileged_helper() else PathWatcher(own_systemctl())


def scheduler_of(root: str, kind: str) -> Scheduler:
    """Return the scheduler `kind` for the Hermes root `root`."""
    if kind == Foreground.kind:
        return Foreground(root)
    if kind == Crontab.kind:
        return Crontab(root)
    return PrivilegedSystemd(own_systemctl()) if uses_privileged_helper() else Systemd(own_systemctl())


def choose_scheduler(root: str, settings: Config, active: str | None, kind: str | None = None) -> Scheduler:
    """Return the scheduler that should fire: `kind`, or the configured one. Raises ConfigError if they contradict.

    `auto` keeps the kind `active` while this machine has it. Otherwise it is the systemd manager of this account, if
    one runs, else cron.
    """
    if kind not in (None, AUTO, settings.scheduler) and settings.scheduler != AUTO:
        raise ConfigError(f"{root}/oscron.toml sets the scheduler to {settings.scheduler}; change it there.")
    wanted = settings.scheduler if kind in (None, AUTO) else kind
    if wanted == Crontab.kind and uses_privileged_helper():
        raise ConfigError("The services of root's installation have no right to use crontab(1). To use cron, uninstall "
                          "it, and install for the account alone: ./install.sh --account NAME --scheduler crontab")
    if wanted != AUTO:
        return scheduler_of(root, wanted)
    if active and (scheduler := scheduler_of(root, active)).availability().supported:
        return scheduler
    systemd = scheduler_of(root, Systemd.kind)
    return Crontab(root) if systemd.availability().reason else systemd
