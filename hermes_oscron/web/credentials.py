"""Who may call: with the token or a session of it, from an account's own socket, and by which names."""

import contextlib
import hmac
import ipaddress
import math
import os
import re
import secrets
from typing import NamedTuple
from urllib.parse import urlsplit

from ..errors import cause
from ..hermes import config
from ..hermes.config import Config
from ..hermes.homes import regular, state_dir
from ..hermes.store import StoreError, make_private_dir, replace_file, signature
from .attempts import Attempts
from .sessions import Sessions

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
USUAL_PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""What a Host header may be (RFC 9110, 7.2), of what a server can be called."""


class Refused(Exception):
    """The caller may not; `status` is 401, 403 or 429, the text says why, `wait` for how many seconds."""

    def __init__(self, status: int, reason: str, wait: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.wait = wait


class Caller(NamedTuple):
    """Who calls: the address, `uid:N` on a unix socket, and what is shown: a header, maybe empty, and our cookies."""

    address: str
    authorization: str
    sessions: tuple[str, ...]


class Door:
    """What a request must show: the token of ROOT, and a name of ours as its Host.

    oscron.toml names more of these, and may let everyone in; what it says holds at once. A server that other machines
    reach is never open. BOUND is the name or address that it listens on.
    """

    def __init__(self, root: str, bound: str = "localhost", beyond_loopback: bool = False) -> None:
        self._root = root
        self._names = LOOPBACK | {bound.lower()}
        self._beyond_loopback = beyond_loopback
        self._sessions = Sessions(root)
        self._attempts = Attempts()
        self._read: object = None
        self._settings = Config()

    @property
    def is_open(self) -> bool:
        """Whether everyone is let in. Raises ConfigError, StoreError."""
        return self._configured().auth == "none" and not self._beyond_loopback

    def _configured(self) -> Config:
        """What oscron.toml says now. Raises ConfigError, StoreError."""
        found = signature(config.path_of(self._root))
        if found != self._read:
            self._settings, self._read = config.load(self._root), found
        return self._settings

    def admit(self, caller: Caller) -> None:
        """Raise Refused unless CALLER shows the token or a session, or is this very account on a unix socket.

        Raises StoreError where the token cannot be read.
        """
        if caller.address == f"uid:{os.geteuid()}" or self.is_open or self._has_session(caller):
            return
        scheme, _, given = caller.authorization.partition(" ")
        if scheme.lower() == "bearer":  # another scheme is meant for a proxy in front
            self._check(caller, given.strip())
        else:
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
        return self._sessions.begin(self._check(caller, password))

    def end_session(self, caller: Caller) -> None:
        """Let CALLER's sessions be good no more. Raises StoreError."""
        for shown in caller.sessions:
            self._sessions.end(shown, self._token())

    def check_names(self, host: str, origin: str | None) -> None:
        """Raise Refused unless HOST is ours and ORIGIN, where there is one, is that place. Raises ConfigError."""
        match = HOST.fullmatch(host)
        name = match["name"].strip("[]").lower() if match else ""
        if name not in self._names and name not in self._configured().hosts:
            raise Refused(403, f"The Host '{host[:100]}' is not this server's; [web] hosts in oscron.toml names more.")
        if origin is not None and not _is_at(origin, host):
            raise Refused(403, f"The Origin '{origin[:100]}' is a foreign one.")

    def _token(self) -> str:
        """The token as it is now. Raises StoreError."""
        path = _path(self._root)
        try:
            known = _known(path)
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{path} cannot be read: {cause(error)} 'hermes-oscron token --rotate' makes a new "
                             f"one.") from error
        if not known:
            raise StoreError(f"There is no token in {path}; 'hermes-oscron token' makes one.")
        return known

    def _has_session(self, caller: Caller) -> bool:
        if not caller.sessions:
            return False
        current = self._token()
        return any(self._sessions.knows(shown, current) for shown in caller.sessions)

    def _check(self, caller: Caller, given: str) -> str:
        """Return `given` if it is the token. Raises Refused.

        Compare before asking how many wrong tokens came from the address: others share it, and must not be able to
        keep out the one who has the token.
        """
        if hmac.compare_digest(given.encode("utf-8", "replace"), self._token().encode()):
            return given
        wait = math.ceil(self._attempts.wait(caller.address))
        if wait:
            raise Refused(429, f"This is not the token, and too many wrong ones came from your address: wait {wait} s "
                               f"before you try another one. 'hermes-oscron token' prints the token.", wait)
        self._attempts.note(caller.address)
        raise Refused(401, "That is not the token; 'hermes-oscron token' prints it, and a call carries it in the "
                           "header 'Authorization: Bearer TOKEN'.")


def is_loopback(address: str) -> bool:
    """Whether ADDRESS, an IP address, is reached from this machine alone."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def token(root: str) -> str:
    """The token of the installation in ROOT, made at the first call; the file is its owner's alone."""
    path = _path(root)
    if known := _known(path):
        return known
    make_private_dir(os.path.dirname(path))
    unfinished = f"{path}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        os.link(unfinished, path)  # whoever is first has made the token
    except FileExistsError:
        if os.path.getsize(path) == 0:
            os.rename(unfinished, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
    return token(root)


def rotate(root: str) -> str:
    """A new token for the installation in ROOT; the old one and every session of it are good no more."""
    path = _path(root)
    make_private_dir(os.path.dirname(path))
    replace_file(path, secrets.token_urlsafe(32).encode() + b"\n")
    return token(root)


def _path(root: str) -> str:
    return f"{state_dir(root)}/token"


def _known(path: str) -> str:
    """The token in the file at PATH; empty where there is none. Raises OSError, UnicodeDecodeError."""
    try:
        with open(path, encoding="ascii", opener=regular) as file:
            return file.read(1000).strip()
    except FileNotFoundError:
        return ""


def _is_at(origin: str, host: str) -> bool:
    """Whether ORIGIN is a page of HOST; where either leaves the port to its scheme, it is that one."""
    try:
        page = urlsplit(origin)
        usual = USUAL_PORTS[page.scheme]
        here = urlsplit(f"{page.scheme}://{host}")
        return (page.hostname, page.port or usual) == (here.hostname, here.port or usual)
    except (ValueError, KeyError):
        return False
