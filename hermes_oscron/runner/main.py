"""hermes-cron-exec PROFILE:JOB_ID [--trigger manual] [--crontab]: run one job once.

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

from .. import installation
from ..errors import OscronError, describe
from ..files import StateFileError
from ..hermes import gateway, jobs_file
from ..hermes.home import Home, hermes_root, home_of, split_instance
from ..hermes.jobs_file import JobNotFound
from ..jobs.record import SCHEDULED, next_run_of, readable_error, state_of
from ..runs import lock, requests
from ..runs.model import MANUAL, RUN_VARIABLE, SCHEDULE, Result
from .begin import AlreadyRunning, Begun, NotBegun, begin
from .log import accept_any_character, log, log_end, log_start, use_syslog

USAGE = "Usage: hermes-cron-exec PROFILE:JOB_ID [--trigger manual | --settle] [--crontab]"
HELP = f"""{USAGE}

Run one job once, if it is due. systemd timers and crontab lines start this
command; 'hermes-oscron run JOB_ID' runs a job by hand.

  --trigger manual  Run the job now, even if it is paused or not due.
  --settle          Record a run that was cut off.
  --crontab         Log to the syslog, as crontab lines do.
  --version         Print the version and its commit, and exit.
  -h, --help        Print this message, and exit.

Exit status: 0 if the job went well or was not due, 1 if it failed, 2 if it
could not be tried or recorded."""
STOPPED_IN_QUEUE = "stopped by SIGTERM before it had begun: it was queued."
STAYS_DUE = " The job stays due, and the next sync runs it."


def main(argv: list[str] | None = None) -> int:
    """Run the job that `argv` names, or with --settle record how its last run was cut off."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    accept_any_character()
    if arguments in (["-h"], ["--help"]):
        print(HELP)
        return 0
    if arguments == ["--version"]:
        from ..version import version_text

        _import_all()
        print(version_text("hermes-cron-exec"))
        return 0
    from_crontab = "--crontab" in arguments
    if from_crontab:
        arguments.remove("--crontab")
    options = arguments[1:]
    if not arguments or options not in ([], ["--settle"], ["--trigger", MANUAL]):
        print(USAGE, file=sys.stderr)
        return 2
    if from_crontab:
        use_syslog(arguments[0].rpartition(":")[2])
    os.environ.pop(RUN_VARIABLE, None)  # that of a run which has started this one
    is_fire = not options
    try:
        if os.geteuid() == 0:  # typed by root
            from ..account import become_account

            become_account()
        if "HERMES_HOME" not in os.environ:  # typed; units and crontab lines set it
            installation.use_installed_home()
        profile, job_id = split_instance(arguments[0])
        home = home_of(hermes_root(), profile)
        if options == ["--settle"]:
            return _settle(home, job_id)
        return _run(home, job_id, SCHEDULE if is_fire else MANUAL)
    except (ValueError, OscronError, OSError) as error:
        log(f"hermes-cron-exec: {describe(error)}{STAYS_DUE if is_fire else ''}", sys.stderr)
        return 2


def _import_all() -> None:
    """Import all that a run needs, so that `--version` fails if the environment is damaged. Raises ImportError."""
    from ..runs import finish, interrupted, processes  # noqa: F401
    from . import command, process, result, resync  # noqa: F401


def _settle(home: Home, job_id: str) -> int:
    """Record the run of `job_id` that was cut off; if its runner ended before the run began, request a retry.

    Returns 1 if systemd counts the end as a success, as it does for SIGTERM (systemd.service(5), SuccessExitStatus=):
    this makes the unit fail.
    """
    recorded = _record_stop(home, job_id)
    if job_id in lock.abandoned(home):
        from ..runs.interrupted import record_interrupted_runs  # 30 ms, and most runs that failed are recorded
        from .resync import resync

        for job in record_interrupted_runs(home, job_id):
            log_end(job.record, None, readable_error(job.record.get("last_error")))
            resync(home, job)
            recorded = True
    if recorded:
        from .alerts import request_alerts

        request_alerts(home)
    if not recorded:
        try:
            record = jobs_file.find(home, job_id)
        except JobNotFound:
            return 0
        due = next_run_of(record)
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


