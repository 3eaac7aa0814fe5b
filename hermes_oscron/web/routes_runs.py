"""The routes on the ledger: every run and occurrence, and those to come. All are under /api/crons."""

from ..jobs.fields import ValidationError
from ..runs.ledger import OUTCOMES, TRIGGERS
from ..service import runs as service_runs
from ..service.jobs import JobService
from . import request
from .responses import Answer, Routes

DEFAULT_LIMIT, MAX_LIMIT = 50, 500
DEFAULT_HOURS, MAX_HOURS = 24, 31 * 24
MAX_MOMENT_S = 1e10


def routes(service: JobService) -> Routes:
    """Return the handler of each method and path."""

    def jobs() -> JobService:
        return service.of_profile(request.profile())

    def runs() -> Answer:
        job_id = request.text_param("job_id")
        wanted = service_runs.Filter(
            request.job_id_of(job_id) if job_id is not None else None, _one_of("outcome", OUTCOMES),
            _one_of("trigger", TRIGGERS), _moment("since"), _moment("until"))
        limit = _number("limit", DEFAULT_LIMIT, MAX_LIMIT)
        page = service_runs.listed(jobs().home, wanted, request.text_param("cursor"), limit)
        return page._asdict()

    def upcoming() -> Answer:
        hours = _number("hours", DEFAULT_HOURS, MAX_HOURS)
        here = jobs()
        found, changes = service_runs.upcoming(here.home, hours, here.clock.now())
        return {"upcoming": found, "clock_changes": changes, "hours": hours}

    return {("GET", "/api/crons/runs"): runs, ("GET", "/api/crons/upcoming"): upcoming}


def _number(name: str, otherwise: int, most: int) -> int:
    """Return the query parameter `name`, from 1 to `most`; `otherwise` if it is not given. Raises ValidationError."""
    if request.text_param(name) is None:
        return otherwise
    number = request.int_param(name)
    if number is None:
        raise ValidationError(f"'{name}' must be an integer.")
    return min(max(number, 1), most)


def _one_of(name: str, words: tuple[str, ...]) -> str | None:
    """Return the query parameter `name`, one of `words`, None if it is not given. Raises ValidationError."""
    word = request.text_param(name)
    if word is not None and word not in words:
        raise ValidationError(f"'{name}' must be one of {', '.join(words)}.")
    return word


def _moment(name: str) -> float | None:
    """Return the query parameter `name` in unix seconds, None if it is not given. Raises ValidationError."""
    text = request.text_param(name)
    if text is None:
        return None
    try:
        seconds = float(text.replace("_", "x"))  # Python takes 1_000 for a number
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_MOMENT_S:
        raise ValidationError(f"'{name}' must be a time in unix seconds.")
    return seconds
