"""The routes of the pages: what a browser sends in, a call of the service, a page out.

A server that gets no request for a page does not import what only pages need: that takes longer than to answer a call.
"""

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import bottle

from ...errors import OscronError, describe
from ...schedulers.active import last_sync
from ...service.jobs import JobService
from ...service.selection import Selection
from .. import request
from ..authentication import AccessDenied, Authenticator
from ..responses import INTERNAL_ERROR
from ..routes_auth import caller, set_cookie
from ..sessions import LIFETIME_S
from . import assets, page
from .checks import Checks
from .page import FORM_TOKEN, STALE_FORM, Page, local_path, redirect, render
from .times import Clock

if TYPE_CHECKING:
    from .job_pages import JobPages

log = logging.getLogger(__name__)

PAGE = "page"
"""The name of the routes of pages, which openapi.json does not describe."""
Handler = Callable[..., Page]
FORMS = ("/new", "/edit")
"""The ends of the paths whose pages show a form again if it cannot be used, so that nothing that was typed is lost."""
SHOWN_FINDINGS = 4
JOB = "/jobs/<profile>/<job_id>"
JOBS = (
    ("GET", "/jobs/new", "new"), ("POST", "/jobs/new", "create"), ("GET", "/explain", "explained"),
    ("GET", "/audit", "audit"), ("GET", JOB, "show"), ("GET", f"{JOB}/edit", "edit"), ("POST", f"{JOB}/edit", "update"),
    ("GET", f"{JOB}/copy", "copy"), ("GET", f"{JOB}/log", "log"), ("GET", f"{JOB}/outputs/<filename>", "output"),
    *(("POST", f"{JOB}/{action}", action) for action in ("run", "stop", "pause", "resume", "delete")),
)
"""Method, path and handler of the pages of `JobPages`."""
HEADINGS = {403: "Not allowed", 404: "Not found", 429: "Too many tries"}


