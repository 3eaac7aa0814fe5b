"""The routes on jobs: parameters in, a call of the service, the names of the answer's fields.

All are under /api/crons, except for the status of the gateway, which the Tasks panel asks for.
"""

import math

from ..hermes import output_page
from ..jobs.fields import ValidationError
from ..jobs.fields import flag as check_flag
from ..jobs.fields import text as check_text
from ..service.jobs import JobService
from ..service.manual_start import Progress
from ..service.runs import of_outputs
from . import request
from .job_list_cache import JobListCache
from .responses import Answer, Encoded, Routes

DEFAULT_OUTPUTS, DEFAULT_RUNS, MAX_ITEMS = 5, 50, 500
"""The number of outputs or runs in an answer."""


def routes(service: JobService, job_list: JobListCache) -> Routes:
    """Return the handler of each method and path."""

    def jobs() -> JobService:
        return service.of_profile(request.profile())

    def crons() -> Encoded:
        return job_list.answer(request.bool_param("all_profiles"), request.profile())

    def status() -> Answer:
        job_id = request.text_param("job_id")
        if job_id is None:
            runs = jobs().status()
            queued = {job_id: run.elapsed for job_id, run in runs.items() if run.queued}
            nodes = {job_id: _place(run) for job_id, run in runs.items() if run.node}
            return {"running": {job_id: run.elapsed for job_id, run in runs.items()}} | _if_any(
                queued=queued, nodes=nodes)
        run = jobs().progress(request.job_id_of(job_id))
        return {"job_id": job_id, "running": run is not None, "elapsed": run.elapsed if run else 0.0} | _if_any(
            queued=run and run.queued) | (_place(run) if run and run.node else {})

    def output() -> Answer:
        job_id = request.job_id_of(request.text_param("job_id"))
        limit = request.int_param("limit")
        found = jobs().outputs(job_id, DEFAULT_OUTPUTS if limit is None else _clamped(limit))
        return {"job_id": job_id, "outputs": [{"filename": name, "content": content} for name, content in found]}

    def history() -> Answer:
        job_id = request.job_id_of(request.text_param("job_id"))
        offset = max(0, _number("offset", 0))
        pages, total = jobs().history(job_id, offset, _clamped(_number("limit", DEFAULT_RUNS)))
        runs = of_outputs(jobs().home, job_id, (page.filename for page in pages))
        return {"job_id": job_id, "runs": [page._asdict() | {"run": runs.get(page.filename)} for page in pages],
                "total": total, "offset": offset}

    def run_detail() -> Answer:
        job_id = request.job_id_of(request.text_param("job_id"))
        filename = request.filename_of(request.text_param("filename"))
        content = jobs().output(job_id, filename)
        return {"job_id": job_id, "filename": filename, "content": content, "snippet": output_page.snippet(content),
                "usage": output_page.usage(content),
                "run": of_outputs(jobs().home, job_id, [filename]).get(filename)}

    def recent() -> Answer:
        since = _seconds(request.text_param("since"))
        from ..runs import recent  # reads the agent's database; 8 ms that no other request needs

        found, cursor = recent.ended(jobs().home, since, request.text_param("after"))
        return {"completions": [each._asdict() for each in found], "since": since, "cursor": cursor}

    def delivery_options() -> Answer:
        return {"platforms": [{"value": value, "label": label} for value, label in jobs().delivery_options().items()]}

    def gateway_status() -> Answer:
        return jobs().gateway_status()

    def create() -> Answer:
        warnings: list[str] = []
        return _saved(jobs().create(request.json_body(), warnings.append), warnings)

    def update() -> Answer:
        body = request.json_body()
        job_id = request.job_id_of(body.pop("job_id", None))
        warnings: list[str] = []
        return _saved(jobs().update(job_id, body, warnings.append), warnings)

    def delete() -> Answer:
        body = request.json_body()
        stop, keep_outputs = _flag(body, "stop"), _flag(body, "keep_outputs")
        job_id = _only_job_id(body)
        run = jobs().delete(job_id, stop, keep_outputs)
        return {"ok": True, "job_id": job_id} | _if_any(run=run and run._asdict())

    def run() -> Answer:
        body = request.json_body()
        force = _flag(body, "force")
        job_id = _only_job_id(body)
        elapsed = jobs().run(job_id, force)
        if elapsed is not None:
            return {"ok": False, "job_id": job_id, "status": "already_running", "elapsed": elapsed}
        return {"ok": True, "job_id": job_id, "status": "running"}

    def pause() -> Answer:
        body = request.json_body()
        reason = body.pop("reason", None)
        if reason is not None:
            check_text("reason", reason)
        return {"ok": True, "job": jobs().pause(_only_job_id(body), reason)}

    def resume() -> Answer:
        return {"ok": True, "job": jobs().resume(_only_job_id(request.json_body()))}

    reading: Routes = {("GET", "/api/crons"): crons, ("GET", "/api/crons/run"): run_detail,
                       ("GET", "/api/crons/delivery-options"): delivery_options,
                       ("GET", "/api/gateway/status"): gateway_status}
    reading |= {("GET", f"/api/crons/{read.__name__}"): read for read in (status, output, history, recent)}
    writing: Routes = {("POST", f"/api/crons/{command.__name__}"): command
                       for command in (create, update, delete, run, pause, resume)}
    return reading | writing


def _saved(job: Answer, warnings: list[str]) -> Answer:
    return {"ok": True, "job": job} | _if_any(warnings=warnings)


def _if_any(**fields: object) -> Answer:
    """Return those of `fields` that are not empty, for clients that know the answer without them."""
    return {name: value for name, value in fields.items() if value}


def _place(run: Progress) -> Answer:
    """Return where on a cluster `run` is."""
    return {"node": run.node, "cluster_job": run.cluster_job}


def _only_job_id(body: Answer) -> str:
    job_id = request.job_id_of(body.pop("job_id", None))
    request.reject_unknown(body)
    return job_id


def _flag(body: Answer, name: str) -> bool:
    """Take the flag `name` from `body`; missing or null it is false. Raises ValidationError."""
    value = body.pop(name, None)
    if value is not None:
        check_flag(name, value)
    return bool(value)


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
