"""hermes-cron-exec PROFILE:ID [--trigger manual] [--crontab]: run one job once.

A run is a manual one if a verb has requested it (hermes/requests.py) or if `--trigger manual` is typed. Any other
start, also `systemctl start`, runs the job only if it is due.

Exit status: 0 when the job went well or was not due, 1 when it failed, 2 when it could not be tried or recorded.
What is imported at the top is paid at every fire before the job starts; the rest waits until it has.
"""

import gc

gc.disable()  # for a process of two dozen modules and no cycles; 2 ms of each start

import contextlib
import datetime
import os
import sys
import time

from ..errors import describe
from ..hermes import claims, config, homes, requests, runs, store
from ..hermes.homes import Home
from ..hermes.store import Record
from . import voice
from .voice import say

USAGE = "Usage: hermes-cron-exec PROFILE:JOB_ID [--trigger manual | --settle] [--crontab]"
SCHEDULE, MANUAL = "schedule", "manual"
PATIENCE = 65.0
"""Seconds that a fire waits for a jobs.json that cannot be read."""
STAYS_DUE = " The job stays due, and the next sync runs it."


class NotBegun(Exception):
    """The run does not begin; the text says why, and is empty if nobody needs to know."""


class AlreadyRunning(NotBegun):
    """The job has been running for `elapsed` seconds."""

    def __init__(self, job_id: str, elapsed: float) -> None:
        super().__init__(f"{job_id} has been running for {elapsed:.0f} s, and never runs twice at once.")
        self.elapsed = elapsed


