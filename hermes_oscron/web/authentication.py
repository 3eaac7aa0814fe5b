"""Authenticate requests by token, session cookie or socket peer, and check Host and Origin."""

import hashlib
import hmac
import ipaddress
import math
import os
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from .. import config
from ..config import Config, ConfigError
from ..errors import OscronError
from ..files import StateFileError, file_signature
from .rate_limit import RateLimiter
from .sessions import LoginLinks, Sessions
from .token import read_token, token_path

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
DEFAULT_PORTS = {"http": 80, "https": 443}
HOST_HEADER = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""The Host headers (RFC 9110, 7.2) that can name this server."""


class AccessDenied(OscronError):
    """The caller is not allowed. `status` is 401, 403 or 429; the text gives the reason.

    `retry_after` is the number of seconds to wait, if any.
    """

    def __init__(self, status: int, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class Caller(NamedTuple):
    """The sender of a request: its address, `uid:N` on a unix socket, and its credentials.

    The credentials are the Authorization header, possibly empty, and our cookies.
    """

    address: str
    authorization: str
    sessions: tuple[str, ...]


class Authenticator:
    """Authenticates requests to the installation in `root`, and checks that Host and Origin name this server.

    oscron.toml adds names and can turn authentication off; it is read again when it changes. A server that other
    machines reach always requires authentication. `bound` is the name or address that it listens on.
    """

    def __init__(self, root: str, bound: str = "localhost", beyond_loopback: bool = False) -> None:
        self._root = root
        self._names = LOOPBACK | {bound.lower()}
        self._beyond_loopback = beyond_loopback
        self._sessions = Sessions(root)
        self._rate_limiter = RateLimiter()
        self._read: object = None
        self._settings = Config()
        self._known: tuple[object, str] = None, ""

    @property
    def auth_disabled(self) -> bool:
        """True if no authentication is required. Raises ConfigError, StateFileError."""
        return self._configured().auth == "none" and not self._beyond_loopback

    def _configured(self) -> Config:
        """Return the present settings of oscron.toml. Raises ConfigError, StateFileError."""
        found = file_signature(config.path_of(self._root))
        if found != self._read:
            self._settings, self._read = config.load(self._root), found
        return self._settings

    def authenticate(self, caller: Caller) -> None:
        """Raise AccessDenied unless `caller` has the token or a session, or is this account itself on a unix socket.

        Raises StateFileError if the token cannot be read.
        """
        if caller.address == f"uid:{os.geteuid()}" or self.auth_disabled or self._has_session(caller):
            return
        scheme, _, given = caller.authorization.partition(" ")
        if scheme.lower() == "bearer":  # another scheme is meant for a proxy in front
            self._check_token(caller, given.strip())
        else:
            raise AccessDenied(401, "The header 'Authorization: Bearer TOKEN' is missing; 'hermes-oscron token' prints "
                                    "the token.")

    def is_authenticated(self, caller: Caller) -> bool:
        """Return True if `caller` would be accepted."""
        try:
            self.authenticate(caller)
        except AccessDenied:
            return False
        return True

    def form_token(self, caller: Caller) -> str:
        """Return the text that a form for `caller` contains, so that no other page can send it. Raises StateFileError.

        It is of the login, so it ends with that; one for all callers without a login protects by the Origin alone.
        """
        current = self._token()
        login = next((shown for shown in caller.sessions if self._sessions.is_valid(shown, current)), "")
        return hmac.new(current.encode(), f"form {login}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def is_form_token(self, caller: Caller, given: str) -> bool:
        """Return True if `given` is the form token of `caller`. Raises StateFileError."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.form_token(caller).encode())

    def problem(self) -> str:
        """Return why no caller with the right token is accepted: a sentence for anyone, empty if they are."""
        try:
            known = self.auth_disabled or read_token(token_path(self._root))
        except (ConfigError, StateFileError):
            return "Calls cannot be authenticated. 'hermes-oscron doctor' shows the reason."
        return "" if known else "There is no token for calls. 'hermes-oscron token' makes one."

    def create_session(self, caller: Caller, password: str) -> str:
        """Return a session cookie for `caller` if `password` is the token. Raises AccessDenied, StateFileError."""
        return self._sessions.create(self._check_token(caller, password))

    def create_session_by_link(self, link: str) -> str:
        """Return a session cookie for the `link` of `hermes-oscron open`, which ends by that.

        Raises AccessDenied, StateFileError.
        """
        if not LoginLinks(self._root).revoke(link, self._token()):
            raise AccessDenied(401, "This link has been used, or is too old. 'hermes-oscron open' prints another one.")
        return self._sessions.create(self._token())

    def revoke_session(self, caller: Caller) -> None:
        """Revoke the sessions of `caller`. Raises StateFileError."""
        for shown in caller.sessions:
            self._sessions.revoke(shown, self._token())

    def check_host_and_origin(self, host: str, origin: str | None) -> None:
        """Raise AccessDenied unless `host` and `origin`, if any, name this server. Raises ConfigError."""
        match = HOST_HEADER.fullmatch(host)
        name = match["name"].strip("[]").lower() if match else ""
        if name not in self._names and name not in self._configured().hosts:
            raise AccessDenied(403, f"The Host '{host[:100]}' is not a name of this server; add it to [web] hosts in "
                                    f"oscron.toml.")
        if origin is not None and not _is_same_origin(origin, host):
            raise AccessDenied(403, f"The Origin '{origin[:100]}' is not this server.")

    def _token(self) -> str:
        """Return the present token; the file is read again only when it has changed. Raises StateFileError."""
        path = token_path(self._root)
        found = file_signature(path)
        known, token = self._known
        if found is None or found != known:
            token = read_token(path)
            if not token:
                raise StateFileError(f"There is no token in {path}; 'hermes-oscron token' makes one.")
            self._known = found, token
        return token

    def _has_session(self, caller: Caller) -> bool:
        if not caller.sessions:
            return False
        current = self._token()
        return any(self._sessions.is_valid(shown, current) for shown in caller.sessions)

    def _check_token(self, caller: Caller, given: str) -> str:
        """Return `given` if it is the token. Raises AccessDenied.

        The token is compared before the failures of the address are counted: other clients share the address, and must
        not be able to lock out the one that has the token.
        """
        if hmac.compare_digest(given.encode("utf-8", "replace"), self._token().encode()):
            return given
        wait = math.ceil(self._rate_limiter.retry_after(caller.address))
        if wait:
            raise AccessDenied(429, f"Wrong token, and too many wrong ones came from your address: wait {wait} s "
                                    f"before you try another one. 'hermes-oscron token' prints the token.",
                               wait)
        self._rate_limiter.record_failure(caller.address)
        raise AccessDenied(401, "Wrong token; 'hermes-oscron token' prints the right one. Send it in the header "
                                "'Authorization: Bearer TOKEN'.")


def is_loopback(address: str) -> bool:
    """Return True if the IP address `address` can be reached only from this machine."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _is_same_origin(origin: str, host: str) -> bool:
    """Return True if `origin` is a page of `host`; a missing port is that of the scheme."""
    try:
        page = urlsplit(origin)
        usual = DEFAULT_PORTS[page.scheme]
        here = urlsplit(f"{page.scheme}://{host}")
        return (page.hostname, page.port or usual) == (here.hostname, here.port or usual)
    except (ValueError, KeyError):
        return False
