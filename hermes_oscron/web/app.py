"""The routes under /api/crons and /health."""

import json
import logging
import math
from collections.abc import Callable
from typing import Any

import bottle

from .. import fields
from ..bridge import Bridge
from ..fields import Invalid
from ..hermes import history
from ..hermes.config import ConfigError
from ..hermes.history import NoSuchRun
from ..hermes.homes import UnknownProfile
from ..hermes.store import NoSuchJob, StoreError
from ..schedule.errors import ScheduleError
from ..schedulers.plan import SchedulerError
from .credentials import Door, Refused
from .encoding import encoded
from .listing import Listing

log = logging.getLogger(__name__)

LARGEST_BODY = 1024 * 1024
TRUE = {"1", "true", "yes", "on"}
DEFAULT_OUTPUTS, DEFAULT_RUNS, MOST_OUTPUTS = 5, 50, 500

Answer = dict[str, Any]


def make_app(bridge: Bridge, door: Door) -> bottle.Bottle:
    """The WSGI application that serves BRIDGE to whom DOOR admits."""
    app = bottle.Bottle()
    listing = Listing(bridge)

    def route(method: str, path: str, serve: Callable[[], Answer | bytes], guarded: bool = True) -> None:
        def handle() -> bytes:
            status, answer = _answered(serve, door if guarded else None)
            return _respond(status, answer)

        app.route(path, method, handle)

    def health() -> Answer:
        return {"status": "ok", "scheduler": bridge.scheduler.kind}

    def crons() -> bytes:
        return listing.body((_query("all_profiles") or "").lower() in TRUE)

    def status() -> Answer:
        job_id = _query("job_id")
        if job_id is None:
            return {"running": bridge.status()}
        elapsed = bridge.elapsed(fields.job_id(job_id))
        return {"job_id": job_id, "running": elapsed is not None, "elapsed": elapsed or 0.0}

    def output() -> Answer:
        job_id = fields.job_id(_query("job_id"))
        found = bridge.outputs(job_id, _limit(_query("limit")))
        return {"job_id": job_id, "outputs": [{"filename": name, "content": content} for name, content in found]}

    def runs_of() -> Answer:
        job_id = fields.job_id(_query("job_id"))
        offset = _whole("offset", 0, 0, 1_000_000)
        pages, total = bridge.history(job_id, offset, _whole("limit", DEFAULT_RUNS, 1, MOST_OUTPUTS))
        return {"job_id": job_id, "runs": [page._asdict() for page in pages], "total": total, "offset": offset}

    def one_run() -> Answer:
        job_id, filename = fields.job_id(_query("job_id")), fields.filename(_query("filename"))
        content = bridge.output(job_id, filename)
        return {"job_id": job_id, "filename": filename, "content": content, "snippet": history.snippet(content),
                "usage": history.usage(content)}

    def recent() -> Answer:
        since = _seconds(_query("since"))
        return {"completions": bridge.completions(since), "since": since}

    def delivery_options() -> Answer:
        return {"platforms": [{"value": value, "label": label} for value, label in bridge.delivery_options().items()]}

    def create() -> Answer:
        return {"ok": True, "job": bridge.create(_body())}

    def update() -> Answer:
        body = _body()
        job_id = fields.job_id(body.pop("job_id", None))
        return {"ok": True, "job": bridge.update(job_id, body)}

    def delete() -> Answer:
        job_id = _only_job_id(_body())
        bridge.delete(job_id)
        return {"ok": True, "job_id": job_id}

    def run() -> Answer:
        job_id = _only_job_id(_body())
        elapsed = bridge.run(job_id)
        if elapsed is not None:
            return {"ok": False, "job_id": job_id, "status": "already_running", "elapsed": elapsed}
        return {"ok": True, "job_id": job_id, "status": "running"}

    def pause() -> Answer:
        body = _body()
        reason = body.pop("reason", None)
        if reason is not None:
            fields.text("reason", reason)
        return {"ok": True, "job": bridge.pause(_only_job_id(body), reason)}

    def resume() -> Answer:
        return {"ok": True, "job": bridge.resume(_only_job_id(_body()))}

    route("GET", "/health", health, guarded=False)
    route("GET", "/api/crons", crons)
    route("GET", "/api/crons/status", status)
    route("GET", "/api/crons/output", output)
    route("GET", "/api/crons/history", runs_of)
    route("GET", "/api/crons/run", one_run)
    route("GET", "/api/crons/recent", recent)
    route("GET", "/api/crons/delivery-options", delivery_options)
    for verb in (create, update, delete, run, pause, resume):
        route("POST", f"/api/crons/{verb.__name__}", verb)
    app.default_error_handler = lambda error: _respond(error.status_code, {"error": _sentence(error)})
    return app


