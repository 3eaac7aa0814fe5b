"""Jobs as definitions: the fields that a client sets, without state, so that they can be kept in a file and compared.

A definition has the fields of the table in jobs/fields.py whose values are not the default, and `paused`. It can be
applied any number of times, so its schedule is a text that means the same at any time.
"""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .. import config
from ..errors import OscronError, shortened
from ..hermes.home import SAFE_NAME
from ..hermes.timezone import home_zone
from ..jobs import policy
from ..jobs.fields import FIELDS, UNSET, ValidationError
from ..jobs.record import COMPLETED, ERROR, PAUSED
from ..schedule.model import ONCE
from ..schedule.parse import read_schedule
from .field_checks import with_zone_of_schedule, zone_with
from .job_views import JobView
from .jobs import JobService

Definition = dict[str, Any]

NOT_DEFINED = frozenset({"enabled", "skill", "pinned"})
"""Fields that stand for others."""
NAMES = ("id", "owner_profile", "name", "schedule", *(name for name in FIELDS if name not in (
    "name", "schedule", "prompt", *NOT_DEFINED)), "prompt")
"""The keys of a definition, in the order in which they are written."""


class Change(NamedTuple):
    """A job of the file that differs: a new one has no `job_id`, one that is to be deleted no `wanted`.

    `fields` has the values before and after of each field that differs.
    """

    here: JobService
    job_id: str | None
    name: str
    wanted: Definition | None
    fields: dict[str, tuple[Any, Any]]


class Plan(NamedTuple):
    """The changes that make the jobs those of a file."""

    changes: list[Change]
    unchanged: int


def definition_of(job: JobView) -> Definition:
    """Return the definition of `job`, without id and profile."""
    found = {name: job.get(name) for name in NAMES if name in FIELDS and not FIELDS[name].only_new}
    found |= {"schedule": job["schedule"]["expression"], "repeat": job["repeat"]["times"]}
    if job["schedule"]["kind"] == ONCE and found["repeat"] == 1:
        found["repeat"] = None
    if job["state"] == PAUSED:
        found |= {"paused": True, "paused_reason": job.get("paused_reason")}
    return {name: found[name] for name in NAMES if name in found and not _is_default(name, found[name])}


def _is_default(name: str, value: Any) -> bool:
    default = FIELDS[name].default
    return value in (None, "", [], {}) or (value is not UNSET and default is not UNSET and value == default)


def is_definable(job: JobView) -> bool:
    """Return True if `job` can be created from its definition: it has a schedule, and runs left."""
    return job["state"] not in (COMPLETED, ERROR)


