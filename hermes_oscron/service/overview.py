"""One screen about all jobs of a root: what runs, waits, comes next, and has failed."""

import datetime
from typing import Any

from ..hermes.home import homes_of
from ..schedulers.active import disarmed_since
from .addressing import STATES
from .jobs import JobService

OVERVIEW_STATES = ("scheduled", "paused", "completed", "error", "failed")
Overview = dict[str, Any]


def overview(here: JobService) -> Overview:
    """Return the jobs of every profile by what they do: `running`, `queued`, `next` and `failed`, soonest first.

    `counts` has the number of jobs in each state. Raises StateFileError.
    """
    answer = here.list_jobs(all_profiles=True)
    runs = {(home.profile, job_id): run for home in homes_of(here.root)
            for job_id, run in here.of_profile(home.profile).status().items()}
    jobs = [(job, runs.get((job["owner_profile"], job["id"]))) for job in answer["jobs"]]
    entries = [{"profile": job["owner_profile"], "job_id": job["id"], "name": job["name"], "state": job["state"],
                "elapsed": run.elapsed if run else None, "is_queued": bool(run and run.queued),
                "next_run_at": job["next_run_at"], "last_run_at": job["last_run_at"],
                "last_error": job["last_error"] or job["last_delivery_error"],
                "has_failed": STATES["failed"](job, run)} for job, run in jobs]
    in_progress = sorted((entry for entry in entries if entry["elapsed"] is not None),
                         key=lambda entry: -entry["elapsed"])
    coming = sorted((entry for entry in entries if entry["next_run_at"]),
                    key=lambda entry: datetime.datetime.fromisoformat(entry["next_run_at"]))
    return {
        "root": here.root, "scheduler": here.scheduler, "armed": disarmed_since(here.root) is None,
        "active_profile": answer["active_profile"], "paused_profiles": answer["paused_profiles"],
        "counts": {state: sum(STATES[state](job, run) for job, run in jobs) for state in OVERVIEW_STATES},
        "running": [entry for entry in in_progress if not entry["is_queued"]],
        "queued": [entry for entry in in_progress if entry["is_queued"]],
        "next": coming, "failed": [entry for entry in entries if entry["has_failed"]]}
