"""The token of the API: created once, private to the account, replaced by `rotate`."""

import os
import secrets

from ..errors import cause
from ..files import StateFileError, make_private_dir, open_regular, wait_for_lock, write_atomic
from ..state import State


def get_or_create(root: str) -> str:
    """Return the token of the installation in `root`, created at the first call; only its owner can read the file.

    Raises StateFileError.
    """
    path = token_path(root)
    if known := read_token(path):
        return known
    folder = os.path.dirname(path)
    try:
        make_private_dir(folder)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            wait_for_lock(fd, folder)
            if not read_token(path):  # of several processes, the first one has made it
                _write_new(path)
        finally:
            os.close(fd)
    except OSError as error:
        raise StateFileError(f"{path} cannot be written: {cause(error)}") from error
    return read_token(path)


def rotate(root: str) -> str:
    """Replace the token of the installation in `root`; the old one and all its sessions become invalid."""
    path = token_path(root)
    make_private_dir(os.path.dirname(path))
    _write_new(path)
    return get_or_create(root)


def token_path(root: str) -> str:
    return State(root).token


def read_token(path: str) -> str:
    """Return the token in the file at `path`; empty if there is none. Raises StateFileError."""
    try:
        with open(path, encoding="ascii", opener=open_regular) as file:
            return file.read(1000).strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise StateFileError(f"{path} cannot be read: {cause(error)}",
                             "Once it is removed, 'hermes-oscron token' makes a new one.") from error


def _write_new(path: str) -> None:
    write_atomic(path, secrets.token_urlsafe(32).encode() + b"\n")
