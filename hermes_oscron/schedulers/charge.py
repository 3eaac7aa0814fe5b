"""In which scheduler the jobs are armed, so that no job is ever armed in two, and when they were last synced."""

import os
from contextlib import suppress

from ..hermes.homes import regular, state_dir
from ..hermes.store import make_private_dir, replace_file, touch


def in_charge(root: str) -> str | None:
    """The kind of scheduler in which the jobs of ROOT are armed; None before there is any."""
    try:
        with open(_path(root), encoding="ascii", opener=regular) as file:
            return file.read(100).strip() or None
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def put_in_charge(root: str, kind: str) -> None:
    """Remember that the jobs of ROOT are armed in a scheduler of KIND. Raises OSError."""
    if in_charge(root) != kind:
        make_private_dir(state_dir(root))
        replace_file(_path(root), f"{kind}\n".encode())


def note_sync(root: str) -> None:
    """Remember that a sync of the jobs of `root` has just ended well; on a disk that takes nothing, do not."""
    with suppress(OSError):
        touch(f"{state_dir(root)}/synced")


def last_sync(root: str) -> float:
    """When a sync of the jobs of `root` last ended well, in unix seconds; 0 if none has."""
    try:
        return os.stat(f"{state_dir(root)}/synced").st_mtime
    except OSError:
        return 0.0


def _path(root: str) -> str:
    return f"{state_dir(root)}/scheduler"
