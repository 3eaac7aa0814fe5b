"""The begin of a run: whether it may begin, its lock, its command and its claim.

It is part of the start of every job, so its imports at the top are few.
"""

import contextlib
import datetime
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .. import config
from ..files import StateFileError, touch
from ..hermes import agent_settings, claims, gateway, jobs_file, timekeeper
from ..hermes.emergency_stop import paused
from ..hermes.home import Home
from ..hermes.jobs_file import JobNotFound
from ..jobs.record import RETRY_FIELD, SCHEDULED, Record, hold_of, is_used_up, next_run_of, state_of
from ..runs import lock
from ..runs.model import SCHEDULE, Run
from ..state import State
from .log import redirect_output, uses_syslog

if TYPE_CHECKING:
    from .cluster import Place
    from .process import Command

JOBS_FILE_TIMEOUT_S = 65.0
"""The time for which a fire waits for a jobs.json that cannot be read, since it may be under repair."""
MIN_DEADLINE_S = 59.0
"""No policy makes a start too late before this."""
LATE_S = 120.0
"""A job that is due for longer than this may have missed its time; see `due.is_missed`."""
CAUGHT_UP_S = 1.0
"""A job that is due for less than this has not missed its time."""


class NotBegun(Exception):
    """The run does not begin. The text gives the reason, and is empty if there is nothing to report."""


class AlreadyRunning(NotBegun):
    """The job has been running, or `queued`, for `elapsed` seconds."""

    def __init__(self, job_id: str, elapsed: float, queued: bool = False) -> None:
        state = "queued" if queued else "running"
        super().__init__(f"{job_id} has been {state} for {elapsed:.0f} s, and never runs twice at once.")
        self.elapsed = elapsed


class Begun(NamedTuple):
    """A run that has begun, of the job in `record`. `by` claims it; it is empty if only the agent does.

    Not `is_claimed`: jobs.json could not be written.
    """

    record: Record
    run: Run
    run_lock: lock.RunLock
    command: "Command | None"
    error: str
    by: str
    is_claimed: bool

    @property
    def by_agent(self) -> bool:
        return self.command is not None and self.command.by_agent


def begin(home: Home, job_id: str, trigger: str, requested: bool, waits: Callable[[], object]) -> Begun:
    """Take the lock of the run, record that it begins, and claim it. Raises NotBegun, StateFileError, OSError.

    Only a run that a command has `requested` begins while Hermes is paused; the command has checked that. `waits` is
    called if the run is queued on a cluster, which may be for hours.
    The run is on the disk before it is claimed: after the claim, only the run's file shows that the run has not ended.
    """
    try:
        record = _read_record(home, job_id, trigger)
    except JobNotFound as error:
        raise NotBegun(f"{error} It was deleted.") from None
    if trigger == SCHEDULE:
        _require_due(record, home)
    if not requested:
        _require_not_paused(home, record, trigger)
    run_lock = lock.acquire(home, job_id)
    if run_lock is None:
        _require_not_running(home, job_id)
        raise AlreadyRunning(job_id, 0.0)
    stale = run_lock.stale_run()
    if stale:
        from ..runs.interrupted import finish_stale

        finish_stale(home, stale)
    waited, queued_at, place = False, 0.0, None
    try:
        if trigger == SCHEDULE:
            waited = _wait_for_network(home, record)
            since = time.time()
            from .turn import wait

            if wait(home, record, run_lock):
                waited, queued_at = True, since
        if place := _place(home, record, run_lock, trigger, waits):
            waited, queued_at = True, queued_at or place.queued_at
        if trigger == SCHEDULE:
            _require_not_paused(home, record, trigger)  # it may have been since
        before = jobs_file.find(home, job_id)
        if trigger == SCHEDULE:
            _require_due(before, home, run_lock)
        gateway.require_unclaimed(before, datetime.datetime.now(datetime.UTC))
        run = _run(before, trigger, queued_at, place)
        run_lock.write(run, durable=True)
        command, reason = _command(home, before, trigger == SCHEDULE, place)
        begun = Begun(before, run, run_lock, command, reason, by="", is_claimed=True)
        if begun.by_agent and trigger != SCHEDULE:
            _require_runs_left(before)
        if begun.by_agent and gateway.is_claimed_by_agent(before):
            return begun
        begun = begun._replace(by=claims.owner(run.started_at))
        try:
            gateway.take_turn(home, job_id, begun.by, trigger == SCHEDULE, begun.by_agent)
        except (StateFileError, OSError):
            return begun._replace(is_claimed=False)
        return begun
    except BaseException as error:
        if place:
            place.give_back()
        if os.path.isdir(f"{home.state.credentials}/{job_id}"):
            from ..runs import credentials

            credentials.remove(home, job_id)
        run_lock.release()  # nothing has begun, and the job stays due
        if waited:  # a sync in that time has left the timer as it was
            from .resync import resync

            resync(home, None)
        if isinstance(error, JobNotFound):
            raise NotBegun(f"{error} It was deleted.") from None
        if isinstance(error, gateway.ClaimedElsewhere):
            raise NotBegun(str(error)) from None
        raise


