"""fire_due.py JOB_ID OWNER_HOME [NEXT_RUN_AT]: run one job once as the Hermes agent does, in the agent's own Python.

OWNER_HOME has the job's record; `$HERMES_HOME` is where the job runs. With NEXT_RUN_AT, it is a scheduled run, which is
skipped if the record has another `next_run_at` by now; "" is not compared. Without it, it is a manual run. The agent
claims the job, runs it, saves and delivers the output, and records all that. Exit status: 0 if the run went well; 1 if
not, with the reason on standard error; 69 if this agent cannot run a single job; 75 if another program has claimed the
job, or has run it; 120 if the output cannot be written. A run keeps its exit status also if the agent cannot record it,
because jobs.json can no longer be read or written.
"""

import atexit
import contextlib
import fcntl
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

EXIT_UNSUPPORTED, EXIT_CLAIMED_ELSEWHERE = 69, 75  # EX_UNAVAILABLE, EX_TEMPFAIL of sysexits(3)
EXIT_UNFLUSHED = 120  # as Python's (sys.exit)
RUN_VARIABLE = "HERMES_JOB_RUN"
TICK_LOCK_TIMEOUT_S = 2.0
"""A tick of the agent holds the lock for milliseconds; `hermes cron tick` longer, but by then it takes no other job."""


def run_once(job_id: str, owner_home: str, next_run_at: str | None = None) -> int:
    """Run `job_id`, whose record is in `owner_home`, and return the exit status."""
    try:
        from cron import scheduler
        from cron.executions import create_execution, list_executions
        from cron.jobs import claim_job_for_fire, get_job, use_cron_store
        from cron.scheduler import run_one_job
        from cron.scheduler_provider import CronScheduler
    except ImportError as error:
        print(f"this Hermes agent cannot run a single job ({error}); 0.19.0 can", file=sys.stderr)
        return EXIT_UNSUPPORTED

    class Oscron(CronScheduler):  # type: ignore[misc]  # the agent has no types
        name = "oscron"

        def start(self, stop_event: Any, **options: Any) -> None:
            """Do nothing: the operating system fires."""

    with contextlib.suppress(Exception):  # a run that leaves no trace in the agent's log is still a run
        from hermes_logging import setup_logging

        setup_logging(mode="cron")

    def claim(job: dict[str, Any]) -> dict[str, Any] | None:
        """Return `job` as it is claimed; None if another program has it."""
        if not job.get("enabled", True) or job.get("state") == "paused" or _is_claimed_by_runner(job):
            execution = create_execution(job_id, source=Oscron.name)
            return {**job, "execution_id": execution["id"]}  # a manual run, which the runner has claimed
        if hasattr(CronScheduler, "claim_fire"):
            claimed: dict[str, Any] | None = Oscron().claim_fire(job_id, **_manual(CronScheduler.claim_fire))
            return claimed
        found = get_job(job_id) if claim_job_for_fire(job_id, **_manual(claim_job_for_fire)) else None
        return found and {**found, "execution_id": create_execution(job_id, source=Oscron.name)["id"]}

    def _manual(function: Callable[..., Any]) -> dict[str, bool]:
        """Return the option by which `function`, if it has one, makes a manual claim, which uses up no occurrence."""
        takes_it = next_run_at is None and "manual" in inspect.signature(function).parameters
        return {"manual": True} if takes_it else {}

    outcome = _Outcome(scheduler)
    with use_cron_store(owner_home):
        with _tick_lock(owner_home):
            job = get_job(job_id)
            if job is None or (next_run_at and str(job.get("next_run_at")) != next_run_at):
                return EXIT_CLAIMED_ELSEWHERE
            job = claim(job)
        if job is None:
            return EXIT_CLAIMED_ELSEWHERE
        try:
            if hasattr(CronScheduler, "fire_claimed"):
                Oscron().fire_claimed(job)
            else:
                run_one_job(job)
        except Exception:
            if not outcome.unrecorded:
                raise
        if outcome.unrecorded:
            print(f"the agent could not record the run: {outcome.unrecorded}", file=sys.stderr)
            return _status(*outcome.as_it_ended(job_id))
        runs = [run for run in list_executions(job_id=job_id, limit=500) if run["id"] == job["execution_id"]]
    if outcome.marks and (not runs or runs[0]["status"] == "unknown"):  # a machine without this process gave it up
        return _status(*outcome.marks[0][:2])
    if not runs:
        return _status(False, "the agent kept no record of the run")
    return _status(runs[0]["status"] == "completed", runs[0]["error"] or f"the agent left the run {runs[0]['status']}")


