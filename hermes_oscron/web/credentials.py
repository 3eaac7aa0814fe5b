"""Who may call: with the token or a session of it, from an account's own socket, and by which names."""

import hmac
import ipaddress
import math
import os
import secrets
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from ..hermes.homes import state_dir
from ..hermes.store import StoreError, make_private_dir, replace_file
from .attempts import Attempts
from .sessions import Sessions

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
USUAL_PORTS = {"http": 80, "https": 443}


class Refused(Exception):
    """The caller may not; `status` is 401, 403 or 429, the text says why, `wait` for how many seconds."""

    def __init__(self, status: int, reason: str, wait: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.wait = wait


class Caller(NamedTuple):
    """Who calls: the address, `uid:N` on a unix socket, and what is shown: a header and a cookie, both maybe empty."""

    address: str
    authorization: str
    session: str


class Door:
    """What a request must show: the token of ROOT, unless the door IS_OPEN, and one of HOSTS as its Host."""

    def __init__(self, root: str, hosts: frozenset[str], is_open: bool = False) -> None:
        self.is_open = is_open
        self._root = root
        self._hosts = hosts
        self._sessions = Sessions(root)
        self._attempts = Attempts()

    def admit(self, caller: Caller) -> None:
        """Raise Refused unless CALLER shows the token or a session, or is this very account on a unix socket.

        Raises StoreError where the token cannot be read.
        """
        if self._needs_nothing(caller):
            return
        scheme, _, given = caller.authorization.partition(" ")
        if scheme.lower() == "bearer":  # another scheme is meant for a proxy in front
            self._check(caller, given.strip())
        elif not self._sessions.knows(caller.session, self._token()):
            raise Refused(401, "This needs the header 'Authorization: Bearer TOKEN'; 'hermes-oscron token' prints it.")

    def knows(self, caller: Caller) -> bool:
        """Whether CALLER would be admitted."""
        try:
            self.admit(caller)
        except Refused:
            return False
        return True

    def begin_session(self, caller: Caller, password: str) -> str:
        """What CALLER, who gives PASSWORD, has to show from now on. Raises Refused, StoreError."""
        if not self._needs_nothing(caller):
            self._check(caller, password)
        return self._sessions.begin(self._token())

    def end_session(self, caller: Caller) -> None:
        """Let CALLER's session be good no more. Raises StoreError."""
        self._sessions.end(caller.session, self._token())

    def check_names(self, host: str, origin: str | None) -> None:
        """Raise Refused unless HOST is ours and ORIGIN, where there is one, is the same place."""
        if _name(f"//{host}") not in self._hosts:
            raise Refused(403, f"The Host '{host[:100]}' is not this server's; [web] hosts in oscron.toml names more.")
        if origin is not None and not _is_at(origin, host):
            raise Refused(403, f"The Origin '{origin[:100]}' is a foreign one.")

    def _token(self) -> str:
        """The token as it is now. Raises StoreError."""
        try:
            return token(self._root)
        except OSError as error:
            raise StoreError(f"{error.filename} cannot be read or made: {error.strerror}.") from error

    def _needs_nothing(self, caller: Caller) -> bool:
        return self.is_open or caller.address == f"uid:{os.geteuid()}"

    def _check(self, caller: Caller, given: str) -> None:
        """Raise Refused unless GIVEN is the token; an address that has given many wrong ones has to wait."""
        wait = math.ceil(self._attempts.wait(caller.address))
        if wait:
            raise Refused(429, f"Too many wrong tokens came from your address; try again in {wait} s.", wait)
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._token().encode()):
            self._attempts.note(caller.address)
            raise Refused(401, "That is not the token; 'hermes-oscron token' prints it, and a call carries it in the "
                               "header 'Authorization: Bearer TOKEN'.")


def is_loopback(address: str) -> bool:
    """Whether ADDRESS, an IP address, is reached from this machine alone."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


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


def rotate(root: str) -> str:
    """A new token for the installation in ROOT; the old one and every session of it are good no more."""
    path = f"{state_dir(root)}/token"
    make_private_dir(os.path.dirname(path))
    replace_file(path, secrets.token_urlsafe(32).encode() + b"\n")
    return token(root)


def _is_at(origin: str, host: str) -> bool:
    """Whether ORIGIN is a page of HOST; where either leaves the port to its scheme, it is that one."""
    try:
        page = urlsplit(origin)
        usual = USUAL_PORTS[page.scheme]
        here = urlsplit(f"{page.scheme}://{host}")
        return (page.hostname, page.port or usual) == (here.hostname, here.port or usual)
    except (ValueError, KeyError):
        return False


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