def make_refusing_app(sentence: str) -> bottle.Bottle:
    """The WSGI application that answers SENTENCE, and 503, to everything."""
    app = bottle.Bottle()
    app.default_error_handler = lambda error: _respond(503, {"error": sentence})
    return app


def _answered(serve: Callable[[], Answer | bytes], door: Door | None) -> tuple[int, Answer | bytes]:
    """The status and answer of SERVE; every way to fail is one sentence."""
    request = bottle.request
    try:
        if door:
            headers = request.environ  # as latin-1 (PEP 3333); Bottle's own getter fails on what is no UTF-8
            door.check_names(headers.get("HTTP_HOST", ""), headers.get("HTTP_ORIGIN"))
            door.admit(headers.get("HTTP_AUTHORIZATION", ""))
        return 200, serve()
    except (Refused, BadBody) as error:
        return error.status, {"error": str(error)}
    except (Invalid, ScheduleError) as error:
        return 400, {"error": str(error)}
    except (NoSuchJob, NoSuchRun, UnknownProfile) as error:
        return 404, {"error": str(error)}
    except (SchedulerError, StoreError, ConfigError) as error:
        log.error("%s %s: %s", request.method, request.path, error)
        return 503, {"error": str(error)}
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


class BadBody(Exception):
    """A request body that is no JSON object; `status` is 400, 413 or 415."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def _body() -> Answer:
    """The request's body, a JSON object. Raises BadBody."""
    request = bottle.request
    if request.content_length > LARGEST_BODY:
        raise BadBody(413, f"A body has at most {LARGEST_BODY} bytes.")
    if request.get_header("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise BadBody(415, "The body must be JSON, and say so: 'Content-Type: application/json'.")
    try:
        body = json.loads(request.body.read(LARGEST_BODY + 1))
    except (ValueError, RecursionError) as error:
        raise BadBody(400, f"The body is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise BadBody(400, "The body must be a JSON object, like {\"job_id\": \"4f2a9c1d07be\"}.")
    return body


def _only_job_id(body: Answer) -> str:
    job_id = fields.job_id(body.pop("job_id", None))
    if body:
        raise Invalid(f"There is no field '{str(next(iter(body)))[:80]}' here.")
    return job_id


def _query(name: str) -> str | None:
    query = bottle.request.query
    return str(query.getunicode(name, default="\ufffd")) if name in query else None


def _whole(name: str, otherwise: int, least: int, most: int) -> int:
    """The query's NAME as a whole number, brought between LEAST and MOST. Raises Invalid."""
    text = _query(name)
    if text is None:
        return otherwise
    try:
        return min(max(int(text), least), most)
    except ValueError:
        raise Invalid(f"{name} takes a whole number.") from None


def _seconds(text: str | None) -> float:
    """TEXT as a unix time; what is none is the beginning of all."""
    try:
        since = float(text or "")
    except ValueError:
        return 0.0
    return since if math.isfinite(since) else 0.0


def _limit(text: str | None) -> int:
    try:
        return min(max(int(text or ""), 1), MOST_OUTPUTS)
    except ValueError:
        return DEFAULT_OUTPUTS


def _sentence(error: bottle.HTTPError) -> str:
    """What Bottle's own refusals say."""
    return {404: "There is nothing at this address.", 405: "This address does not take that method."}.get(
        error.status_code, str(error.body)
    )