def _is_claimed_by_runner(job: dict[str, Any]) -> bool:
    """Return True if the runner of this run has claimed `job`, which was paused then, and may have been resumed since.

    The owner of the claim and the mark of the run end with the time at which the run began.
    """
    claim, began = job.get("fire_claim"), os.environ.get(RUN_VARIABLE, "").rpartition("@")[2]
    return isinstance(claim, dict) and began != "" and str(claim.get("by")).rpartition(":")[2] == began


class _Outcome:
    """The end of a run, noted at three calls of the agent's `scheduler` module.

    If jobs.json can no longer be read when a run ends, 0.19.0 fails to record it, and 0.22.2 fails before it saves the
    page; both then call that a failure of the run, which it is not.
    """

    def __init__(self, scheduler: Any) -> None:
        self.marks: list[tuple[bool, str | None, dict[str, Any]]] = []
        self.unrecorded: Exception | None = None
        self._result: tuple[bool, str, str, str | None] | None = None
        self._is_saved = False
        self._run_job, scheduler.run_job = scheduler.run_job, self._note_result
        self._save_job_output, scheduler.save_job_output = scheduler.save_job_output, self._note_page
        self._mark_job_run, scheduler.mark_job_run = scheduler.mark_job_run, self._mark

    def as_it_ended(self, job_id: str) -> tuple[bool, str | None]:
        """Return success and error of a run that was not recorded, and save its page if that was not done."""
        if self._is_saved or self._result is None:
            return self.marks[0][:2]
        success, page, _, error = self._result
        self._save_job_output(job_id, page)
        return success, error

    def _note_result(self, *arguments: Any, **options: Any) -> Any:
        self._result = self._run_job(*arguments, **options)
        return self._result

    def _note_page(self, *arguments: Any, **options: Any) -> Any:
        path = self._save_job_output(*arguments, **options)
        self._is_saved = True
        return path

    def _mark(self, job_id: str, success: bool, error: str | None = None, **more: Any) -> Any:
        """Record the run as it ended first: if recording fails, the agent calls again to record a failure."""
        self.marks.append((success, error, more))
        success, error, more = self.marks[0]
        try:
            return self._mark_job_run(job_id, success, error, **more)
        except Exception as problem:
            self.unrecorded = problem
            raise


@contextlib.contextmanager
def _tick_lock(home: str) -> Iterator[None]:
    """Keep the agent's scheduler from taking a job within the block, if its lock is free within TICK_LOCK_TIMEOUT_S."""
    fd = os.open(f"{home}/cron/.tick.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + TICK_LOCK_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.005)
        yield
    finally:
        os.close(fd)


def _status(success: bool, error: str | None) -> int:
    """Print `error` of a run that failed, and return its exit status."""
    if not success:
        print(error or "the agent gave no reason", file=sys.stderr)
    return 0 if success else 1


def _exit(status: int) -> NoReturn:
    """End this process with `status` as Python does, except for its last step, which destroys the interpreter.

    Before Python 3.14, a thread of a native library that calls Python in that step is unwound. Threads in Rust, such as
    those of nemo_relay in 0.22, crash by that, and a run that has ended well would count as killed by SIGSEGV.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for all threads but daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if not getattr(stream, "closed", stream is None):
                stream.flush()
        except Exception as error:
            status = EXIT_UNFLUSHED
            with contextlib.suppress(Exception):
                print(f"the output could not be written: {error}", file=sys.stderr)
    os._exit(status)


if __name__ == "__main__":
    try:
        ended = run_once(*sys.argv[1:])
    except Exception:
        sys.excepthook(*sys.exc_info())
        ended = 1
    _exit(ended)
