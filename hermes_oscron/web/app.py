"""The WSGI application: who is let in, what is answered when something fails, and how every answer looks."""

import logging
from collections.abc import Callable
from importlib import resources

import bottle

from ..bridge import Bridge
from ..errors import describe
from ..fields import Invalid
from ..hermes.config import ConfigError
from ..hermes.homes import UnknownProfile
from ..hermes.outputs import NoSuchRun
from ..hermes.store import NoSuchJob, StoreError
from ..schedule.errors import ScheduleError
from ..schedulers.plan import SchedulerError
from . import crons, login
from .asked import BadBody
from .credentials import Door, Refused
from .crons import Answer, Routes
from .encoding import encoded

log = logging.getLogger(__name__)

DESCRIPTION = "/api/openapi.json"


def make_app(bridge: Bridge, door: Door) -> bottle.Bottle:
    """The WSGI application that serves BRIDGE to whom DOOR admits."""
    app = bottle.Bottle()
    description = resources.files(__package__).joinpath("openapi.json").read_bytes()

    def health() -> Answer:
        return {"status": "ok", "scheduler": bridge.scheduler.kind}

    def named() -> None:
        headers = bottle.request.environ
        door.check_names(headers.get("HTTP_HOST", ""), headers.get("HTTP_ORIGIN"))

    def admitted() -> None:
        named()
        door.admit(login.caller())

    opened: Routes = {("GET", "/health"): health, ("GET", DESCRIPTION): lambda: description}
    _add(app, login.routes(door) | opened, named)
    _add(app, crons.routes(bridge), admitted)
    app.default_error_handler = lambda error: _respond(error.status_code, {"error": _sentence(error)})
    return app


def make_refusing_app(sentence: str) -> bottle.Bottle:
    """The WSGI application that answers SENTENCE, and 503, to everything."""
    app = bottle.Bottle()
    app.default_error_handler = lambda error: _respond(503, {"error": sentence})
    return app


def _add(app: bottle.Bottle, routes: Routes, admit: Callable[[], None]) -> None:
    """Serve ROUTES in APP, each to whom ADMIT does not refuse."""
    for (method, path), serve in routes.items():
        app.route(path, method, lambda serve=serve: _respond(*_answered(serve, admit)))


def _answered(serve: Callable[[], Answer | bytes], admit: Callable[[], None]) -> tuple[int, Answer | bytes]:
    """The status and answer of SERVE; every way to fail is one sentence."""
    request = bottle.request
    try:
        admit()
        return 200, serve()
    except Refused as error:
        if error.wait:
            bottle.response.set_header("Retry-After", str(error.wait))
        return error.status, {"error": str(error)}
    except BadBody as error:
        return error.status, {"error": str(error)}
    except (Invalid, ScheduleError) as error:
        return 400, {"error": str(error)}
    except (NoSuchJob, NoSuchRun) as error:
        return 404, {"error": str(error)}
    except (SchedulerError, StoreError, ConfigError, UnknownProfile) as error:
        log.error("%s %s: %s", request.method, request.path, error)
        return 503, {"error": str(error)}
    except OSError as error:
        log.exception("%s %s", request.method, request.path)
        return 503, {"error": describe(error)}
    except Exception:
        log.exception("%s %s", request.method, request.path)
        return 500, {"error": "The server made a mistake; its journal says which."}


def _respond(status: int, answer: Answer | bytes) -> bytes:
    response = bottle.response
    response.status = status
    response.content_type = "application/json"
    response.set_header("Cache-Control", "no-store")
    if status == 401:
        response.set_header("WWW-Authenticate", "Bearer")
    return answer if isinstance(answer, bytes) else encoded(answer)


def _sentence(error: bottle.HTTPError) -> str:
    """What Bottle's own refusals say."""
    return {404: "There is nothing at this address.", 405: "This address does not take that method."}.get(
        error.status_code, str(error.body)
    )
