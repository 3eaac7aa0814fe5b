"""Compares an installation with what the installer would write."""

import os

from .. import installation
from . import layout, target, units
from .layout import Layout
from .manager import Manager
from .settings import load


def outdated_units() -> list[str]:
    """Return the unit files of this program's installation that are not as the installer writes them.

    Empty if this program is not installed, or has no units. Raises InstallError, OSError.
    """
    stored = installation.read_settings()
    if not stored:
        return []
    places = _layout_of(stored)
    chosen = load(places)
    if places.prefix != installation.folder() or not chosen:
        return []
    if chosen.scheduler == "crontab" or not Manager(places).runs():
        return []
    return [path for path, content in units.expected(places, chosen).items()
            if not _is_hidden(path) and units.installed(path) != content]


def _is_hidden(path: str) -> bool:
    """Return True if this account cannot read the folder of `path`, as that of polkit's rules."""
    folder = os.path.dirname(path)
    return os.path.isdir(folder) and not os.access(folder, os.X_OK)


def _layout_of(stored: dict[str, str]) -> Layout:
    """Return the places of the installation with the settings `stored`, which another account may have made."""
    return layout.system() if stored.get(installation.ACCOUNT) else target.own_layout(os.environ)
