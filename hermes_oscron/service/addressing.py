"""Find the jobs that are meant at a terminal."""

import contextlib
from collections.abc import Callable

from ..errors import shortened
from ..files import StateFileError
from ..hermes import job_store
from ..hermes.home import Home, homes_of
from ..hermes.jobs_file import JobNotFound
from ..jobs.fields import ValidationError
from ..jobs.model import Job
from ..jobs.record import COMPLETED, ERROR, PAUSED, RAN, SCHEDULED
from .job_views import JobView
from .manual_start import Progress

MIN_PREFIX_CHARS = 4
"""The characters that are enough of an id, if no other one begins with them."""

STATES: dict[str, Callable[[JobView, Progress | None], bool]] = {
    **{state: lambda job, _, state=state: job["state"] == state  # type: ignore[misc]
       for state in (SCHEDULED, PAUSED, COMPLETED, ERROR)},
    "running": lambda _, run: run is not None and not run.queued,
    "queued": lambda _, run: run is not None and run.queued,
    "failed": lambda job, _: job["last_status"] is not None and job["last_status"] not in RAN,
}
"""The states by which jobs are selected. A job that is running or has failed has another one too."""


def find_id(home: Home, text: str) -> str:
    """Return the id of the job that `text` names: its id, its name, or the beginning of its id. Raises StateFileError.

    Raises JobNotFound, and ValidationError if several jobs have that name, or ids that begin so.
    """
    found = _matches(job_store.read(home), text)
    if not found:
        elsewhere = [job.instance for jobs in _jobs_of_others(home).values() for job in _matches(jobs, text)]
        raise JobNotFound(f"There is no job '{shortened(text)}' in profile {home.profile}.",
                          f"Did you mean {' or '.join(elsewhere)}?" if elsewhere else "")
    if len(found) > 1:
        raise ValidationError(f"Several jobs have the name {shortened(text)}, or ids that begin so: "
                              f"{', '.join(job.id for job in found)}.")
    return found[0].id


def jobs_elsewhere(home: Home) -> dict[str, int]:
    """Return the number of jobs in each other profile that has any. One that cannot be read is left out."""
    return {profile: len(jobs) for profile, jobs in _jobs_of_others(home).items() if jobs}


def _matches(jobs: list[Job], text: str) -> list[Job]:
    """Return the jobs that `text` names, by the first of these that finds any: id, name, beginning of the id."""
    return ([job for job in jobs if job.id == text]
            or [job for job in jobs if name_of(job) == text]
            or [job for job in jobs if len(text) >= MIN_PREFIX_CHARS and job.id.startswith(text)]
            or [job for job in jobs if name_of(job).casefold() == text.casefold()])


def name_of(job: Job) -> str:
    """Return the name of `job` as lists show it; empty if it has none."""
    return " ".join(str(job.record.get("name") or "").split())


def _jobs_of_others(home: Home) -> dict[str, list[Job]]:
    found = {}
    for other in homes_of(home.root):
        if other.profile != home.profile:
            with contextlib.suppress(StateFileError):  # sync and doctor report it
                found[other.profile] = job_store.read(other)
    return found