def main(argv: list[str] | None = None) -> int:
    """Run the job that ARGV names, or with --settle record how its last run was cut off."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    from_crontab = "--crontab" in arguments
    if from_crontab:
        arguments.remove("--crontab")
    options = arguments[1:]
    if not arguments or options not in ([], ["--settle"], ["--trigger", MANUAL]):
        print(USAGE, file=sys.stderr)
        return 2
    if from_crontab:
        voice.use_syslog(arguments[0].rpartition(":")[2])
    if os.geteuid() == 0:  # typed by root
        from ..installation import become_account

        become_account()
    trigger = None
    try:
        profile, job_id = homes.split_instance(arguments[0])
        home = homes.home(homes.root(), profile)
        if options == ["--settle"]:
            return _settle(home, job_id)
        trigger = MANUAL if options else SCHEDULE
        return _run(home, job_id, trigger)
    except (ValueError, homes.UnknownProfile, store.StoreError, config.ConfigError, OSError) as error:
        say(f"hermes-cron-exec: {describe(error)}{STAYS_DUE if trigger == SCHEDULE else ''}", sys.stderr)
        return 2


def _settle(home: Home, job_id: str) -> int:
    """Record the run of `job_id` that was cut off; if its runner ended before the run began, request a retry.

    Returns 1 where systemd takes the end for a good one, as it does a SIGTERM (systemd.service(5), SuccessExitStatus=),
    so that the unit has failed.
    """
    from ..hermes import records
    from ..hermes.endings import settle
    from .rearm import rearm

    cut_off = settle(home, job_id)
    for record in cut_off:
        rearm(home, record)
    if not cut_off:
        try:
            record = store.find(home, job_id)
        except store.NoSuchJob:
            return 0
        due = records.instant(record.get("next_run_at"))
        if due is None or due.timestamp() > time.time() or records.state(record) != records.SCHEDULED:
            return 0  # it was recorded, or nothing was to run
        how = ", ".join(filter(None, (os.environ.get("SERVICE_RESULT"), os.environ.get("EXIT_STATUS"))))
        again = requests.request_retry(home, job_id)
        say(f"Not run: the runner of {job_id} ended before the run began{f' ({how})' if how else ''}. The job is due "
            f"since {due.astimezone():%Y-%m-%d %H:%M:%S %Z}; "
            f"{'a sync starts it now' if again else 'this happened before, so the next regular sync starts it'}.")
        if again:
            rearm(home, record)
    return 1 if os.environ.get("SERVICE_RESULT") == "success" else 0


def _found(home: Home, job_id: str, trigger: str) -> Record:
    """The record of JOB_ID. Raises NoSuchJob, and StoreError where jobs.json cannot be read.

    Somebody may be mending it, so a fire waits for a while.
    """
    deadline = time.monotonic() + (PATIENCE if trigger == SCHEDULE else 0)
    while True:
        try:
            return store.find(home, job_id)
        except store.StoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _run(home: Home, job_id: str, trigger: str) -> int:
    """Run `job_id`, and answer those who requested it as soon as the run has begun, or cannot begin."""
    waiting = requests.take(home, job_id)
    try:
        before, run, claim = _begin(home, job_id, MANUAL if waiting else trigger)
    except NotBegun as reason:
        if str(reason):
            say(f"Skipped: {reason}")
        if isinstance(reason, AlreadyRunning):
            waiting.answer(elapsed=reason.elapsed)
        else:
            waiting.refuse(str(reason))
        return 0
    except Exception as error:
        waiting.refuse(describe(error))
        raise
    waiting.answer(begun=True)
    return _run_begun(home, before, run, claim)


def _begin(home: Home, job_id: str, trigger: str) -> tuple[Record, runs.Run, runs.Claim]:
    """Claim the job and write down that its run begins. Raises NotBegun, StoreError, OSError."""
    try:
        record = _found(home, job_id, trigger)
    except store.NoSuchJob as error:
        raise NotBegun(f"{error} It was deleted.") from None
    if trigger == SCHEDULE:
        _require_due(record, home)
    claim = runs.claim(home, job_id)
    if claim is None:
        other = runs.find(home, job_id)
        raise AlreadyRunning(job_id, time.time() - other.started_at if other else 0.0)
    left = claim.left_behind()
    if left:
        from ..hermes.endings import record_end

        record_end(home, left)
    try:
        before = store.find(home, job_id)
        if trigger == SCHEDULE:
            _require_due(before, home)
        run = runs.Run(job_id, time.time(), trigger)
        claim.begin(run)
        if not claims.take(home, job_id, trigger == SCHEDULE):
            raise NotBegun(f"the agent's own scheduler has {job_id}.")
    except BaseException as error:
        claim.release()  # nothing has begun, and the job stays due
        if isinstance(error, store.NoSuchJob):
            raise NotBegun(f"{error} It was deleted.") from None
        raise
    return before, run, claim


def _run_begun(home: Home, before: Record, run: runs.Run, claim: runs.Claim) -> int:
    """Run the job of BEFORE, whose RUN has begun, and record it."""
    voice.pass_on()
    from .command import NoCommand, command_for
    from .execute import CannotStart, Outcome, Running

    by_agent, is_stopped = False, lambda: False
    try:
        settings = config.load(home.root)
        command = command_for(before, home, settings)
        by_agent = command.by_agent
        running = Running(command)
        is_stopped = running.is_stopped
        run = runs.with_group(run, running.group)
        with contextlib.suppress(OSError):  # it is for whoever has to end the job in our place
            claim.begin(run)
        from .conclude import conclude  # 20 ms, while the job runs

        outcome = running.wait(settings.timeout)
    except (NoCommand, CannotStart, config.ConfigError) as error:
        from .conclude import conclude

        outcome = Outcome("", "", str(error))
    try:
        conclusion = conclude(home, before, run, claim, outcome, by_agent, is_stopped)
    except (store.StoreError, OSError) as error:
        say(f"hermes-cron-exec: {describe(error)} The run has ended; its result waits in {claim.path}, and the next "
            f"sync records it.", sys.stderr)
        claim.abandon()
        return 2
    claim.release()
    from .rearm import rearm

    rearm(home, conclusion.record)
    return 1 if conclusion.error else 0


def _require_due(record: Record, home: Home) -> None:
    """Raise NotBegun unless the job of `record` is due."""
    job_id = record["id"]
    if record.get("enabled", True) is False or record.get("state") in ("paused", "completed"):
        from .rearm import rearm

        rearm(home, record)
        raise NotBegun(f"{job_id} is {record.get('state') or 'paused'}; 'hermes-oscron run {job_id}' runs it now.")
    written = record.get("next_run_at")
    if isinstance(written, str) and _is_past(written):
        return
    from ..hermes import records

    if records.is_due(record, datetime.datetime.now(datetime.UTC), homes.timezone(home)):
        return
    if voice.is_syslog():  # to a crontab line that covers a schedule it is an everyday matter
        raise NotBegun
    raise NotBegun(f"{job_id} is not due before {written}; what fell due since was answered by the last run or while "
                   f"it went on. 'hermes-oscron run {job_id}' runs it now.")


def _is_past(written: str) -> bool:
    try:
        return int(datetime.datetime.fromisoformat(written).timestamp()) <= time.time()
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
