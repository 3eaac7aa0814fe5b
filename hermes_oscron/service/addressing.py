"""Find the job that is meant at a terminal."""

import contextlib

from ..errors import shortened
from ..files import StateFileError
from ..hermes import job_store
from ..hermes.home import Home, homes_of
from ..hermes.jobs_file import JobNotFound
from ..jobs.fields import ValidationError
from ..jobs.model import Job

MIN_PREFIX_CHARS = 4
"""The characters that are enough of an id, if no other one begins with them."""


def find_id(home: Home, text: str) -> str:
    """Return the id that `text` is the beginning of. Raises StateFileError.

    Raises JobNotFound, and ValidationError if it is the beginning of several.
    """
    found = _matches(job_store.read(home), text)
    if not found:
        elsewhere = [job.instance for jobs in _jobs_of_others(home).values() for job in _matches(jobs, text)]
        raise JobNotFound(f"There is no job '{shortened(text)}' in profile {home.profile}.",
                          f"Did you mean {' or '.join(elsewhere)}?" if elsewhere else "")
    if len(found) > 1:
        raise ValidationError(f"The ids of several jobs begin with {text}: {', '.join(job.id for job in found)}.")
    return found[0].id


def jobs_elsewhere(home: Home) -> dict[str, int]:
    """Return the number of jobs in each other profile that has any. One that cannot be read is left out."""
    return {profile: len(jobs) for profile, jobs in _jobs_of_others(home).items() if jobs}


def _matches(jobs: list[Job], text: str) -> list[Job]:
    """Return the job with the id `text`, or else those whose ids begin with it."""
    return ([job for job in jobs if job.id == text]
            or [job for job in jobs if len(text) >= MIN_PREFIX_CHARS and job.id.startswith(text)])


def _jobs_of_others(home: Home) -> dict[str, list[Job]]:
    found = {}
    for other in homes_of(home.root):
        if other.profile != home.profile:
            with contextlib.suppress(StateFileError):  # sync and doctor report it
                found[other.profile] = job_store.read(other)
    return found
