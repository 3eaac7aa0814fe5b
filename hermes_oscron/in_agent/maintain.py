"""maintain.py HOME: do for HOME what the agent's own scheduler does beside firing jobs, in the agent's own Python.

With the plugin that scheduler does not run. Every step is optional, because not every version of the agent has it. A
step that fails is in the agent's log, and does not stop the others. Does nothing while the agent's scheduler looks for
due jobs, because it then does the same.
"""

import contextlib
import copy
import fcntl
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

log = logging.getLogger("cron.oscron")


def maintain() -> None:
    """Take the steps. Those that may wait for a network come last, without the lock; they lock what they change."""
    with _tick_lock() as is_ours:
        if not is_ours:
            return
        for step in (_reap_dead_owners, _remove_completed, _pause_half_paused, _restore_slots, _prune_worktrees):
            _try(step)
    for step in (_release_holds, _deliver_pending_chats):
        _try(step)


def _reap_dead_owners() -> None:
    """End the runs in the agent's ledger whose process is gone."""
    from cron.executions import recover_interrupted_executions

    if count := recover_interrupted_executions():
        log.warning("marked %d runs unknown, whose processes are gone", count)


def _remove_completed() -> None:
    """Remove one-shots that completed long ago; one that is running again stays."""
    from cron import jobs

    with _scan() as scan:
        runs = f"{os.environ['HERMES_HOME']}/cron/oscron/runs"
        idle = [record for record in scan.raw_jobs if not os.path.exists(f"{runs}/{record.get('id')}")]
        if jobs._sweep_completed_oneshots(idle, scan.now, removed_ids=scan.removed):
            scan.raw_jobs[:] = [record for record in scan.raw_jobs if record.get("id") not in scan.removed]
            scan.needs_save = True


def _pause_half_paused() -> None:
    """Pause the jobs that are enabled and marked as paused."""
    from cron import jobs

    with _scan() as scan:
        for record in _active(scan):
            if jobs._has_pause_marker(record):
                jobs._self_disable_half_paused(record, scan)


def _restore_slots() -> None:
    """Make jobs due again that a gateway took off the schedule, but did not run before it ended."""
    from cron import jobs

    with _scan() as scan:
        for record in _active(scan):
            if not jobs._has_pause_marker(record):
                jobs._restore_unclaimed_slot(record, scan)


@contextlib.contextmanager
def _scan() -> Iterator[Any]:
    """Yield the agent's scan of all records, under the lock of jobs.json, and save them if it has changed any."""
    from cron import jobs

    with jobs._jobs_lock():
        scan = jobs._DueScan(jobs.load_jobs(), jobs._hermes_now())
        yield scan
        if scan.needs_save:
            jobs.save_jobs(scan.raw_jobs, removed_ids=scan.removed or None)


def _active(scan: Any) -> list[Any]:
    """Return copies of the records in `scan` that are enabled and not completed."""
    from cron import jobs

    return [copy.deepcopy(record) for record in scan.raw_jobs
            if record.get("enabled", True) and not jobs.is_terminal_job(record)]


def _prune_worktrees() -> None:
    """Remove git worktrees that the agent has left."""
    from cron import scheduler
    from hermes_cli.worktree_ops import _prune_stale_worktrees

    for repository in scheduler._worktree_maintenance_repos():
        _prune_stale_worktrees(repository)


def _release_holds() -> None:
    """Release jobs that wait for a provider which accepts requests earlier than it announced."""
    from cron.quota_hold import release_reopened_holds

    release_reopened_holds()


def _deliver_pending_chats() -> None:
    """Deliver the results that wait for a chat to be free."""
    from cron.bot_chat_delivery import drain

    drain()


def _try(step: Callable[[], None]) -> None:
    try:
        step()
    except (ImportError, AttributeError) as error:
        log.debug("%s is not for this version of the agent: %s", step.__name__, error)
    except Exception:
        log.exception("%s failed", step.__name__)


@contextlib.contextmanager
def _tick_lock() -> Iterator[bool]:
    """Hold the lock of the agent's scheduler, if it is free; yield whether it was."""
    with open(f"{os.environ['HERMES_HOME']}/cron/.tick.lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def main(home: str) -> None:
    """Maintain `home`."""
    os.environ["HERMES_HOME"] = home
    with contextlib.suppress(Exception):
        from hermes_logging import setup_logging

        setup_logging(mode="cron")
    maintain()


if __name__ == "__main__":
    main(*sys.argv[1:])
