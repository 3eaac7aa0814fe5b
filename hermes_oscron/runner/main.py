"""hermes-cron-exec PROFILE:ID [--trigger manual] [--crontab]: run one job once.

A run is a manual one if a command has requested it (runs/requests.py) or if `--trigger manual` is typed. Any other
start, also `systemctl start`, runs the job only if it is due.

Exit status: 0 if the job went well or was not due, 1 if it failed, 2 if it could not be tried or recorded. Every import
at the top delays the start of every job; the other imports wait until it has started.
"""

import gc

gc.disable()  # this process has two dozen modules and no cycles; 2 ms of each start

import contextlib
import os
import sys
import time

from .. import config
from ..errors import describe
from ..files import StateFileError
from ..hermes import gateway, jobs_file
from ..hermes.home import Home, ProfileNotFound, hermes_root, home_of, split_instance
from ..hermes.jobs_file import JobNotFound
from ..jobs.record import COMPLETED, PAUSED, SCHEDULED, Record, instant, state_of
from ..runs import lock, requests
from ..runs.model import MANUAL, SCHEDULE, Run
from .log import log, redirect_output, use_syslog, uses_syslog

USAGE = "Usage: hermes-cron-exec PROFILE:JOB_ID [--trigger manual | --settle] [--crontab]"
JOBS_FILE_TIMEOUT_S = 65.0
"""The time for which a fire waits for a jobs.json that cannot be read, since it may be under repair."""
STAYS_DUE = " The job stays due, and the next sync runs it."


class NotBegun(Exception):
    """The run does not begin. The text gives the reason, and is empty if there is nothing to report."""


class AlreadyRunning(NotBegun):
    """The job has been running for `elapsed` seconds."""

    def __init__(self, job_id: str, elapsed: float) -> None:
        super().__init__(f"{job_id} has been running for {elapsed:.0f} s, and never runs twice at once.")
        self.elapsed = elapsed


