"""The WSGI application: the routes, their access checks, and the answers for errors."""

import logging
from collections.abc import Callable

import bottle

from ..errors import OscronError, describe
from ..metrics import exposition
from ..service.health import Health
from ..service.jobs import JobService
from ..service.selection import Selection
from . import openapi, routes_auth, routes_crons, routes_runs
from .authentication import AccessDenied, Authenticator
from .dashboard.routes import Dashboard
from .job_list_cache import JobListCache
from .responses import INTERNAL_ERROR, Answer, Encoded, Routes, respond

log = logging.getLogger(__name__)


def make_app(selection: Selection, service: JobService, authenticator: Authenticator) -> bottle.Bottle:
    """Build the WSGI app for `service`; requests must pass `authenticator`."""
    app = bottle.Bottle()
    app.add_hook("before_request", _refuse_bytes_outside_utf8)
    state = Health(selection)

    def health() -> Answer:
        problem = state.problem() or authenticator.problem()
        return {"status": "error" if problem else "ok", "scheduler": selection.active.kind,
                "armed": service.disarmed_since is None} | ({"error": problem} if problem else {})

    def check_host() -> None:
        headers = bottle.request.environ
        authenticator.check_host_and_origin(headers.get("HTTP_HOST", ""), headers.get("HTTP_ORIGIN"))

    def check_caller() -> None:
        check_host()
        authenticator.authenticate(routes_auth.caller())

    public: Routes = {("GET", "/health"): health, ("GET", "/api/openapi.json"): openapi.document}
    def metrics() -> Encoded:
        return Encoded(exposition.text(selection.root), exposition.CONTENT_TYPE)

    _register(app, routes_auth.routes(authenticator) | public, check_host)
    _register(app, routes_crons.routes(service, JobListCache(selection, service)) | routes_runs.routes(service)
              | {("GET", "/metrics"): metrics}, check_caller)
    Dashboard(selection, service, authenticator).register(app)
    app.default_error_handler = lambda error: respond(error.status_code, {"error": _error_text(error)})
    return app


def make_refusing_app(sentence: str) -> bottle.Bottle:
    """Build a WSGI app that answers 503 and `sentence` to everything."""
    app = bottle.Bottle()
    app.default_error_handler = lambda error: respond(503, {"error": sentence})
    return app


def _refuse_bytes_outside_utf8() -> None:
    """Refuse a path that is not UTF-8. Bottle leaves out such bytes, and would answer `/%ff` like `/`."""
    sent = bottle.request.environ
    if sent["bottle.raw_path"].encode("latin-1") != sent["PATH_INFO"].encode():
        raise bottle.HTTPError(404)


def _register(app: bottle.Bottle, routes: Routes, check: Callable[[], None]) -> None:
    """Register `routes`; `check` runs before each handler."""
    for (method, path), serve in routes.items():
        app.route(path, method, lambda serve=serve: respond(*_answer(serve, check)))


def _answer(serve: Callable[[], Answer | Encoded], check: Callable[[], None]) -> tuple[int, Answer | Encoded]:
    """Return the status and the answer of `serve`; every failure is one sentence."""
    request = bottle.request
    try:
        check()
        return 200, serve()
    except OscronError as error:
        if isinstance(error, AccessDenied) and error.retry_after:
            bottle.response.set_header("Retry-After", str(error.retry_after))
        if error.status >= 500:
            log.error("%s %s: %s", request.method, request.path, error)
        return error.status, {"error": str(error)}
    except OSError as error:
        log.exception("%s %s", request.method, request.path)
        return 503, {"error": describe(error)}
    except Exception:
        log.exception("%s %s", request.method, request.path)
        return 500, {"error": INTERNAL_ERROR}


def _error_text(error: bottle.HTTPError) -> str:
    """Return the sentence for an error of Bottle itself."""
    return {404: "No such endpoint.", 405: "Method not allowed."}.get(error.status_code, str(error.body))
