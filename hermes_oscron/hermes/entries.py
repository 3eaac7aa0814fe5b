"""The entries of a jobs.json, in every form that the agent repairs (`load_jobs` and the due scan of its cron/jobs.py).

Each object among them is given a text as its id, as by the agent; anything else stays as it is.
"""

import json
from typing import Any

from ..errors import shortened
from .home import SAFE_NAME


def entries_of(jobs: object) -> list[Any]:
    """Return the entries in the value of the key `jobs`, each with an id. `jobs` is not changed.

    A map from ids to jobs, which other tools write, is made a list. Any other value is an entry that is not a job.
    """
    if isinstance(jobs, dict):
        jobs = [{**job, "id": job.get("id") or job_id} if isinstance(job, dict) else [job_id, job]
                for job_id, job in jobs.items()]
    entries = jobs if isinstance(jobs, list) else [] if jobs is None else [jobs]
    taken = {entry.get("id") for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)}
    return [_with_id(entry, taken) if isinstance(entry, dict) else entry for entry in entries]


def is_record(entry: Any) -> bool:
    """Return True if `entry` is a job whose id can be the name of a unit and of a folder."""
    return isinstance(entry, dict) and bool(SAFE_NAME.fullmatch(entry["id"]))


def entry_name(entry: Any) -> str:
    """Return the beginning of a sentence about `entry`: its name, if it has one."""
    name = entry.get("name") if isinstance(entry, dict) else None
    return f"{shortened(name)!a}. " if isinstance(name, str) and name else ""


def why_unusable(entry: Any) -> str:
    """Return why `entry`, which is not used, cannot be: a sentence, and what to do."""
    if not isinstance(entry, dict):
        return "It is not a job, which is an object with a schedule. Remove it, or make it one."
    if not is_record(entry):
        return (f"Its id {shortened(repr(entry['id']))} cannot be the name of a timer. Give it another one of at most "
                f"64 letters, digits, '-', '_' and '.'.")
    return f"An earlier job has the same id {entry['id']}. Give it another one, or remove it."


def _with_id(entry: dict[str, Any], taken: set[Any]) -> dict[str, Any]:
    """Return `entry` with a text as its id: the key `job_id` of older agents, else one that is not in `taken`."""
    job_id = entry.get("id")
    if isinstance(job_id, str) and job_id:
        return entry
    kept = entry
    if not job_id:
        kept = {key: value for key, value in entry.items() if key != "job_id"}
        job_id = entry.get("job_id") or _new_id(entry, taken)
    taken.add(str(job_id))
    return {"id": str(job_id), **{key: value for key, value in kept.items() if key != "id"}}


def _new_id(entry: dict[str, Any], taken: set[Any]) -> str:
    """Return an id for `entry`, the same at every reading until it is stored."""
    import hashlib  # few jobs need it

    content = json.dumps(entry, sort_keys=True)
    while (job_id := hashlib.sha256(content.encode()).hexdigest()[:12]) in taken:
        content = job_id
    return job_id
