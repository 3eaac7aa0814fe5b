"""Which scheduler should fire here."""

from ..hermes.config import Config, ConfigError
from ..installation import is_delegated
from .crontab.scheduler import Crontab
from .foreground import Foreground
from .plan import Scheduler
from .systemd.delegated import Delegated
from .systemd.scheduler import Systemd
from .systemd.systemctl import manager

AUTO = "auto"


def scheduler_of(root: str, kind: str) -> Scheduler:
    """The scheduler KIND for the Hermes ROOT."""
    if kind == Foreground.kind:
        return Foreground(root)
    if kind == Crontab.kind:
        return Crontab(root)
    return Delegated(manager()) if is_delegated() else Systemd(manager())


def choose(root: str, settings: Config, present: str | None, kind: str | None = None) -> Scheduler:
    """The scheduler that should fire: KIND, or the configured one. Raises ConfigError where they disagree.

    `auto` stays with the kind `present`, which fires already, unless this machine cannot have that any more; else it is
    the systemd manager of this account, else cron, which tells what is missing where there is neither.
    """
    if kind not in (None, AUTO, settings.scheduler) and settings.scheduler != AUTO:
        raise ConfigError(f"{root}/oscron.toml says that {settings.scheduler} fires the jobs: change it there.")
    wanted = settings.scheduler if kind in (None, AUTO) else kind
    if wanted != AUTO:
        return scheduler_of(root, wanted)
    if present and (scheduler := scheduler_of(root, present)).possible():
        return scheduler
    systemd = scheduler_of(root, Systemd.kind)
    return Crontab(root) if systemd.unavailable() else systemd