def main(argv: list[str] | None = None) -> int:
    """Run the job that `argv` names, or with --settle record how its last run was cut off."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    from_crontab = "--crontab" in arguments
    if from_crontab:
        arguments.remove("--crontab")
    options = arguments[1:]
    if not arguments or options not in ([], ["--settle"], ["--trigger", MANUAL]):
        print(USAGE, file=sys.stderr)
        return 2
    if from_crontab:
        use_syslog(arguments[0].rpartition(":")[2])
    if os.geteuid() == 0:  # typed by root
        from ..account import become_account

        become_account()
    is_fire = not options
    try:
        profile, job_id = split_instance(arguments[0])
        home = home_of(hermes_root(), profile)
        if options == ["--settle"]:
            return _settle(home, job_id)
        return _run(home, job_id, SCHEDULE if is_fire else MANUAL)
    except (ValueError, ProfileNotFound, StateFileError, config.ConfigError, OSError) as error:
        log(f"hermes-cron-exec: {describe(error)}{STAYS_DUE if is_fire else ''}", sys.stderr)
        return 2


def _settle(home: Home, job_id: str) -> int:
    """Record the run of `job_id` that was cut off; if its runner ended before the run began, request a retry.

    Returns 1 if systemd counts the end as a success, as it does for SIGTERM (systemd.service(5), SuccessExitStatus=):
    this makes the unit fail.
    """
    recorded = False
    if job_id in lock.abandoned(home):
        from ..runs.interrupted import record_interrupted_runs  # 30 ms, and most runs that failed are recorded
        from .resync import resync

        for job in record_interrupted_runs(home, job_id):
            resync(home, job)
            recorded = True
    if not recorded:
        try:
            record = jobs_file.find(home, job_id)
        except JobNotFound:
            return 0
        due = instant(record.get("next_run_at"))
        if due is None or due.timestamp() > time.time() or state_of(record) != SCHEDULED:
            return 0  # it was recorded, or no run was due
        how = ", ".join(filter(None, (os.environ.get("SERVICE_RESULT"), os.environ.get("EXIT_STATUS"))))
        again = requests.request_retry(home, job_id)
        log(f"Not run: the runner of {job_id} ended before the run began{f' ({how})' if how else ''}. The job has been "
            f"due since {due.astimezone():%Y-%m-%d %H:%M:%S %Z}; "
            f"{'a sync starts it now' if again else 'this happened before, so the next regular sync starts it'}.")
        if again:
            from .resync import resync

            resync(home, None)
    return 1 if os.environ.get("SERVICE_RESULT") == "success" else 0


def _run(home: Home, job_id: str, trigger: str) -> int:
    """Run `job_id`, and answer the commands that requested it as soon as the run has begun, or cannot begin."""
    waiting = requests.take(home, job_id)
    try:
        before, run, run_lock = _begin(home, job_id, MANUAL if waiting else trigger)
    except NotBegun as reason:
        if str(reason):
            log(f"Skipped: {reason}")
        if isinstance(reason, AlreadyRunning):
            waiting.answer(elapsed=reason.elapsed)
        else:
            waiting.refuse(str(reason))
        return 0
    except Exception as error:
        waiting.refuse(describe(error))
        raise
    waiting.answer(begun=True)
    return _execute(home, before, run, run_lock)


def _begin(home: Home, job_id: str, trigger: str) -> tuple[Record, Run, lock.RunLock]:
    """Take the lock of the run, and record that it begins. Raises NotBegun, StateFileError, OSError."""
    try:
        record = _read_record(home, job_id, trigger)
    except JobNotFound as error:
        raise NotBegun(f"{error} It was deleted.") from None
    if trigger == SCHEDULE:
        _require_due(record, home)
    run_lock = lock.acquire(home, job_id)
    if run_lock is None:
        other = lock.find(home, job_id)
        raise AlreadyRunning(job_id, time.time() - other.started_at if other else 0.0)
    stale = run_lock.stale_run()
    if stale:
        from ..runs.finish import finish

        finish(home, stale)
    try:
        before = jobs_file.find(home, job_id)
        if trigger == SCHEDULE:
            _require_due(before, home)
        run = Run(job_id, time.time(), trigger)
        run_lock.write(run)
        if not gateway.take_turn(home, job_id, trigger == SCHEDULE):
            raise NotBegun(f"the agent's own scheduler has claimed {job_id}.")
    except BaseException as error:
        run_lock.release()  # nothing has begun, and the job stays due
        if isinstance(error, JobNotFound):
            raise NotBegun(f"{error} It was deleted.") from None
        raise
    return before, run, run_lock


def _read_record(home: Home, job_id: str, trigger: str) -> Record:
    """Return the record of `job_id`. Raises JobNotFound, and StateFileError if jobs.json stays unreadable."""
    deadline = time.monotonic() + (JOBS_FILE_TIMEOUT_S if trigger == SCHEDULE else 0)
    while True:
        try:
            return jobs_file.find(home, job_id)
        except StateFileError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _execute(home: Home, record: Record, run: Run, run_lock: lock.RunLock) -> int:
    """Execute the job of `record`, whose `run` has begun, and record how it ended."""
    redirect_output()
    from .command import NoExecutor, command_for
    from .process import JobProcess, ProcessResult, SpawnError

    by_agent, stopped = False, lambda: False
    try:
        settings = config.load(home.root)
        command = command_for(record, home, settings)
        by_agent = command.by_agent
        process = JobProcess(command)
        stopped = process.is_stopped
        from ..runs.processes import with_process_group

        run = with_process_group(run, process.group)
        with contextlib.suppress(OSError):  # needed only to kill the job if this runner is gone
            run_lock.write(run)
        from .result import record_result  # 20 ms, while the job runs

        outcome = process.wait(settings.timeout)
    except (NoExecutor, SpawnError, config.ConfigError) as error:
        from .result import record_result

        outcome = ProcessResult("", "", str(error))
    try:
        result = record_result(home, record, run, run_lock, outcome, by_agent, stopped)
    except (StateFileError, OSError) as error:
        log(f"hermes-cron-exec: {describe(error)} The run has ended; its result is in {run_lock.path}, and the next "
            f"sync records it.", sys.stderr)
        run_lock.close()
        return 2
    run_lock.release()
    from .resync import resync

    resync(home, result.job)
    return 1 if result.error else 0


def _require_due(record: Record, home: Home) -> None:
    """Raise NotBegun unless the job of `record` is due."""
    job_id, state = record["id"], state_of(record)
    if state in (PAUSED, COMPLETED):
        from .resync import resync

        resync(home, None)
        raise NotBegun(f"{job_id} is {state}; 'hermes-oscron run {job_id}' runs it now.")
    due = instant(record.get("next_run_at"))
    if due and int(due.timestamp()) <= time.time():
        return
    import datetime

    from ..hermes.timezone import home_zone
    from ..jobs.due import is_due
    from ..jobs.model import Job

    if is_due(Job.from_record(home.profile, record, home_zone(home)), datetime.datetime.now(datetime.UTC)):
        return
    if uses_syslog():  # a crontab line that covers a schedule starts the runner too often every day
        raise NotBegun
    raise NotBegun(f"{job_id} is not due before {record.get('next_run_at')}: earlier occurrences have run, or came due "
                   f"during a run. 'hermes-oscron run {job_id}' runs it now.")


if __name__ == "__main__":
    sys.exit(main())
