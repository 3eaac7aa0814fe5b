"""The routes under /api/auth: for clients that know a password and keep a cookie. The password is the token."""

from typing import Any

import bottle

from ..jobs.fields import ValidationError
from . import request
from .authentication import Authenticator, Caller
from .responses import Routes
from .sessions import LIFETIME_S

COOKIE = "hermes_session"
"""As Hermes's own server calls it: native clients look for it by its name."""
MAX_COOKIES = 8
"""Of that name, that are looked at."""


def routes(authenticator: Authenticator) -> Routes:
    """What answers each method and path, for whom AUTHENTICATOR admits."""

    def login() -> dict[str, Any]:
        body = request.json_body()
        password = body.pop("password", None)
        body.pop("username", None)  # some login forms have one; the token is whose it is
        request.reject_unknown(body)
        if not isinstance(password, str) or not password:
            raise ValidationError("password is missing: it is the token, which 'hermes-oscron token' prints.")
        _set_cookie(authenticator.create_session(caller(), password), LIFETIME_S)
        return {"ok": True}

    def logout() -> dict[str, Any]:
        request.reject_unknown(request.json_body(empty=True))
        authenticator.revoke_session(caller())
        _set_cookie("", 0)
        return {"ok": True}

    def status() -> dict[str, Any]:
        guarded = not authenticator.auth_disabled
        return {"auth_enabled": guarded, "logged_in": authenticator.is_authenticated(caller()),
                "password_auth_enabled": guarded}

    return {("POST", "/api/auth/login"): login, ("POST", "/api/auth/logout"): logout,
            ("GET", "/api/auth/status"): status}


def caller() -> Caller:
    """Who makes this request, as far as it says."""
    said = bottle.request.environ  # as latin-1 (PEP 3333); Bottle's own getter fails on what is no UTF-8
    return Caller(said.get("REMOTE_ADDR", ""), said.get("HTTP_AUTHORIZATION", ""),
                  _session_cookies(said.get("HTTP_COOKIE", "")))


def _session_cookies(header: str) -> tuple[str, ...]:
    """The values of our cookie in HEADER: other servers of this machine may have set one too (RFC 6265, 8.5).

    http.cookies gives up at what other pages have set.
    """
    pairs = [pair.strip().partition("=") for pair in header.split(";")]
    return tuple(value for name, _, value in pairs if name == COOKIE)[:MAX_COOKIES]


def _set_cookie(value: str, lifetime: int) -> None:
    """Let the client keep VALUE for LIFETIME seconds.

    Whether it came by https, a proxy in between knows and we do not; the browser says it in the Origin.
    """
    secure = "; Secure" if bottle.request.environ.get("HTTP_ORIGIN", "").lower().startswith("https://") else ""
    bottle.response.add_header("Set-Cookie", f"{COOKIE}={value}; Max-Age={lifetime}; Path=/; HttpOnly; "
                                             f"SameSite=Strict{secure}")
