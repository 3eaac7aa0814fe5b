"""The jobs of a home, as `Job` values: the one interface to a job's state.

Today's agent keeps all of it in jobs.json (jobs_file.py). The runner reads a single record by `jobs_file.find`, because
parsing a `Job` before the child starts would delay every run.
"""

import datetime
from collections.abc import Callable, Iterable
from functools import partial

from ..barrier import use_or_none
from ..config import policy_of
from ..jobs.due import fires_alike
from ..jobs.model import Job
from ..jobs.record import Record
from . import jobs_file
from .home import Home
from .timezone import home_zone

Change = Callable[[Job], Job]

_parsed: dict[tuple[str, str], dict[str, Job]] = {}
"""Jobs that are parsed already, by file and zone, and then by id. A job is reused while its record is the same."""


def read(home: Home) -> list[Job]:
    """Return the jobs of `home`, in the file's order. Raises StateFileError."""
    zone, defaults = home_zone(home), policy_of(home.root, home.profile)
    known = _parsed.get((home.jobs_file, zone.key), {})
    jobs = {}
    for record in jobs_file.read(home):
        job = known.get(record["id"])
        is_known = job and job.record is record and job.defaults == defaults
        jobs[record["id"]] = job if job and is_known else Job.from_record(home.profile, record, zone, defaults)
    _parsed[home.jobs_file, zone.key] = jobs
    return list(jobs.values())


def by_instance(home: Home) -> dict[str, Job]:
    """Return the jobs of `home` by instance, in the file's order. Raises StateFileError."""
    return {job.instance: job for job in read(home)}


def unusable(home: Home) -> list[str]:
    """Return a sentence for each entry of the file of `home` that is not used. Raises StateFileError."""
    return jobs_file.unusable(home)


def repair(home: Home) -> None:
    """Store the ids that the jobs of `home` were given at reading. Raises StateFileError."""
    jobs_file.repair(home)


def find(home: Home, job_id: str) -> Job:
    """Return the job `job_id`. Raises JobNotFound, StateFileError."""
    return parse(home, jobs_file.find(home, job_id))


def parse(home: Home, record: Record) -> Job:
    """Return the job in `record`, which is of `home`."""
    return Job.from_record(home.profile, record, home_zone(home), policy_of(home.root, home.profile))


def add(home: Home, job: Job) -> None:
    """Append `job`. Raises StateFileError."""
    jobs_file.add(home, job.record)


def change(home: Home, job_id: str, update: Change) -> Job:
    """Replace the job `job_id` by what `update` makes of it, and return it. Raises JobNotFound, StateFileError."""
    return change_each(home, [job_id], update)[0]


def change_each(home: Home, job_ids: Iterable[str], update: Change) -> list[Job]:
    """Replace each of the jobs `job_ids` by what `update` makes of it, write the file once, and return them.

    Raises JobNotFound, StateFileError.
    """
    zone, defaults = home_zone(home), policy_of(home.root, home.profile)
    present: list[Job] = []
    changed: list[Job] = []

    def update_record(record: Record) -> Record:
        present.append(Job.from_record(home.profile, record, zone, defaults))
        changed.append(update(present[-1]))
        return changed[-1].record

    def all_fire_alike() -> bool:
        now = datetime.datetime.now(datetime.UTC)
        return all(use_or_none(after.instance, after, partial(fires_alike, before, now=now))
                   for before, after in zip(present, changed, strict=True))

    jobs_file.change_each(home, job_ids, update_record, all_fire_alike)
    return changed


def replace(home: Home, content: bytes) -> None:
    """Replace all jobs by those in `content`, which is like jobs.json. Raises StateFileError."""
    jobs_file.replace(home, content)


def note_armed(home: Home) -> None:
    """Store that the last change of `home` by this process is armed, so that it starts no sync."""
    jobs_file.note_armed(home)


def remove(home: Home, job_id: str) -> Job:
    """Remove the job `job_id`, and return it. Raises JobNotFound, StateFileError."""
    return parse(home, jobs_file.remove(home, job_id))
