"""fire.py JOB_ID OWNER_HOME: run one job by the Hermes agent's own door, `CronScheduler.fire_due`, in its own Python.

OWNER_HOME keeps the job's record; `$HERMES_HOME` is where the job runs. The agent claims the job, runs it, saves the
output, delivers it and records all that. Exit status: 0 when the run went well, 1 when it did not, with the reason on
standard error, 69 when this agent has no such door, 75 when another scheduler has the job. If the agent cannot record
the run, because it cannot read or write jobs.json, the status is still that of the run.
"""

import sys
from typing import Any

NO_DOOR, TAKEN = 69, 75  # EX_UNAVAILABLE, EX_TEMPFAIL of sysexits(3)


def fire(job_id: str, owner_home: str) -> int:
    """Run JOB_ID, whose record OWNER_HOME keeps; the exit status."""
    try:
        from cron import scheduler
        from cron.executions import latest_execution
        from cron.jobs import get_job, use_cron_store
        from cron.scheduler_provider import CronScheduler

        fire_due = CronScheduler.fire_due
    except (ImportError, AttributeError) as error:
        print(f"this Hermes agent cannot run a single job ({error}); 0.19.0 can", file=sys.stderr)
        return NO_DOOR

    class Oscron(CronScheduler):  # type: ignore[misc]  # the agent has no types
        name = "oscron"

        def start(self, stop_event: Any, **options: Any) -> None:
            """Nothing: the operating system fires."""

    ended: list[tuple[bool, str | None, dict[str, Any]]] = []
    mark_job_run = scheduler.mark_job_run

    def mark(job_id: str, success: bool, error: str | None = None, **more: Any) -> None:
        """Record how the run ended. If that fails, the agent calls again with that failure; the first result counts."""
        ended.append((success, error, more))
        success, error, more = ended[0]
        mark_job_run(job_id, success, error, **more)

    scheduler.mark_job_run = mark
    with use_cron_store(owner_home):
        job = get_job(job_id)
        if job is None:
            return TAKEN
        before = latest_execution(job_id)
        try:
            if job.get("enabled", True) and job.get("state") != "paused":
                fire_due(Oscron(), job_id)
            else:  # asked for by hand; the door lets no such job through
                scheduler.run_one_job(job)
        except Exception as error:
            if not ended:
                raise
            print(f"the agent could not record the run: {error}", file=sys.stderr)
            return _status(*ended[0][:2])
        run = latest_execution(job_id)
    if run is None or run == before:
        return TAKEN
    return _status(run["status"] == "completed", run["error"] or f"the agent left the run {run['status']}")


def _status(success: bool, error: str | None) -> int:
    if not success:
        print(error or "the agent does not say why", file=sys.stderr)
    return 0 if success else 1


if __name__ == "__main__":
    sys.exit(fire(*sys.argv[1:]))
