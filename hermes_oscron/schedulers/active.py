"""The active scheduler, the one in which the jobs are armed, so that no job is ever armed in two.

Also the last sync, and whether the jobs are disarmed.
"""

import os
from contextlib import suppress

from ..files import make_private_dir, open_regular, touch, write_atomic
from ..state import State


def active_scheduler(root: str) -> str | None:
    """Return the kind of scheduler in which the jobs of `root` are armed; None before the first time."""
    try:
        with open(State(root).scheduler, encoding="ascii", opener=open_regular) as file:
            return file.read(100).strip() or None
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def set_active_scheduler(root: str, kind: str) -> None:
    """Store that the jobs of `root` are armed in a scheduler of `kind`. Raises OSError."""
    if active_scheduler(root) != kind:
        make_private_dir(State(root).folder)
        write_atomic(State(root).scheduler, f"{kind}\n".encode())


def note_sync(root: str) -> None:
    """Store that a sync of the jobs of `root` has just succeeded. Does nothing on a disk that cannot be written."""
    with suppress(OSError):
        touch(State(root).synced)


def last_sync(root: str) -> float:
    """Return when a sync of the jobs of `root` last succeeded, in unix seconds; 0 if none has."""
    try:
        return os.stat(State(root).synced).st_mtime
    except OSError:
        return 0.0


def disarmed_since(root: str) -> float | None:
    """Return when `hermes-oscron disarm` disarmed the jobs of `root`, in unix seconds; None if they may fire."""
    try:
        return os.stat(State(root).disarmed).st_mtime
    except FileNotFoundError:
        return None


def set_disarmed(root: str, disarmed: bool) -> None:
    """Store whether the jobs of `root` are disarmed; it lasts over syncs, upgrades and reboots. Raises OSError."""
    if disarmed:
        make_private_dir(State(root).folder)
        touch(State(root).disarmed)
    else:
        with suppress(FileNotFoundError):
            os.unlink(State(root).disarmed)