def _run(record: Record, trigger: str, queued_at: float, place: "Place | None") -> Run:
    """Return the run of the job of `record` that begins now. It answers the occurrence that is due, if one is."""
    due, now = next_run_of(record), time.time()
    is_due = due and due.timestamp() <= now and state_of(record) == SCHEDULED
    run = Run(record["id"], now, trigger, queued_at=queued_at)
    if due and is_due:
        hold = hold_of(record) if RETRY_FIELD in record else None
        retry, due = (hold.retry, hold.due or due) if hold else (0, due)
        run = run._replace(due=due.timestamp(), retry=retry)
    if place and (there := place.allocation):
        run = run._replace(slurm=there.name, node=there.node, slurm_job=there.job)
    return run


def _command(home: Home, record: Record, scheduled: bool, place: "Place | None") -> "tuple[Command | None, str]":
    """Return the command of the job of `record`, or else why it has none; then its `place` is given back."""
    redirect_output()
    if place:
        command, reason = (None, place.error) if place.error else _command(home, record, scheduled, None)
        if command is None:
            place.give_back()
            return None, reason
        return place.with_command(command), ""
    from .command import command_for
    from .environment import NoExecutor

    try:
        return command_for(record, home, config.load(home.root), scheduled), ""
    except (NoExecutor, config.ConfigError) as error:
        return None, str(error)


def _require_runs_left(record: Record) -> None:
    """Raise NotBegun if `record` is of a one-shot that has had its runs: the agent would remove it instead."""
    if is_used_up(record):
        raise NotBegun(f"{record['id']} runs once and has run, so the agent does not run it again. "
                       f"'hermes-oscron update --schedule TIME {record['id']}' schedules it again.")


def _require_not_running(home: Home, job_id: str) -> None:
    """Raise AlreadyRunning if a run of `job_id` has begun."""
    if other := lock.find(home, job_id):
        raise AlreadyRunning(job_id, time.time() - other.started_at, other.queued)


def _wait_for_network(home: Home, record: Record) -> bool:
    """Wait for the network if the job of `record` was missed while the machine was off or asleep; return True if so.

    A job that waits has the lock of its run.
    """
    due = next_run_of(record)
    late_s = time.time() - due.timestamp() if due else 0.0
    if late_s < CAUGHT_UP_S:
        return False
    from .network import wait_if_woken

    try:
        return wait_if_woken(record, late_s, config.load(home.root))
    except config.ConfigError:  # the run fails with it
        return False


def _place(home: Home, record: Record, run_lock: lock.RunLock, trigger: str,
           waits: Callable[[], object]) -> "Place | None":
    """Wait for the place of the run on a cluster; None if the job of `record` runs on this machine."""
    with contextlib.suppress(config.ConfigError):  # the run fails with it
        settings = config.load(home.root)
        if record.get("policy") or settings.policy_of(home.profile):
            from .cluster import place_of

            return place_of(home, record, settings, run_lock, trigger, waits)
    return None


def _require_not_paused(home: Home, record: Record, trigger: str) -> None:
    """Raise NotBegun if `hermes pause` holds all of Hermes."""
    if sentence := paused(home):
        if trigger == SCHEDULE:
            with contextlib.suppress(OSError):  # it stays due all the same
                touch(home.state.refused)
            if due := next_run_of(record):
                from ..runs.accounting import PAUSED
                from ..runs.entries import enter_not_run

                enter_not_run(home, record["id"], str(record.get("name") or ""), due.timestamp(), PAUSED)
        remedy = ("The job stays due, and runs then." if trigger == SCHEDULE else
                  f"'hermes-oscron run --force {record['id']}' runs it all the same.")
        raise NotBegun(f"{sentence} {remedy}")


