"""The token that clients show: made once, private to the account, replaced by `rotate`."""

import contextlib
import os
import secrets

from ..files import make_private_dir, open_regular, write_atomic
from ..hermes.home import state_dir


def get_or_create(root: str) -> str:
    """The token of the installation in ROOT, made at the first call; the file is its owner's alone."""
    path = token_path(root)
    if known := read_token(path):
        return known
    make_private_dir(os.path.dirname(path))
    temp_path = f"{path}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        with open(os.open(temp_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        os.link(temp_path, path)  # whoever is first has made the token
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
    """A new token for the installation in ROOT; the old one and every session of it are good no more."""
    path = token_path(root)
    make_private_dir(os.path.dirname(path))
    write_atomic(path, secrets.token_urlsafe(32).encode() + b"\n")
    return get_or_create(root)


def token_path(root: str) -> str:
    return f"{state_dir(root)}/token"


def read_token(path: str) -> str:
    """The token in the file at PATH; empty where there is none. Raises OSError, UnicodeDecodeError."""
    try:
        with open(path, encoding="ascii", opener=open_regular) as file:
            return file.read(1000).strip()
    except FileNotFoundError:
        return ""
