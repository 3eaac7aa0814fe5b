"""Puts the present installation back if its upgrade cannot be started."""

import os
from collections.abc import Mapping

from ..errors import describe
from ..files import write_atomic
from ..installation import HOME, ZONE
from . import environment, units
from .processes import SYNC_TIMEOUT_S, run
from .settings import InstallError
from .target import Target

Kept = Mapping[str, bytes | str | None]
"""The content of a file, the target of a link, or None if there is nothing, by path."""


def keep(wanted: Target) -> Kept:
    """Return the link to the environment in use, the links of the commands, the settings and the units, as they are.

    An environment that does not work is not kept. Raises OSError.
    """
    layout = wanted.layout
    paths = [layout.settings_file, *units.rendered(layout, wanted.settings)]
    if not os.path.lexists(layout.current) or environment.works(layout):
        paths.append(layout.current)
    paths += [f"{layout.commands}/{name}" for name in environment.LINKS]
    if layout.needrestart:
        paths.append(f"{layout.needrestart}/{units.NEEDRESTART_FILE}")
    if wanted.account and layout.polkit_rules:
        paths += [f"{layout.polkit_rules}/{units.POLKIT_RULES}", units.user_manager_drop_in(layout, wanted.account.uid)]
    return {path: _at(path) for path in paths}


def put_back(kept: Kept) -> None:
    """Make the files and links at the paths of `kept` as they were. Raises OSError."""
    for path, before in kept.items():
        if before == _at(path):
            continue
        if isinstance(before, bytes):
            write_atomic(path, before, 0o644)
        elif before is not None:
            environment.replace_link(path, before)
        else:
            os.unlink(path)


def start_again(wanted: Target, kept: Kept) -> str:
    """Put the installation before `wanted` back and start it; return a sentence about the outcome."""
    layout, manager = wanted.layout, wanted.manager
    for name in (HOME, ZONE):  # commands use the settings that are put back
        os.environ.pop(name, None)
    names = {os.path.basename(path): before for path, before in kept.items() if os.path.dirname(path) == layout.units}
    if added := [name for name, before in names.items() if before is None and "@" not in name]:
        manager.attempt("disable", "--now", *added)
    try:
        put_back(kept)
        manager.attempt("stop", *units.STOPPED)
        manager.attempt("daemon-reload")
        started = [name for name in names if names[name] is not None and "@" not in name
                   and not name.endswith(".service")]
        if started:
            manager.call("restart", *started)
    except (InstallError, OSError) as error:
        return f"The earlier version, settings and units were put back, but do not start either: {describe(error)}"
    if wanted.present and os.path.lexists(layout.current):
        run([f"{layout.programs}/hermes-oscron", "sync", "--scheduler", wanted.present.scheduler], SYNC_TIMEOUT_S)
        environment.remove_unused(layout)
    else:  # version 0.1, whose environment has another place
        manager.attempt("start", "hermes-oscron-sync.service", timeout_s=SYNC_TIMEOUT_S)
    return "The earlier version, settings and units were put back and started."


def _at(path: str) -> bytes | str | None:
    if os.path.islink(path):
        return os.readlink(path)
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