def _read_record(home: Home, job_id: str, trigger: str) -> Record:
    """Return the record of `job_id`. Raises JobNotFound, and StateFileError if jobs.json stays unreadable."""
    deadline = time.monotonic() + (JOBS_FILE_TIMEOUT_S if trigger == SCHEDULE else 0)
    while True:
        try:
            return jobs_file.find(home, job_id)
        except StateFileError as error:
            if isinstance(error, jobs_file.SeparateState) or time.monotonic() > deadline:
                raise
            time.sleep(1)


def _require_due(record: Record, home: Home, run_lock: lock.RunLock | None = None) -> None:
    """Raise NotBegun unless the job of `record` is due, and AlreadyRunning if it is not because a run has begun.

    `run_lock` is the lock of the run, if it is held.
    """
    job_id, state = record["id"], state_of(record)
    if os.path.exists(State(home.root).disarmed):
        raise NotBegun("the jobs are disarmed; 'hermes-oscron arm' arms them again.")
    if other := timekeeper.other_timekeeper(home.root):
        raise NotBegun(timekeeper.sentence_of(other, home.root))
    is_claimed = record.get("run_claim") or record.get("fire_claim")  # a run counts when it begins
    if state != SCHEDULED or (is_used_up(record) and not is_claimed):
        from .resync import resync

        resync(home, None)
        state = state if state != SCHEDULED else "used up: it has had all its runs"
        raise NotBegun(f"{job_id} is {state}; 'hermes-oscron run {job_id}' runs it now.")
    due = next_run_of(record)
    if due and int(due.timestamp()) <= time.time():
        late_s = time.time() - due.timestamp()
        if late_s > LATE_S or (late_s > MIN_DEADLINE_S and _has_policy(record, home)):
            _require_not_missed(job_id, home, waited=run_lock is not None)
        if not run_lock and _has_policy(record, home):
            from .skips import require_wanted

            require_wanted(home, job_id)
        return
    if not run_lock:
        _require_not_running(home, job_id)
    from ..hermes import job_store
    from ..jobs.due import is_due

    if is_due(job_store.parse(home, record), datetime.datetime.now(datetime.UTC)):
        return
    if uses_syslog():  # a crontab line that covers a schedule starts the runner too often every day
        raise NotBegun
    raise NotBegun(f"{job_id} is not due before {record.get('next_run_at')}: earlier occurrences have run, or came due "
                   f"during a run. 'hermes-oscron run {job_id}' runs it now.")


def _has_policy(record: Record, home: Home) -> bool:
    """Return True if the job of `record` has a policy of its own or by default."""
    return bool(record.get("policy") or config.policy_of(home.root, home.profile))


def _require_not_missed(job_id: str, home: Home, waited: bool) -> None:
    """Skip an occurrence that was missed, or is too late, and raise NotBegun unless a later one may begin.

    The policy of the job decides, or else `cron.catch_up_missed` of the agent. A job that has `waited` has its lock.
    """
    from ..hermes import job_store
    from ..jobs.missed import skip_missed

    now, job = datetime.datetime.now(datetime.UTC), job_store.find(home, job_id)
    catches_up = bool(waited or job.policy.get("catch_up")) or agent_settings.catches_up(home)
    if skip_missed(job, now, catches_up, waited) is job:
        return
    from ..runs.accounting import NO_CATCH_UP, TOO_LATE
    from ..runs.entries import enter_decided

    job = job_store.change(home, job_id, lambda job: skip_missed(job, now, catches_up, waited))
    enter_decided(home, job, now, TOO_LATE if catches_up else NO_CATCH_UP)
    is_due = job.next_run_at is not None and job.next_run_at <= now
    if is_due and not waited:
        return
    if is_due or not job.is_scheduled:
        from .resync import resync

        resync(home, None)
    reason = "is too late to begin, by its policy" if catches_up else ("missed its time, and cron.catch_up_missed is "
                                                                       "false")
    raise NotBegun(f"{job_id} {reason}; it is due next at {job.record['next_run_at'] or 'no time'}.")