class Dashboard:
    """The pages for the jobs of `service`, for browsers that `authenticator` accepts."""

    def __init__(self, selection: Selection, service: JobService, authenticator: Authenticator) -> None:
        self.selection, self.service, self.authenticator = selection, service, authenticator
        self.checks = Checks(selection, service.clock)

    def register(self, app: bottle.Bottle) -> None:
        """Add the pages to `app`."""
        app.route("/assets/<name>", "GET", self._asset, name=PAGE)
        for method, path, handler in (("GET", "/login", self.login_page), ("POST", "/login", self.login)):
            app.route(path, method, self._public(handler), name=PAGE)
        private: list[tuple[str, str, Handler]] = [
            ("GET", "/", self.overview), ("POST", "/logout", self.logout), ("GET", "/checks", self.checks_page),
            ("POST", "/checks", self.check_again), ("GET", "/alerts", self.alerts),
            *((method, path, self._of_jobs(name)) for method, path, name in JOBS)]
        for method, path, handler in private:
            app.route(path, method, self._private(handler), name=PAGE)

    # Pages

    def overview(self) -> Page:
        from .overview import overview, wanted

        values = overview(self.selection, self.service, wanted(lambda name: request.text_param(name) or ""))
        return render("overview", **values, **self._health(SHOWN_FINDINGS), logged_in=True)

    def checks_page(self) -> Page:
        return render("checks", clock=self.clock(self.service), scheduler=self.selection.active.kind, logged_in=True,
                      **self._health(1000))

    def check_again(self) -> Page:
        self.checks.latest(again=True)
        return redirect("/checks")

    def alerts(self) -> Page:
        from .alerts import alerts_page

        receiver, before = request.text_param("receiver") or "", request.int_param("before")
        return render("alerts", **alerts_page(self.service, self.clock(self.service), receiver, before))

    def login_page(self) -> Page:
        if self.authenticator.is_authenticated(caller()):
            return redirect(local_path(request.text_param("next")))
        link = request.text_param("link")
        if link and bottle.request.method == "GET":
            try:
                set_cookie(self.authenticator.create_session_by_link(link), LIFETIME_S)
                return redirect("/")
            except AccessDenied as error:
                return self._login_page(str(error), None)._replace(status=error.status)
        return self._login_page(None, request.text_param("next"))

    def login(self) -> Page:
        form = request.form_body()
        then = local_path(form.get("next"))
        try:
            cookie = self.authenticator.create_session(caller(), form.get("password", ""))
        except AccessDenied as error:
            sentence = str(error).partition(" Send it in ")[0]
            return self._login_page(sentence, then)._replace(status=error.status)
        set_cookie(cookie, LIFETIME_S)
        return redirect(then)

    def logout(self) -> Page:
        self.authenticator.revoke_session(caller())
        set_cookie("", 0)
        return redirect("/login")

    def clock(self, service: JobService) -> Clock:
        """Return the present time, in the zone of the profile of `service`."""
        from ...hermes.timezone import home_zone

        return Clock(service.clock.now().timestamp(), home_zone(service.home))

    def _health(self, limit: int) -> dict[str, Any]:
        return {"report": self.checks.latest(), "limit": limit, "synced": last_sync(self.selection.root)}

    def _login_page(self, error: str | None, then: str | None) -> Page:
        return render("login", error=error, next=local_path(then))

    @functools.cached_property
    def _jobs(self) -> "JobPages":
        from .job_pages import JobPages

        return JobPages(self)

    def _of_jobs(self, name: str) -> Handler:
        return lambda **parts: cast(Page, getattr(self._jobs, name)(**parts))

    # The checks before a page, and its errors

    def _asset(self, name: str) -> bytes:
        try:
            return assets.respond(name)
        except assets.NoSuchAsset as error:
            return page.respond(self._error(error.status, str(error)))

    def _public(self, handler: Handler) -> Callable[..., bytes]:
        return lambda **parts: page.respond(self._answer(handler, self._check_host, parts))

    def _private(self, handler: Handler) -> Callable[..., bytes]:
        return lambda **parts: page.respond(self._answer(handler, self._check_caller, parts))

    def _check_host(self) -> None:
        said = bottle.request.environ
        self.authenticator.check_host_and_origin(said.get("HTTP_HOST", ""), said.get("HTTP_ORIGIN"))

    def _check_caller(self) -> None:
        self._check_host()
        self.authenticator.authenticate(caller())
        token = self.authenticator.form_token(caller())
        bottle.request.environ[FORM_TOKEN] = token
        if bottle.request.method == "POST" and not self.authenticator.is_form_token(
                caller(), request.form_body().pop("csrf", "")):
            stale = AccessDenied(403, "This form is from another login. Check it, and send it again.")
            if not bottle.request.path.endswith(FORMS):
                raise stale
            bottle.request.environ[STALE_FORM] = stale

    def _answer(self, handler: Handler, check: Callable[[], None], parts: dict[str, str]) -> Page:
        """Return the page of `handler`; every failure is a page with one sentence."""
        here = bottle.request
        try:
            check()
            return handler(**parts)
        except AccessDenied as error:
            if error.status == 401 and here.method in ("GET", "HEAD"):
                return self._to_login()
            return self._error(error.status, str(error))
        except OscronError as error:
            if error.status >= 500:
                log.error("%s %s: %s", here.method, here.path, error)
            return self._error(error.status, str(error))
        except OSError as error:
            log.exception("%s %s", here.method, here.path)
            return self._error(503, describe(error))
        except Exception:
            log.exception("%s %s", here.method, here.path)
            return self._error(500, INTERNAL_ERROR)

    def _to_login(self) -> Page:
        """Return the way to the login page.

        After a click on a link of another site, the browser keeps back the cookie, which is SameSite=Strict. Then the
        page asks for itself once more, as one of this site.
        """
        here = bottle.request
        if here.environ.get("HTTP_SEC_FETCH_SITE") == "cross-site" and request.is_navigation():
            bottle.response.set_header("Refresh", "0")
            return Page(b"")
        return redirect(f"/login?{request.query(next=request.local_address())}")

    def _error(self, status: int, sentence: str) -> Page:
        heading = HEADINGS.get(status, "That did not work" if status < 500 else "Something is wrong")
        if status == 401:
            sentence = ("You are logged out, and nothing was changed. Log in in another tab; then reload this page, "
                        "and the browser sends the form again.")
        return render("error", status, heading=heading, sentence=sentence, logged_in=False,
                      back="/login" if status == 401 else "/")
