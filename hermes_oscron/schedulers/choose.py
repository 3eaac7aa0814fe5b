"""Which scheduler fires here."""

import os

from ..hermes.config import Config
from .foreground import Foreground
from .plan import Scheduler
from .systemd.scheduler import Systemd
from .systemd.systemctl import Manager


def manager() -> Manager:
    """The systemd manager of this account: root's is the system's, anyone else's their own."""
    return Manager(user=os.geteuid() != 0)


def choose(root: str, settings: Config, kind: str | None = None) -> Scheduler:
    """The scheduler KIND, or the configured one; `auto` is systemd."""
    wanted = kind or settings.scheduler
    if wanted == "foreground":
        return Foreground(root)
    return Systemd(manager())
