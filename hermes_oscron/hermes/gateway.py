"""The agent's own scheduler, a thread of its gateway: detect it, and agree with it who runs an occurrence.

It reads jobs.json once a minute and takes due jobs by moving `next_run_at`, or by a `run_claim`, under its tick lock,
and a newer one also by a `fire_claim` (claims.py). We take an occurrence in the same way.
"""

import contextlib
import datetime
import os
import time
from collections.abc import Iterator

from ..files import StateFileError, open_regular, try_lock
from ..jobs.record import SCHEDULED, Record, state_of
from .home import Home
from .jobs_file import JobNotFound

HEARTBEAT_MAX_AGE_S = 200.0
"""Three ticks and some. After that the agent also considers its ticker dead (`hermes cron status`)."""
MAX_HEARTBEAT_CHARS = 200
TICK_LOCK_TIMEOUT_S = 2.0
"""A tick holds the lock for milliseconds.

`hermes cron tick` holds it until all jobs that it took have run. After the timeout we go on without the lock, because
by then it takes no further jobs.
"""
RENEWAL_INTERVAL_S = 60.0
"""The agent renews its claims as often."""
RETRY_INTERVAL_S = 1.0


class ClaimedElsewhere(Exception):
    """Another program runs the job, or has run it; the text names it."""


def take_turn(home: Home, job_id: str, by: str, scheduled: bool, by_agent: bool = False) -> None:
    """Claim a run of `job_id` for the process `by`. Raises ClaimedElsewhere, JobNotFound, StateFileError.

    A `scheduled` run must still be due. A manual run of a job that is due takes that occurrence: systemd makes one run
    of a timer's start and a manual start. The agent makes most claims of a run `by_agent` itself.
    """
    from ..jobs import claiming  # 20 ms, before which the job cannot start
    from ..jobs.due import is_due
    from ..jobs.model import Job
    from . import job_store

    def claim(job: Job) -> Job:
        now = datetime.datetime.now(datetime.UTC)
        require_unclaimed(job.record, now)
        due = is_due(job, now)
        if scheduled and not due:
            raise ClaimedElsewhere(f"the agent's own scheduler has claimed {job_id}.")
        if by_agent:
            return claiming.claim_for_agent(job, now, by)
        return claiming.claim(job, now, by, scheduled, occurrence=due and job.is_scheduled)

    with _tick_lock(home):
        job_store.change(home, job_id, claim)


def require_unclaimed(record: Record, now: datetime.datetime) -> None:
    """Raise ClaimedElsewhere if a process runs the job of `record` at `now`."""
    if record.get("fire_claim") or record.get("run_claim"):
        from . import claims  # most records have no claim

        if holder := claims.holder(record, now):
            raise ClaimedElsewhere(f"{holder} has claimed {record['id']} and runs it.")


def is_claimed_by_agent(record: Record) -> bool:
    """Return True if the agent, when it runs the job of `record`, makes every claim itself. See `claim_for_agent`."""
    schedule = record.get("schedule")
    return state_of(record) == SCHEDULED and isinstance(schedule, dict) and schedule.get("kind") != "once"


@contextlib.contextmanager
def claims_renewed(home: Home, job_id: str, by: str, by_agent: bool, is_claimed: bool) -> Iterator[None]:
    """Renew the claims of the process `by` on `job_id` within the block; make them as soon as possible if it has none.

    If jobs.json could not be written, no other program could claim the job either.
    """
    import threading  # the start of the job has imported it

    ended = threading.Event()

    def renew() -> None:
        claimed = is_claimed
        while not ended.wait(RENEWAL_INTERVAL_S if claimed else RETRY_INTERVAL_S):
            from ..jobs import claiming
            from . import job_store

            with contextlib.suppress(StateFileError, JobNotFound, OSError):  # it is tried again
                if claimed:
                    job_store.change(home, job_id,
                                     lambda job: claiming.renew_claims(job, datetime.datetime.now(datetime.UTC), by))
                else:
                    with contextlib.suppress(ClaimedElsewhere):
                        take_turn(home, job_id, by, scheduled=False, by_agent=by_agent)
                    claimed = True

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def take_over(home: Home, now: datetime.datetime) -> None:
    """Claim what the agent's own scheduler would lose at `now`: late one-shots, and occurrences that it never claimed.

    It deletes a one-shot that is 120 s late, and restores an occurrence only when it looks for due jobs again. Raises
    StateFileError, JobNotFound.
    """
    from ..barrier import use_or_none
    from ..jobs import claiming
    from ..jobs.model import Job
    from ..schedule.model import ONCE
    from . import claims, job_store

    def taken_over(job: Job) -> Job:
        if not job.is_scheduled or job.schedule is None:
            return job
        if job.schedule.kind == ONCE:
            late = job.next_run_at and job.next_run_at <= now and not isinstance(job.record.get("run_claim"), dict)
            return claiming.reserve(job, now, claims.owner(claims.RESERVED)) if late else job
        slot = claims.lost_slot(job.record, now)
        return claiming.restore_slot(job, slot) if slot else job

    def unless_it_fails(job: Job) -> Job:
        return use_or_none(job.instance, job, taken_over) or job

    if any(unless_it_fails(job) is not job for job in job_store.read(home)):
        with _tick_lock(home):
            job_store.change_each(home, [job.id for job in job_store.read(home)], unless_it_fails)


def is_alive(home: Home) -> bool:
    """Return True if the gateway of `home` has looked for due jobs recently, and still runs.

    The heartbeat is the time of the last look; agents from 0.22 on add the process that wrote it.
    """
    try:
        with open(_heartbeat(home), encoding="ascii", opener=open_regular) as file:
            looked_at, *writer = file.read(MAX_HEARTBEAT_CHARS).split()
        return 0 <= time.time() - float(looked_at) < HEARTBEAT_MAX_AGE_S and (not writer or _runs(int(writer[0])))
    except (OSError, ValueError, OverflowError):
        return False


def _runs(pid: int) -> bool:
    """Return True if there is a process `pid`. Raises OverflowError if no process can have that number."""
    try:
        os.kill(max(1, pid), 0)  # 0 and negative numbers name groups of processes
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return pid > 0


def remove_heartbeat(home: Home) -> None:
    """Remove the last heartbeat; a gateway that runs writes another within a minute."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_heartbeat(home))


@contextlib.contextmanager
def _tick_lock(home: Home) -> Iterator[None]:
    """Keep the agent's scheduler from taking a job within the block, if its lock is free within TICK_LOCK_TIMEOUT_S."""
    fd = os.open(f"{home.cron_dir}/.tick.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + TICK_LOCK_TIMEOUT_S
        while not try_lock(fd) and time.monotonic() < deadline:
            time.sleep(0.005)
        yield
    finally:
        os.close(fd)


def _heartbeat(home: Home) -> str:
    return f"{home.cron_dir}/ticker_heartbeat"
