"""Logins that are still good. They outlive the server, which leaves when nobody calls, and end with the token.

A client's cookie is a random text. What is kept of it, in a file for its owner alone, is its HMAC by the token: whoever
reads the file learns no cookie, and a new token knows none of the old ones.
"""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import cause
from ..files import StateFileError, make_private_dir, wait_for_lock, write_atomic
from ..hermes.home import state_dir

LIFETIME_S = 30 * 24 * 3600
"""Seconds that a login is good for."""
LINE = re.compile(r"([0-9a-f]{64}) ([0-9]{1,15})\n")
MAX_SESSIONS = 64
"""Logins at a time; one more ends the oldest."""


class _Login(NamedTuple):
    digest: str
    until: int


class Sessions:
    """The logins of the installation in ROOT."""

    def __init__(self, root: str) -> None:
        self._path = f"{state_dir(root)}/sessions"

    def create(self, token: str) -> str:
        """A new login under TOKEN: what the client has to show from now on. Raises StateFileError."""
        cookie = secrets.token_urlsafe(32)
        with self._changing() as logins:
            logins.append(_Login(_digest(cookie, token), int(time.time()) + LIFETIME_S))
            del logins[:-MAX_SESSIONS]
        return cookie

    def is_valid(self, cookie: str, token: str) -> bool:
        """Whether COOKIE is of a login under TOKEN that is good. Raises StateFileError."""
        if not cookie:
            return False
        digest, now = _digest(cookie, token), time.time()
        return any(hmac.compare_digest(login.digest, digest) and now < login.until for login in self._logins())

    def revoke(self, cookie: str, token: str) -> None:
        """Let COOKIE be good no more. Raises StateFileError."""
        if self.is_valid(cookie, token):
            digest = _digest(cookie, token)
            with self._changing() as logins:
                logins[:] = [login for login in logins if login.digest != digest]

    def _logins(self) -> list[_Login]:
        try:
            with open(self._path, encoding="ascii", errors="replace") as file:
                lines = [LINE.fullmatch(line) for line in file]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StateFileError(f"{self._path} cannot be read: {cause(error)}") from error
        return [_Login(line[1], int(line[2])) for line in lines if line]

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[_Login]]:
        """The logins that are good, to be changed by one at a time and written."""
        try:
            make_private_dir(os.path.dirname(self._path))
            fd = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                wait_for_lock(fd, f"{self._path}.lock")
                now = time.time()
                logins = [login for login in self._logins() if now < login.until]
                yield logins
                write_atomic(self._path, "".join(f"{login.digest} {login.until}\n" for login in logins).encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise StateFileError(f"{self._path} cannot be written: {cause(error)}") from error


def _digest(cookie: str, token: str) -> str:
    return hmac.new(token.encode(), cookie.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
