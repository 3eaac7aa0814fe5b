"""Who may call: the token, and the names by which this server may be called."""

import hmac
import os
import secrets
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from ..hermes.homes import state_dir
from ..hermes.store import make_private_dir

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Refused(Exception):
    """The caller may not; `status` is 401 or 403, the text says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Door(NamedTuple):
    """What a request must show: TOKEN (None where none is asked for), and one of HOSTS as its Host."""

    token: str | None
    hosts: frozenset[str]

    def admit(self, authorization: str) -> None:
        """Raise Refused unless AUTHORIZATION, the header, carries the token."""
        if self.token is None:
            return
        scheme, _, given = authorization.partition(" ")
        matches = hmac.compare_digest(given.strip().encode(), self.token.encode())
        if scheme.lower() != "bearer" or not matches:
            raise Refused(401, "This needs the header 'Authorization: Bearer TOKEN'; 'hermes-oscron token' prints it.")

    def check_names(self, host: str, origin: str | None) -> None:
        """Raise Refused unless HOST is ours and ORIGIN, where there is one, is the same place."""
        if _name(f"//{host}") not in self.hosts:
            raise Refused(403, f"The Host '{host[:100]}' is not this server's; [web] hosts in oscron.toml names more.")
        if origin is not None and _place(origin) != host.lower():
            raise Refused(403, f"The Origin '{origin[:100]}' is a foreign one.")


def hosts(bound: str, configured: Iterable[str]) -> frozenset[str]:
    """The names a client may call a server by that listens on BOUND."""
    return LOOPBACK | {bound.lower()} | {name.lower() for name in configured}


def token(root: str) -> str:
    """The token of the installation in ROOT, made at the first call; the file is its owner's alone."""
    path = f"{state_dir(root)}/token"
    try:
        with open(path, encoding="ascii") as file:
            known = file.read().strip()
        if known:
            return known
    except FileNotFoundError:
        pass
    make_private_dir(os.path.dirname(path))
    unfinished = f"{path}.{os.getpid()}.{secrets.token_hex(4)}"
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    try:
        os.link(unfinished, path)  # whoever is first has made the token
    except FileExistsError:
        if os.path.getsize(path) == 0:
            os.rename(unfinished, path)
            return token(root)
    os.unlink(unfinished)
    return token(root)


def _place(url: str) -> str | None:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return None


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
