"""The routes under /api/crons: parameters in, a call of the service, the names of the answer's fields."""

import math

from ..hermes import output_page
from ..jobs.fields import ValidationError
from ..jobs.fields import text as check_text
from ..service.jobs import JobService
from . import request
from .job_list_cache import JobListCache
from .responses import Answer, Routes

DEFAULT_OUTPUTS, DEFAULT_RUNS, MAX_ITEMS = 5, 50, 500
"""The number of outputs or runs in an answer."""


def routes(service: JobService, job_list: JobListCache) -> Routes:
    """Return the handler of each method and path."""

    def crons() -> bytes:
        return job_list.body(request.bool_param("all_profiles"))

    def status() -> Answer:
        job_id = request.text_param("job_id")
        if job_id is None:
            return {"running": service.status()}
        elapsed = service.elapsed(request.job_id_of(job_id))
        return {"job_id": job_id, "running": elapsed is not None, "elapsed": elapsed or 0.0}

    def output() -> Answer:
        job_id = request.job_id_of(request.text_param("job_id"))
        limit = request.int_param("limit")
        found = service.outputs(job_id, DEFAULT_OUTPUTS if limit is None else _clamped(limit))
        return {"job_id": job_id, "outputs": [{"filename": name, "content": content} for name, content in found]}

    def history() -> Answer:
        job_id = request.job_id_of(request.text_param("job_id"))
        offset = max(0, _number("offset", 0))
        pages, total = service.history(job_id, offset, _clamped(_number("limit", DEFAULT_RUNS)))
        return {"job_id": job_id, "runs": [page._asdict() for page in pages], "total": total, "offset": offset}

    def run_detail() -> Answer:
        job_id = request.job_id_of(request.text_param("job_id"))
        filename = request.filename_of(request.text_param("filename"))
        content = service.output(job_id, filename)
        return {"job_id": job_id, "filename": filename, "content": content, "snippet": output_page.snippet(content),
                "usage": output_page.usage(content)}

    def recent() -> Answer:
        since = _seconds(request.text_param("since"))
        return {"completions": [each._asdict() for each in service.recent(since)], "since": since}

    def delivery_options() -> Answer:
        return {"platforms": [{"value": value, "label": label} for value, label in service.delivery_options().items()]}

    def create() -> Answer:
        return {"ok": True, "job": service.create(request.json_body())}

    def update() -> Answer:
        body = request.json_body()
        job_id = request.job_id_of(body.pop("job_id", None))
        return {"ok": True, "job": service.update(job_id, body)}

    def delete() -> Answer:
        job_id = _only_job_id(request.json_body())
        service.delete(job_id)
        return {"ok": True, "job_id": job_id}

    def run() -> Answer:
        job_id = _only_job_id(request.json_body())
        elapsed = service.run(job_id)
        if elapsed is not None:
            return {"ok": False, "job_id": job_id, "status": "already_running", "elapsed": elapsed}
        return {"ok": True, "job_id": job_id, "status": "running"}

    def pause() -> Answer:
        body = request.json_body()
        reason = body.pop("reason", None)
        if reason is not None:
            check_text("reason", reason)
        return {"ok": True, "job": service.pause(_only_job_id(body), reason)}

    def resume() -> Answer:
        return {"ok": True, "job": service.resume(_only_job_id(request.json_body()))}

    reading: Routes = {("GET", "/api/crons"): crons, ("GET", "/api/crons/run"): run_detail,
                       ("GET", "/api/crons/delivery-options"): delivery_options}
    reading |= {("GET", f"/api/crons/{read.__name__}"): read for read in (status, output, history, recent)}
    writing: Routes = {("POST", f"/api/crons/{command.__name__}"): command
                       for command in (create, update, delete, run, pause, resume)}
    return reading | writing


def _only_job_id(body: Answer) -> str:
    job_id = request.job_id_of(body.pop("job_id", None))
    request.reject_unknown(body)
    return job_id


def _clamped(count: int) -> int:
    return min(max(count, 1), MAX_ITEMS)


def _number(name: str, otherwise: int) -> int:
    """Return the query parameter `name` as a number, `otherwise` if it is not given. Raises ValidationError."""
    if request.text_param(name) is None:
        return otherwise
    number = request.int_param(name)
    if number is None:
        raise ValidationError(f"'{name}' must be an integer.")
    return number


def _seconds(text: str | None) -> float:
    """Return `text` as unix seconds; 0 if it is not a number."""
    try:
        seconds = float((text or "").replace("_", "x") or 0)  # Python takes 1_000 for a number
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0
