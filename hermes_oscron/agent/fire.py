"""fire.py JOB_ID OWNER_HOME: run one job by the Hermes agent's own door, `CronScheduler.fire_due`, in its own Python.

OWNER_HOME keeps the job's record; `$HERMES_HOME` is where the job runs. The agent claims the job, runs it, saves the
output, delivers it and records all that. Exit status: 0 when the run went well, 1 when it did not, with the reason on
standard error, 69 when this agent has no such door, 75 when another scheduler has the job.
"""

import sys
from typing import Any

NO_DOOR, TAKEN = 69, 75  # EX_UNAVAILABLE, EX_TEMPFAIL of sysexits(3)


def fire(job_id: str, owner_home: str) -> int:
    """Run JOB_ID, whose record OWNER_HOME keeps; the exit status."""
    try:
        from cron.executions import latest_execution
        from cron.jobs import get_job, use_cron_store
        from cron.scheduler import run_one_job
        from cron.scheduler_provider import CronScheduler

        fire_due = CronScheduler.fire_due
    except (ImportError, AttributeError) as error:
        print(f"this Hermes agent cannot run a single job ({error}); 0.19.0 can", file=sys.stderr)
        return NO_DOOR

    class Oscron(CronScheduler):  # type: ignore[misc]  # the agent has no types
        name = "oscron"

        def start(self, stop_event: Any, **options: Any) -> None:
            """Nothing: the operating system fires."""

    with use_cron_store(owner_home):
        job = get_job(job_id)
        if job is None:
            return TAKEN
        before = latest_execution(job_id)
        if job.get("enabled", True) and job.get("state") != "paused":
            fire_due(Oscron(), job_id)
        else:  # asked for by hand; the door lets no such job through
            run_one_job(job)
        run = latest_execution(job_id)
    if run is None or run == before:
        return TAKEN
    if run["status"] == "completed":
        return 0
    print(run["error"] or f"the agent left the run {run['status']}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(fire(*sys.argv[1:]))
