"""Logins that are valid. They outlive the server, which exits when idle, and end with the token.

A client's cookie is a random text. Only its HMAC by the token is stored, in a file for its owner alone. So the file
contains no cookie, and a new token invalidates all of them.
"""

import contextlib
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import cause
from ..files import StateFileError, locked, open_regular, write_atomic
from ..state import State

LIFETIME_S = 30 * 24 * 3600
"""The time for which a login is valid."""
LINK_LIFETIME_S = 300
"""The time for which a link of `hermes-oscron open` can be used."""
LINE = re.compile(r"([0-9a-f]{64}) ([0-9]{1,15})\n")
MAX_SESSIONS = 64
"""The number of logins at a time; one more ends the oldest."""


class _Login(NamedTuple):
    digest: str
    until: int


class Sessions:
    """The logins of the installation in `root`."""

    def __init__(self, root: str) -> None:
        self._state = State(root)
        self._path = self._state.sessions

    def create(self, token: str) -> str:
        """Create a login under `token`, and return its cookie. Raises StateFileError."""
        cookie = secrets.token_urlsafe(32)
        with self._changing() as logins:
            logins.append(_Login(_digest(cookie, token), int(time.time()) + self._lifetime_s()))
            del logins[:-MAX_SESSIONS]
        return cookie

    def is_valid(self, cookie: str, token: str) -> bool:
        """Return True if `cookie` is of a valid login under `token`. Raises StateFileError."""
        if not cookie:
            return False
        digest, now = _digest(cookie, token), time.time()
        return any(hmac.compare_digest(login.digest, digest) and now < login.until for login in self._logins())

    def revoke(self, cookie: str, token: str) -> bool:
        """End the login of `cookie`. Return False if it is not valid, or if another call has ended it.

        Raises StateFileError.
        """
        if not self.is_valid(cookie, token):
            return False
        digest = _digest(cookie, token)
        with self._changing() as logins:
            before = len(logins)
            logins[:] = [login for login in logins if login.digest != digest]
            return len(logins) < before

    def _lifetime_s(self) -> int:
        return LIFETIME_S

    def _logins(self) -> list[_Login]:
        try:
            with open(self._path, encoding="ascii", errors="replace", opener=open_regular) as file:
                lines = [LINE.fullmatch(line) for line in file]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StateFileError(f"{self._path} cannot be read: {cause(error)}") from error
        return [_Login(line[1], int(line[2])) for line in lines if line]

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[_Login]]:
        """Yield the valid logins, and write the list back. One process at a time does this."""
        with locked(self._state.sessions_lock):
            now = time.time()
            logins = [login for login in self._logins() if now < login.until]
            yield logins
            content = "".join(f"{login.digest} {login.until}\n" for login in logins).encode()
            try:
                write_atomic(self._path, content)
            except OSError as error:
                raise StateFileError(f"{self._path} cannot be written: {cause(error)}") from error


class LoginLinks(Sessions):
    """The links that log a browser in once. A link has the text of `create`, and `revoke` uses it up."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._path = self._state.login_links

    def _lifetime_s(self) -> int:
        return LINK_LIFETIME_S


def _digest(cookie: str, token: str) -> str:
    return hmac.new(token.encode(), cookie.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
