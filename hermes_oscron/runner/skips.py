"""Occurrences that do not run by the policy of the job: on days that it excludes, and while its budget is exhausted."""

import datetime
from collections.abc import Callable

from ..hermes import job_store
from ..hermes.home import Home
from ..jobs import budget, exclusions
from ..jobs.model import Job
from ..jobs.record import hold_of
from .begin import NotBegun
from .environment import NoExecutor
from .policy import excluded_days, used_of_budget


def require_wanted(home: Home, job_id: str) -> None:
    """Skip an occurrence of `job_id` that its policy does not want, and raise NotBegun unless a later one may begin.

    If the policy cannot be applied, as when a file of days cannot be read, the run begins, and fails with that reason.
    """
    now, job = datetime.datetime.now(datetime.UTC), job_store.find(home, job_id)
    try:
        if exclusions.KEYS & job.policy.keys():
            excluded = excluded_days(job.policy)
            job = _skip(home, job, now, lambda job: exclusions.skip_excluded(job, now, excluded))
        if limit := budget.budget_of(job, now):
            used = used_of_budget(home, job_id, limit)
            _skip(home, job, now, lambda job: budget.skip_exhausted(job, now, limit, used))
    except NoExecutor:
        return


def _skip(home: Home, job: Job, now: datetime.datetime, skipping: Callable[[Job], tuple[Job, str]]) -> Job:
    """Enter that the occurrence of `job` is skipped, if it is by `skipping`, and return the job as it is due then.

    Raises NotBegun if it is no longer due.
    """
    _, reason = skipping(job)
    if not reason:
        return job
    from ..runs.entries import enter_not_run
    from .resync import resync

    hold = hold_of(job.record)
    due = hold.due if hold and hold.retry else job.next_run_at  # the time of a retry has the row of the run that failed
    if due:
        enter_not_run(home, job.id, str(job.record.get("name") or ""), due.timestamp(), reason)
    if budget.exhausted_since(reason):
        from .alerts import request_alerts

        request_alerts(home)
    job = job_store.change(home, job.id, lambda job: skipping(job)[0])
    if job.next_run_at and job.next_run_at <= now:
        return job
    if not job.is_scheduled:
        resync(home, None)
    raise NotBegun(f"{reason} {job.id} is due next at {job.record['next_run_at'] or 'no time'}.")
