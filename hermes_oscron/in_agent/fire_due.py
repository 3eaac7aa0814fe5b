"""fire_due.py JOB_ID OWNER_HOME: run one job by the Hermes agent's own `CronScheduler.fire_due`, in its own Python.

OWNER_HOME has the job's record; `$HERMES_HOME` is where the job runs. The agent claims the job, runs it, saves and
delivers the output, and records all that. Exit status: 0 if the run went well; 1 if not, with the reason on standard
error; 69 if this agent cannot run a single job; 75 if another scheduler has the job. A run keeps its exit status also
if the agent cannot record it, because jobs.json can no longer be read or written.
"""

import sys
from typing import Any

EXIT_UNSUPPORTED, EXIT_CLAIMED_ELSEWHERE = 69, 75  # EX_UNAVAILABLE, EX_TEMPFAIL of sysexits(3)


def run_once(job_id: str, owner_home: str) -> int:
    """Run `job_id`, whose record is in `owner_home`, and return the exit status."""
    try:
        from cron import scheduler
        from cron.executions import latest_execution
        from cron.jobs import get_job, use_cron_store
        from cron.scheduler_provider import CronScheduler

        fire_due = CronScheduler.fire_due
    except (ImportError, AttributeError) as error:
        print(f"this Hermes agent cannot run a single job ({error}); 0.19.0 can", file=sys.stderr)
        return EXIT_UNSUPPORTED

    class Oscron(CronScheduler):  # type: ignore[misc]  # the agent has no types
        name = "oscron"

        def start(self, stop_event: Any, **options: Any) -> None:
            """Do nothing: the operating system fires."""

    ended: list[tuple[bool, str | None, dict[str, Any]]] = []
    mark_job_run = scheduler.mark_job_run

    def mark(job_id: str, success: bool, error: str | None = None, **more: Any) -> None:
        """Record the run as it ended first: if recording fails, the agent calls again to record a failure."""
        ended.append((success, error, more))
        success, error, more = ended[0]
        mark_job_run(job_id, success, error, **more)

    scheduler.mark_job_run = mark
    with use_cron_store(owner_home):
        job = get_job(job_id)
        if job is None:
            return EXIT_CLAIMED_ELSEWHERE
        before = latest_execution(job_id)
        try:
            if job.get("enabled", True) and job.get("state") != "paused":
                fire_due(Oscron(), job_id)
            else:  # a manual run; fire_due refuses such a job
                scheduler.run_one_job(job)
        except Exception as error:
            if not ended:
                raise
            print(f"the agent could not record the run: {error}", file=sys.stderr)
            return _status(*ended[0][:2])
        run = latest_execution(job_id)
    if run is None or run == before:
        return EXIT_CLAIMED_ELSEWHERE
    return _status(run["status"] == "completed", run["error"] or f"the agent left the run {run['status']}")


def _status(success: bool, error: str | None) -> int:
    """Print `error` of a run that failed, and return its exit status."""
    if not success:
        print(error or "the agent gave no reason", file=sys.stderr)
    return 0 if success else 1


if __name__ == "__main__":
    sys.exit(run_once(*sys.argv[1:]))
