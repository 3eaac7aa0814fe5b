"""The token of the API: created once, private to the account, replaced by `rotate`."""

import contextlib
import os
import secrets

from ..files import make_private_dir, open_regular, write_atomic
from ..state import State


def get_or_create(root: str) -> str:
    """Return the token of the installation in `root`, created at the first call; only its owner can read the file."""
    path = token_path(root)
    if known := read_token(path):
        return known
    make_private_dir(os.path.dirname(path))
    temp_path = f"{path}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        with open(os.open(temp_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        os.link(temp_path, path)  # of several processes, the first one has made the token
    except FileExistsError:
        if os.path.getsize(path) == 0:
            os.rename(temp_path, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temp_path)
    return get_or_create(root)


def rotate(root: str) -> str:
    """Replace the token of the installation in `root`; the old one and all its sessions become invalid."""
    path = token_path(root)
    make_private_dir(os.path.dirname(path))
    write_atomic(path, secrets.token_urlsafe(32).encode() + b"\n")
    return get_or_create(root)


def token_path(root: str) -> str:
    return State(root).token


def read_token(path: str) -> str:
    """Return the token in the file at `path`; empty if there is none. Raises OSError, UnicodeDecodeError."""
    try:
        with open(path, encoding="ascii", opener=open_regular) as file:
            return file.read(1000).strip()
    except FileNotFoundError:
        return ""
