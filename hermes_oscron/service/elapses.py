"""Compare when the system fires the jobs next with their `next_run_at`, after they were armed and for doctor."""

import datetime
from collections.abc import Mapping

from ..barrier import use_each
from ..clock import Clock
from ..jobs.model import Job
from ..schedule.occurrences import next_occurrence
from ..schedulers.plan import plan_of
from ..schedulers.protocol import SECOND, Scheduler


def wrong_elapses(scheduler: Scheduler, jobs: Mapping[str, Job], clock: Clock) -> dict[str, str]:
    """Return a sentence for each of `jobs`, all armed, that the system fires at another time than `next_run_at`.

    A job that is due already is left out: its timer may have elapsed. So is one that fires earlier at an occurrence
    of its schedule: after the clock was set back, `next_run_at` is too late, and the runner starts the job all the
    same. Raises SchedulerError.
    """
    before = clock.now()
    armed = scheduler.next_elapses(list(jobs)) if jobs else {}
    now = clock.now()
    sentences, _ = use_each({instance: jobs[instance] for instance in armed},
                            lambda job: _sentence(job, armed[job.instance], before, now))
    return {instance: sentence for instance, sentence in sentences.items() if sentence}


def _sentence(job: Job, elapse: datetime.datetime | None, before: datetime.datetime, now: datetime.datetime) -> str:
    due = job.next_run_at
    if due is None or due <= now or not job.is_scheduled or (elapse and abs(elapse - due) < SECOND):
        return ""
    plan = plan_of(job, before)
    if plan and elapse and elapse < due and elapse == next_occurrence(plan.schedule, before, plan.zone, plan.phase):
        return ""
    armed = f"at {elapse.astimezone(job.zone):%Y-%m-%d %H:%M:%S %z}" if elapse else "never"
    return (f"systemd would fire it {armed}, but it is due at {due.astimezone(job.zone):%Y-%m-%d %H:%M:%S %z}. Compare "
            f"the time zones: 'timedatectl' shows systemd's, and 'hermes-oscron doctor' the one of the job.")
