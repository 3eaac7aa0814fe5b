"""The routes under /api/crons: what each asks of the bridge, and how its answer is called."""

import math
from collections.abc import Callable
from typing import Any

from .. import fields
from ..bridge import Bridge
from ..fields import Invalid
from ..hermes import outputs
from . import asked
from .listing import Listing

Answer = dict[str, Any]
Routes = dict[tuple[str, str], Callable[[], Answer | bytes]]

DEFAULT_OUTPUTS, DEFAULT_RUNS, MOST = 5, 50, 500
"""How many outputs or runs one answer has."""


def routes(bridge: Bridge) -> Routes:
    """What answers each method and path, out of BRIDGE."""
    listing = Listing(bridge)

    def crons() -> bytes:
        return listing.body(asked.flag("all_profiles"))

    def status() -> Answer:
        job_id = asked.query("job_id")
        if job_id is None:
            return {"running": bridge.status()}
        elapsed = bridge.elapsed(fields.job_id(job_id))
        return {"job_id": job_id, "running": elapsed is not None, "elapsed": elapsed or 0.0}

    def output() -> Answer:
        job_id = fields.job_id(asked.query("job_id"))
        limit = asked.whole_number("limit")
        found = bridge.outputs(job_id, DEFAULT_OUTPUTS if limit is None else _clamped(limit))
        return {"job_id": job_id, "outputs": [{"filename": name, "content": content} for name, content in found]}

    def history() -> Answer:
        job_id = fields.job_id(asked.query("job_id"))
        offset = max(0, _number("offset", 0))
        pages, total = bridge.history(job_id, offset, _clamped(_number("limit", DEFAULT_RUNS)))
        return {"job_id": job_id, "runs": [page._asdict() for page in pages], "total": total, "offset": offset}

    def run_detail() -> Answer:
        job_id = fields.job_id(asked.query("job_id"))
        filename = fields.filename(asked.query("filename"))
        content = bridge.output(job_id, filename)
        return {"job_id": job_id, "filename": filename, "content": content, "snippet": outputs.snippet(content),
                "usage": outputs.usage(content)}

    def recent() -> Answer:
        since = _seconds(asked.query("since"))
        return {"completions": [each._asdict() for each in bridge.completions(since)], "since": since}

    def delivery_options() -> Answer:
        return {"platforms": [{"value": value, "label": label} for value, label in bridge.delivery_options().items()]}

    def create() -> Answer:
        return {"ok": True, "job": bridge.create(asked.body())}

    def update() -> Answer:
        body = asked.body()
        job_id = fields.job_id(body.pop("job_id", None))
        return {"ok": True, "job": bridge.update(job_id, body)}

    def delete() -> Answer:
        job_id = _only_job_id(asked.body())
        bridge.delete(job_id)
        return {"ok": True, "job_id": job_id}

    def run() -> Answer:
        job_id = _only_job_id(asked.body())
        elapsed = bridge.run(job_id)
        if elapsed is not None:
            return {"ok": False, "job_id": job_id, "status": "already_running", "elapsed": elapsed}
        return {"ok": True, "job_id": job_id, "status": "running"}

    def pause() -> Answer:
        body = asked.body()
        reason = body.pop("reason", None)
        if reason is not None:
            fields.text("reason", reason)
        return {"ok": True, "job": bridge.pause(_only_job_id(body), reason)}

    def resume() -> Answer:
        return {"ok": True, "job": bridge.resume(_only_job_id(asked.body()))}

    reading: Routes = {("GET", "/api/crons"): crons, ("GET", "/api/crons/run"): run_detail,
                       ("GET", "/api/crons/delivery-options"): delivery_options}
    reading |= {("GET", f"/api/crons/{look.__name__}"): look for look in (status, output, history, recent)}
    writing: Routes = {("POST", f"/api/crons/{verb.__name__}"): verb
                       for verb in (create, update, delete, run, pause, resume)}
    return reading | writing


def _only_job_id(body: Answer) -> str:
    job_id = fields.job_id(body.pop("job_id", None))
    asked.nothing_else(body)
    return job_id


def _clamped(count: int) -> int:
    return min(max(count, 1), MOST)


def _number(name: str, otherwise: int) -> int:
    """The query's NAME as a number, OTHERWISE where it is not given. Raises Invalid."""
    if asked.query(name) is None:
        return otherwise
    number = asked.whole_number(name)
    if number is None:
        raise Invalid(f"'{name}' takes a whole number.")
    return number


def _seconds(text: str | None) -> float:
    """TEXT as unix seconds; what is no number is 0."""
    try:
        seconds = float((text or "").replace("_", "x") or 0)  # Python takes 1_000 for a number
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0