def as_given(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return `definition` as the fields by which a job is created."""
    given = {key: value for key, value in definition.items() if key not in ("id", "owner_profile")}
    if given.pop("paused", None):
        given |= {"paused": True} if given.get("paused_reason") else {"enabled": False}
    return given


def canonical(here: JobService, definition: Mapping[str, Any]) -> Definition:
    """Return `definition` without defaults, its schedule as jobs have it. Raises ValidationError, ScheduleError."""
    for key in definition:
        if key not in NAMES:
            raise ValidationError(f"There is no key '{shortened(key)}'; the keys are {', '.join(NAMES)}.")
    found = {key: definition[key] for key in NAMES if key in definition}
    text = found.get("schedule")
    if not isinstance(text, str) or not text.strip():
        raise ValidationError("'schedule' is missing." if text is None else "'schedule' must be a text.")
    if "policy" in found:
        found["policy"] = policy.merged({}, policy.check("policy", found["policy"]))
    found, home = with_zone_of_schedule(found), here.home
    zone = zone_with(found, None, home_zone(home), config.policy_of(here.root, home.profile))
    now, text = here.clock.now(), found["schedule"]
    schedule, later = (read_schedule(text, zone, moment)[0] for moment in (now, now + datetime.timedelta(minutes=1)))
    if schedule != later:
        raise ValidationError(f"'schedule': {shortened(text)} is another time whenever the file is applied; write the "
                              f"time, like {schedule.expression}.")
    found["schedule"] = schedule.expression
    if schedule.kind == ONCE and found.get("repeat") == 1:
        del found["repeat"]
    for key in ("id", "owner_profile"):
        if key in found and not (isinstance(found[key], str) and SAFE_NAME.fullmatch(found[key])):
            raise ValidationError(f"'{key}' must be a name like 4f2a9c1d07be.")
    if "paused_reason" in found and not found.get("paused"):
        raise ValidationError("'paused_reason' is for a job that is paused; set 'paused' too.")
    if isinstance(found.get("deliver"), list):
        found["deliver"] = ",".join(map(str, found["deliver"]))
    return {key: value for key, value in found.items() if key not in FIELDS or not _is_default(key, value)}


def difference(before: Definition, after: Definition) -> dict[str, tuple[Any, Any]]:
    """Return the fields that differ, with their values before and after; None if a field has its default."""
    return {name: (before.get(name), after.get(name)) for name in NAMES
            if name in FIELDS and before.get(name) != after.get(name)}


def change_job(here: JobService, job_id: str, fields: Mapping[str, tuple[Any, Any]], wanted: Definition,
               save: bool = True) -> JobView:
    """Change the `fields` of `job_id` to what is `wanted`. Raises the errors of `update`."""
    given = {name: wanted.get(name, _cleared(name)) for name in fields if not FIELDS[name].only_new}
    if "policy" in fields:
        given["policy"] = policy.replacing(*fields["policy"])
    job = here.update(job_id, given, save=save) if given else here.show(job_id)
    if save and fields.keys() & {"paused", "paused_reason"}:
        if job["state"] == PAUSED:
            job = here.resume(job_id)
        if wanted.get("paused"):
            job = here.pause(job_id, wanted.get("paused_reason"))
    return job


def _cleared(name: str) -> Any:
    """Return the value by which an update clears the field `name`."""
    default = FIELDS[name].default
    return UNSET if default is None or default is UNSET else list(default) if isinstance(default, tuple) else default


def plan(base: JobService, definitions: Iterable[tuple[str, Mapping[str, Any]]], prune: bool) -> tuple[Plan, list[str]]:
    """Return the plan that makes the jobs those of `definitions`, and a sentence for each that is wrong.

    Each definition has a label for such a sentence. With `prune`, other jobs of the same profiles are deleted, if they
    could be created again from their definitions.
    """
    changes, errors, unchanged = list[Change](), list[str](), 0
    views: dict[str, dict[str, JobView]] = {}
    seen: set[tuple[str, str]] = set()
    for label, definition in definitions:
        try:
            here = base.of_profile(definition.get("owner_profile") or None)
            wanted = canonical(here, definition)
            jobs = views.setdefault(here.home.profile, _jobs_of(here))
            job_id = _id_of(wanted, jobs)
            if (here.home.profile, job_id or "") in seen and job_id:
                raise ValidationError(f"The job {job_id} is there twice.")
            seen.add((here.home.profile, job_id or ""))
            change = _change(here, wanted, job_id, jobs)
        except OscronError as error:
            errors.append(f"{label}: {error}")
            continue
        unchanged += change is None
        changes += [change] if change else []
    if prune:
        views = views or {base.home.profile: _jobs_of(base)}
        for profile, jobs in views.items():
            here = base.of_profile(profile)
            changes += [Change(here, job_id, job["name"], None, {}) for job_id, job in jobs.items()
                        if (profile, job_id) not in seen and is_definable(job)]
    return Plan(changes, unchanged), errors


def _jobs_of(here: JobService) -> dict[str, JobView]:
    return {job["id"]: job for job in here.list_jobs()["jobs"]}


def _id_of(wanted: Definition, jobs: Mapping[str, JobView]) -> str | None:
    """Return the id of the job that is `wanted`, by its id or else by its name. Raises ValidationError."""
    if "id" in wanted:
        return str(wanted["id"])
    named = [job_id for job_id, job in jobs.items() if wanted.get("name") and job["name"] == wanted["name"]]
    if len(named) > 1:
        raise ValidationError(f"Several jobs are called {shortened(wanted['name'])}: {', '.join(named)}; "
                              f"write an 'id'.")
    return named[0] if named else None


def _change(here: JobService, wanted: Definition, job_id: str | None, jobs: Mapping[str, JobView]) -> Change | None:
    """Return how the job that is `wanted` differs, None if it does not, after a check of all that is new."""
    if job_id is None or job_id not in jobs:
        job = here.create(as_given(wanted), job_id=job_id, save=False)
        return Change(here, None, job["name"], wanted, difference({}, wanted))
    job = jobs[job_id]
    fields = difference(definition_of(job), {"name": job["name"], **wanted} if "name" not in wanted else wanted)
    if not fields:
        return None
    change_job(here, job_id, fields, wanted, save=False)
    return Change(here, job_id, job["name"], wanted, fields)


def carry_out(change: Change) -> JobView | None:
    """Create, change or delete the job of `change`; return it, unless it is deleted."""
    if change.wanted is None:
        change.here.delete(str(change.job_id))
        return None
    if change.job_id is None:
        return change.here.create(as_given(change.wanted), job_id=change.wanted.get("id"))
    return change_job(change.here, change.job_id, change.fields, change.wanted)
