"""Request a sync after a run, since its job may be completed or rescheduled.

The runner touches no timer and no crontab itself. A sync waits for other changes of jobs, and possibly for systemd. The
runner must not: it is part of a unit, which systemd may be stopping.
"""

import sys
import time

from ..hermes.home import Home
from ..jobs.model import Job
from ..jobs.record import Record, hold_of
from ..schedulers.active import active_scheduler
from ..schedulers.protocol import SchedulerError
from .log import log


def resync(home: Home, job: Job | None, before: Record | None = None) -> None:
    """Request the sync that arms, or disarms, `job`. `before` is its record before the run.

    With crontab only a job that no longer fires needs one, or whose hold has begun or ended. With systemd it is left
    out if all jobs are armed as they are, unless the policy has changed: the unit of a run keeps its limits. A job that
    is still due, and None, request it in any case.
    """
    kind = active_scheduler(home.root)
    is_due = job is not None and _is_due(job)
    try:
        if kind == "crontab" and (job is None or not job.is_scheduled or hold_of(job.record) or hold_of(before or {})
                                  or is_due):
            _sync_crontab(home.root)
        elif kind == "systemd":
            changed = job is not None and before is not None and before.get("policy") != job.record.get("policy")
            _request_sync(unless_in_sync=job is not None and not changed and not is_due)
    except SchedulerError as error:
        log(f"{error} 'hermes-oscron sync' repairs it.", sys.stderr)


def _is_due(job: Job) -> bool:
    """Return True if `job` is due again already, by its policy, so that no timer starts it."""
    due = job.next_run_at if job.policy and job.is_scheduled else None
    return due is not None and due.timestamp() <= time.time()


def _sync_crontab(root: str) -> None:
    from ..schedulers import spawn
    from ..schedulers.crontab import launchers

    spawn.start_detached([f"{launchers.folder(root)}/{launchers.CLI}", "sync"])


def _request_sync(unless_in_sync: bool) -> None:
    from ..schedulers.systemd.systemctl import own_systemctl

    own_systemctl().request_sync(unless_in_sync)
