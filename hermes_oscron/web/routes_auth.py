"""The routes under /api/auth, for clients that send a password and keep a cookie. The password is the token."""

from typing import Any

import bottle

from ..jobs.fields import ValidationError
from . import request
from .authentication import Authenticator, Caller
from .responses import Routes
from .sessions import LIFETIME_S

COOKIE = "hermes_session"
"""The cookie's name in Hermes's own server: native clients look for it."""
MAX_COOKIES = 8
"""The number of cookies of that name that are checked."""


def routes(authenticator: Authenticator) -> Routes:
    """Return the handler of each method and path, which use `authenticator`."""

    def login() -> dict[str, Any]:
        body = request.json_body()
        password = body.pop("password", None)
        body.pop("username", None)  # some login forms have one; the token needs none
        request.reject_unknown(body)
        if not isinstance(password, str) or not password:
            raise ValidationError("password is missing: it is the token, which 'hermes-oscron token' prints.")
        set_cookie(authenticator.create_session(caller(), password), LIFETIME_S)
        return {"ok": True}

    def logout() -> dict[str, Any]:
        request.reject_unknown(request.json_body(empty=True))
        authenticator.revoke_session(caller())
        set_cookie("", 0)
        return {"ok": True}

    def status() -> dict[str, Any]:
        guarded = not authenticator.auth_disabled
        return {"auth_enabled": guarded, "logged_in": authenticator.is_authenticated(caller()),
                "password_auth_enabled": guarded}

    return {("POST", "/api/auth/login"): login, ("POST", "/api/auth/logout"): logout,
            ("GET", "/api/auth/status"): status}


def caller() -> Caller:
    """Return the sender of this request."""
    said = bottle.request.environ  # as latin-1 (PEP 3333); Bottle's own getter fails on other bytes than UTF-8
    return Caller(said.get("REMOTE_ADDR", ""), said.get("HTTP_AUTHORIZATION", ""),
                  tuple(request.cookies(COOKIE)[:MAX_COOKIES]))


def set_cookie(value: str, lifetime: int) -> None:
    """Set the cookie to `value` for `lifetime` seconds.

    A proxy may have terminated https, so only the browser's Origin shows whether it was used.
    """
    secure = "; Secure" if bottle.request.environ.get("HTTP_ORIGIN", "").lower().startswith("https://") else ""
    bottle.response.add_header("Set-Cookie", f"{COOKIE}={value}; Max-Age={lifetime}; Path=/; HttpOnly; "
                                             f"SameSite=Strict{secure}")
