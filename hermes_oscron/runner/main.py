"""hermes-cron-exec PROFILE:ID [--trigger manual] [--crontab]: run one job once.

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
from ..hermes import claims, config, homes, runs, store
from ..hermes.homes import Home
from ..hermes.store import Record
from . import voice
from .voice import say

USAGE = "Usage: hermes-cron-exec PROFILE:JOB_ID [--trigger manual | --settle] [--crontab]"
SCHEDULE, MANUAL = "schedule", "manual"
PATIENCE = 65.0
"""Seconds that a fire waits for a jobs.json that cannot be read."""
STAYS_DUE = " The job stays due, and the next sync runs it."


def main(argv: list[str] | None = None) -> int:
    """Run the job that ARGV names, or with --settle record how its last run was cut off."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    from_crontab = "--crontab" in arguments
    if from_crontab:
        arguments.remove("--crontab")
    options = arguments[1:]
    if not arguments or options not in ([], ["--settle"], ["--trigger", MANUAL], ["--trigger", SCHEDULE]):
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
            from ..hermes.endings import settle
            from .rearm import rearm

            for record in settle(home, job_id):
                rearm(home, record)
            return 0
        trigger = options[1] if options else SCHEDULE if from_crontab else _trigger(arguments[0])
        return _run(home, job_id, trigger)
    except (ValueError, homes.UnknownProfile, store.StoreError, config.ConfigError, OSError) as error:
        say(f"hermes-cron-exec: {describe(error)}{STAYS_DUE if trigger == SCHEDULE else ''}", sys.stderr)
        return 2


def _trigger(instance: str) -> str:
    """Who wants this run: under systemd, `$TRIGGER_UNIT` is there when a timer does (systemd.exec(5), 252)."""
    if "INVOCATION_ID" not in os.environ or "TRIGGER_UNIT" in os.environ:
        return SCHEDULE
    from ..schedulers.systemd.systemctl import manager

    return SCHEDULE if manager().is_expected(instance) else MANUAL


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
    try:
        record = _found(home, job_id, trigger)
    except store.NoSuchJob as error:
        say(f"Skipped: {error} It was deleted.")
        return 0
    if trigger == SCHEDULE and not _should_run(record, home):
        return 0
    claim = runs.claim(home, job_id)
    if claim is None:
        run = runs.find(home, job_id)
        since = f" for {time.time() - run.started_at:.0f} s" if run else ""
        say(f"Skipped: {job_id} has been running{since}, and never runs twice at once.")
        return 0
    return _run_claimed(home, job_id, trigger, claim)


def _run_claimed(home: Home, job_id: str, trigger: str, claim: runs.Claim) -> int:
    """Run the job that CLAIM holds, and record the run."""
    left = claim.left_behind()
    if left:
        from ..hermes.endings import record_end

        record_end(home, left)
    before = store.find(home, job_id)
    if trigger == SCHEDULE and not _should_run(before, home):
        claim.release()
        return 0
    started = datetime.datetime.now(datetime.UTC)
    run = runs.Run(job_id, started.timestamp(), trigger)
    try:
        claim.begin(run)
        is_ours = claims.take(home, job_id, trigger == SCHEDULE)
    except BaseException:
        claim.release()  # nothing has begun, and the job stays due
        raise
    if is_ours:
        return _run_begun(home, before, run, claim)
    say(f"Skipped: the agent's own scheduler has {job_id}.")
    claim.release()
    return 0


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


def _should_run(record: Record, home: Home) -> bool:
    """Whether a scheduled fire of RECORD's job lets it run; if not, why is in the journal."""
    if record.get("enabled", True) is False or record.get("state") in ("paused", "completed"):
        from .rearm import rearm

        say(f"Skipped: {record['id']} is {record.get('state') or 'paused'}.")
        rearm(home, record)
        return False
    written = record.get("next_run_at")
    if isinstance(written, str) and _is_past(written):
        return True
    from ..hermes import records

    if records.is_due(record, datetime.datetime.now(datetime.UTC), homes.timezone(home)):
        return True
    if not voice.is_syslog():  # to a crontab line that covers a schedule it is an everyday matter
        say(f"Skipped: {record['id']} is not due before {written}; what fell due since was answered by the last run "
            f"or while it went on.")
    return False


def _is_past(written: str) -> bool:
    try:
        return int(datetime.datetime.fromisoformat(written).timestamp()) <= time.time()
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
