"""Runs that ended unrecorded: the runner was killed, or could not read or write jobs.json.

A runner writes the result into the run's own file before it writes jobs.json, so that the result can be recorded later.
"""

from ..files import StateFileError
from ..hermes.home import Home
from ..jobs.model import Job
from . import credentials, live_output, lock
from .finish import after_run, finish
from .model import SCHEDULE, Run
from .processes import kill_leftover_processes


class StillOnCluster(StateFileError):
    """The run may still be in progress on a cluster, which does not answer. It is recorded when that is known."""


def with_unrecorded_runs(home: Home, jobs: list[Job]) -> list[Job]:
    """Return `jobs` of `home` as they will be once the runs that ended unrecorded are recorded. Writes nothing."""
    unrecorded = {run.job_id: run for run in lock.unrecorded(home)}
    return [after_run(job, unrecorded[job.id]) if job.id in unrecorded else job for job in jobs] if unrecorded else jobs


def with_unrecorded_run(home: Home, job: Job) -> Job:
    """Return `job` of `home` as `with_unrecorded_runs` does."""
    return with_unrecorded_runs(home, [job])[0]


def record_interrupted_runs(home: Home, job_id: str | None = None) -> list[Job]:
    """Record every run of `home`, or only of `job_id`, that ended unrecorded; return their jobs.

    Raises StateFileError, OSError.
    """
    recorded = []
    for abandoned in lock.abandoned(home):
        run_lock = lock.acquire(home, abandoned) if job_id in (None, abandoned) else None
        if run_lock is None:
            continue
        try:
            stale = run_lock.stale_run()
            run_lock.mark_ended()
            if stale and (job := finish_stale(home, stale)):
                recorded.append(job)
        except StillOnCluster:
            run_lock.close()
            continue
        except BaseException:
            run_lock.close()
            raise
        run_lock.release()
    return recorded


def finish_stale(home: Home, run: Run) -> Job | None:
    """Record `run`, whose runner is gone, and end what remains of it. The caller holds the run's lock.

    Returns its job, or None if the job was deleted, or was queued and is still due. Raises StateFileError.
    """
    kill_leftover_processes(run)
    credentials.remove(home, run.job_id)
    live_output.remove(home, run.job_id)
    if run.slurm:
        from . import slurm  # only then it is needed

        try:
            slurm.cancel(home, run.slurm)
        except slurm.SlurmError as error:
            raise StillOnCluster(error.message, error.hint) from None
    return None if run.queued and run.trigger == SCHEDULE else finish(home, run)
