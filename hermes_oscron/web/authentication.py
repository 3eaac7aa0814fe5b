"""Who may call: with the token or a session of it, from an account's own socket, and by which names."""

import hmac
import ipaddress
import math
import os
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from .. import config
from ..config import Config
from ..errors import OscronError, cause
from ..files import StateFileError, file_signature
from .rate_limit import RateLimiter
from .sessions import Sessions
from .token import read_token, token_path

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
DEFAULT_PORTS = {"http": 80, "https": 443}
HOST_HEADER = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""What a Host header may be (RFC 9110, 7.2), of what a server can be called."""


class AccessDenied(OscronError):
    """The caller may not; `status` is 401, 403 or 429, the text says why, `wait` for how many seconds."""

    def __init__(self, status: int, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class Caller(NamedTuple):
    """Who calls: the address, `uid:N` on a unix socket, and what is shown: a header, maybe empty, and our cookies."""

    address: str
    authorization: str
    sessions: tuple[str, ...]


class Authenticator:
    """What a request must show: the token of ROOT, and a name of ours as its Host.

    oscron.toml names more of these, and may let everyone in; what it says holds at once. A server that other machines
    reach is never open. BOUND is the name or address that it listens on.
    """

    def __init__(self, root: str, bound: str = "localhost", beyond_loopback: bool = False) -> None:
        self._root = root
        self._names = LOOPBACK | {bound.lower()}
        self._beyond_loopback = beyond_loopback
        self._sessions = Sessions(root)
        self._rate_limiter = RateLimiter()
        self._read: object = None
        self._settings = Config()

    @property
    def auth_disabled(self) -> bool:
        """Whether everyone is let in. Raises ConfigError, StateFileError."""
        return self._configured().auth == "none" and not self._beyond_loopback

    def _configured(self) -> Config:
        """What oscron.toml says now. Raises ConfigError, StateFileError."""
        found = file_signature(config.path_of(self._root))
        if found != self._read:
            self._settings, self._read = config.load(self._root), found
        return self._settings

    def authenticate(self, caller: Caller) -> None:
        """Raise AccessDenied unless CALLER shows the token or a session, or is this very account on a unix socket.

        Raises StateFileError where the token cannot be read.
        """
        if caller.address == f"uid:{os.geteuid()}" or self.auth_disabled or self._has_session(caller):
            return
        scheme, _, given = caller.authorization.partition(" ")
        if scheme.lower() == "bearer":  # another scheme is meant for a proxy in front
            self._check_token(caller, given.strip())
        else:
            raise AccessDenied(401,
                               "This needs the header 'Authorization: Bearer TOKEN'; 'hermes-oscron token' prints it.")

    def is_authenticated(self, caller: Caller) -> bool:
        """Whether CALLER would be admitted."""
        try:
            self.authenticate(caller)
        except AccessDenied:
            return False
        return True

    def create_session(self, caller: Caller, password: str) -> str:
        """What CALLER, who gives PASSWORD, has to show from now on. Raises AccessDenied, StateFileError."""
        return self._sessions.create(self._check_token(caller, password))

    def revoke_session(self, caller: Caller) -> None:
        """Let CALLER's sessions be good no more. Raises StateFileError."""
        for shown in caller.sessions:
            self._sessions.revoke(shown, self._token())

    def check_host_and_origin(self, host: str, origin: str | None) -> None:
        """Raise AccessDenied unless HOST is ours and ORIGIN, where there is one, is that place. Raises ConfigError."""
        match = HOST_HEADER.fullmatch(host)
        name = match["name"].strip("[]").lower() if match else ""
        if name not in self._names and name not in self._configured().hosts:
            raise AccessDenied(403,
                               f"The Host '{host[:100]}' is not this server's; [web] hosts in oscron.toml names more.")
        if origin is not None and not _is_same_origin(origin, host):
            raise AccessDenied(403, f"The Origin '{origin[:100]}' is a foreign one.")

    def _token(self) -> str:
        """The token as it is now. Raises StateFileError."""
        path = token_path(self._root)
        try:
            known = read_token(path)
        except (OSError, UnicodeDecodeError) as error:
            raise StateFileError(f"{path} cannot be read: {cause(error)} 'hermes-oscron token --rotate' makes a new "
                                 f"one.") from error
        if not known:
            raise StateFileError(f"There is no token in {path}; 'hermes-oscron token' makes one.")
        return known

    def _has_session(self, caller: Caller) -> bool:
        if not caller.sessions:
            return False
        current = self._token()
        return any(self._sessions.is_valid(shown, current) for shown in caller.sessions)

    def _check_token(self, caller: Caller, given: str) -> str:
        """Return `given` if it is the token. Raises AccessDenied.

        The token is compared first, before the wrong ones of the address are counted: others share the address, and
        must not be able to keep out the client that has the token.
        """
        if hmac.compare_digest(given.encode("utf-8", "replace"), self._token().encode()):
            return given
        wait = math.ceil(self._rate_limiter.retry_after(caller.address))
        if wait:
            raise AccessDenied(429, f"This is not the token, and too many wrong ones came from your address: wait "
                                    f"{wait} s before you try another one. 'hermes-oscron token' prints the token.",
                               wait)
        self._rate_limiter.record_failure(caller.address)
        raise AccessDenied(401, "That is not the token; 'hermes-oscron token' prints it, and a call carries it in the "
                                "header 'Authorization: Bearer TOKEN'.")


def is_loopback(address: str) -> bool:
    """Whether ADDRESS, an IP address, is reached from this machine alone."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _is_same_origin(origin: str, host: str) -> bool:
    """Whether ORIGIN is a page of HOST; where either leaves the port to its scheme, it is that one."""
    try:
        page = urlsplit(origin)
        usual = DEFAULT_PORTS[page.scheme]
        here = urlsplit(f"{page.scheme}://{host}")
        return (page.hostname, page.port or usual) == (here.hostname, here.port or usual)
    except (ValueError, KeyError):
        return False