def _record_stop(home: Home, job_id: str) -> bool:
    """Record the run of `job_id`, and return True, if it was stopped while it was queued, but not by a shutdown."""
    run = lock.left_queued(home, job_id)
    if run is None or os.environ.get("SERVICE_RESULT") != "success":
        return False
    from ..runs.finish import finish
    from ..schedulers.systemd.systemctl import own_systemctl
    from .resync import resync

    run_lock = None if own_systemctl().is_shutting_down() else lock.acquire(home, job_id)
    if run_lock is None:
        return False
    job = finish(home, run._replace(result=Result(time.time(), STOPPED_IN_QUEUE)))
    run_lock.release()
    if job:
        log_end(job.record, None, STOPPED_IN_QUEUE)
        resync(home, job)
    return job is not None


def _run(home: Home, job_id: str, trigger: str) -> int:
    """Run `job_id`, and answer the commands that requested it as soon as the run has begun, or cannot begin."""
    waiting = requests.take(home, job_id)
    try:
        begun = begin(home, job_id, MANUAL if waiting else trigger, requested=bool(waiting),
                      waits=lambda: waiting.answer(begun=True))
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
    log_start(begun.record, begun.run)
    waiting.answer(begun=True)
    return _execute(home, begun)


def _execute(home: Home, begun: Begun) -> int:
    """Execute the job of a run that has begun, and record how it ended. End the processes that it leaves behind."""
    if os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid()):  # systemd.exec(5): a unit's, which systemd ends
        return _execute_job(home, begun, [])
    from ..runs.processes import leftovers_ended

    with leftovers_ended(begun.run) as waiters:
        return _execute_job(home, begun, waiters)


def _execute_job(home: Home, begun: Begun, waiters: list[int]) -> int:
    from .process import JobProcess, ProcessResult, SpawnError

    run, run_lock, command = begun.run, begun.run_lock, begun.command
    process = None
    try:
        if command is None:
            raise SpawnError(begun.error)
        process = JobProcess(command._replace(environment={**command.environment, RUN_VARIABLE: run.mark}))
        from ..runs.processes import with_process_group

        run = with_process_group(run, process.group, process.waiter)
        if process.waiter:
            waiters.append(process.waiter)
        with contextlib.suppress(OSError):  # needed only to kill the job if this runner is gone
            run_lock.write(run)
        from ..hermes import job_store
        from ..runs.entries import enter_begin
        from ..runs.live_output import live_output
        from .alerts import alert_of_begin
        from .result import record_result  # 20 ms, while the job runs

        job = job_store.parse(home, begun.record)
        enter_begin(home, job, run)
        alert_of_begin(home, begun.record)
        timeout, reason = command.timeout, ""
        if job.policy.get("overlap") == "replace":
            from .policy import until_replaced

            timeout, reason = until_replaced(job, timeout)

        with _claims_renewed(home, begun), live_output(home, run.job_id) as copy_to:
            outcome = process.wait(timeout, reason, copy_to)
    except SpawnError as error:
        from .result import record_result

        outcome = ProcessResult("", "", str(error))
    if os.path.isdir(f"{home.state.credentials}/{run.job_id}"):
        from ..runs import credentials

        credentials.remove(home, run.job_id)
    try:
        result = record_result(home, begun.record, run, run_lock, outcome, begun.by_agent,
                               process.is_stopped if process else lambda: False)
    except (StateFileError, OSError) as error:
        log(f"hermes-cron-exec: {describe(error)} The run has ended; its result is in {run_lock.path}, and the next "
            f"sync records it.", sys.stderr)
        run_lock.close()
        return 2
    run_lock.release()
    from .alerts import alert_of_end
    from .resync import resync

    resync(home, result.job, begun.record)
    alert_of_end(home, run, begun.record, result)
    if result.job and result.job.policy and state_of(begun.record) == SCHEDULED:
        from .policy import log_pause

        log_pause(result.job)
    return 1 if result.error else 0


def _claims_renewed(home: Home, begun: Begun) -> contextlib.AbstractContextManager[None]:
    if not begun.by:
        return contextlib.nullcontext()
    return gateway.claims_renewed(home, begun.run.job_id, begun.by, begun.by_agent, begun.is_claimed)


if __name__ == "__main__":
    sys.exit(main())
