"""The end of a run: its output on disk, its result in the run's own file, then in the record."""

import contextlib
import datetime
import errno
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from ..errors import describe
from ..hermes import endings, homes, outputs, records, runs, store
from ..hermes.agent import NO_DOOR, TAKEN
from ..hermes.homes import Home
from ..hermes.store import Record, StoreError
from .command import stays_here
from .execute import Outcome
from .voice import say

RECORD_TIMEOUT_S = 65.0
"""How long a run that has ended waits until jobs.json can be read and written; its result is safe and can wait on."""
RETRY_INTERVAL_S = 1.0
FULL = (errno.ENOSPC, errno.EDQUOT)
"""On these errors a run waits to save its output, because somebody may make room. Other errors are likely to last."""


class Conclusion(NamedTuple):
    """What went wrong with a run, if anything, and the record of its job, which is None when that is no more."""

    error: str | None
    record: Record | None


class _End(NamedTuple):
    """A run that has ended: the job's record as it was when the run began, and how it went."""

    home: Home
    before: Record
    run: runs.Run
    claim: runs.Claim
    outcome: Outcome
    ended: datetime.datetime

    @property
    def job_id(self) -> str:
        return self.run.job_id

    @property
    def started(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.run.started_at, datetime.UTC)

    def result(self, error: str | None, by_agent: bool = False) -> runs.Result:
        delivery_error = None if by_agent else _undelivered(self.before)
        return runs.Result(self.ended.timestamp(), error, delivery_error, by_agent)


def conclude(home: Home, before: Record, run: runs.Run, claim: runs.Claim, outcome: Outcome,
             by_agent: bool = False, is_stopped: Callable[[], bool] = lambda: False) -> Conclusion:
    """Record how the `run` of the job of `before` ended, which `claim` holds: by us, or `by_agent` by itself.

    What cannot be written yet is tried again until RECORD_TIMEOUT_S is over or the runner `is_stopped`; then it raises
    StoreError or OSError, and the result stays in the run's file for the next to settle.
    """
    end = _End(home, before, run, claim, outcome, datetime.datetime.now(datetime.UTC))
    attempt = _by_agent(end) if by_agent else _by_us(end)
    deadline = time.monotonic() + RECORD_TIMEOUT_S
    waiting = False
    while True:
        is_last = is_stopped() or time.monotonic() > deadline
        try:
            return attempt(is_last)
        except (StoreError, OSError) as error:
            if is_last:
                raise
            if not waiting:
                say(f"The run has ended, and waits to be recorded: {describe(error)}", sys.stderr)
            waiting = True
        time.sleep(RETRY_INTERVAL_S)


def _keep(end: _End, result: runs.Result) -> None:
    """Write `result` into the run's file; whatever happens from then on, it is not lost."""
    with contextlib.suppress(OSError):  # where nothing can be allocated ahead; there still is jobs.json
        end.claim.end(end.run, result)


def _by_us(end: _End, saved: bool = False) -> Callable[[bool], Conclusion]:
    """Return a function that saves the output of a run, unless it is `saved`, and records the run.

    On a full disk it records the run without its output only at the last attempt. A job that was deleted
    in the meantime leaves nothing, and nothing of it went wrong. Of one whose record alone is gone, the output stays.
    """
    def attempt(is_last: bool) -> Conclusion:
        nonlocal saved
        if end.claim.is_forgotten():
            return Conclusion(None, None)
        error = end.outcome.error
        full = None
        try:
            saved = saved or _save_output(end)
        except OSError as unsaved:
            went = error.rstrip(".") if error else "it went well"
            error = f"{went}, but its output could not be saved: {describe(unsaved)}"
            full = unsaved if unsaved.errno in FULL else None
        result = end.result(error)
        _keep(end, result)
        if full and not is_last:
            raise full
        record = endings.record_end(end.home, end.run._replace(result=result))
        if record is None:
            if end.claim.is_forgotten():
                outputs.remove(end.home, end.job_id)
            return Conclusion(None, None)
        _tell(error, None)
        return Conclusion(error, record)

    return attempt


def _has_output(end: _End) -> bool:
    """Whether the agent has saved the output of its run."""
    pages, _ = outputs.history(end.home, end.job_id, 0, 1)
    return bool(pages) and pages[0].modified >= end.run.started_at


def _save_output(end: _End) -> bool:
    zone = homes.timezone(end.home)
    text = page(end.before, end.started.astimezone(zone), end.ended, end.outcome)
    outputs.write(end.home, end.job_id, end.ended.astimezone(zone), text)
    return True


def _by_agent(end: _End) -> Callable[[bool], Conclusion]:
    """Return a function that takes over the agent's own record of a run, or records the run if the agent has not.

    The agent removes a job that it has run as often as it was to run; nothing but that the job was deleted tells it
    from one that somebody else removed. A paused job that was run by hand goes back: it is paused still.
    """
    unrecorded = end.outcome._replace(error=_unrecorded(end.outcome))
    without_record = _by_us(end._replace(outcome=unrecorded), _has_output(end))
    if end.outcome.code != TAKEN:
        _keep(end, end.result(unrecorded.error, by_agent=True))

    def attempt(is_last: bool) -> Conclusion:
        home, before, outcome = end.home, end.before, end.outcome
        try:
            record = store.find(home, end.job_id)
        except store.NoSuchJob:
            endings.require_jobs(home)
            was_deleted = end.claim.is_forgotten()
            if was_deleted:
                outputs.remove(home, end.job_id)
            if was_deleted or not _is_last_run(before):
                return Conclusion(None, None)
            if records.state(before) != records.PAUSED:
                _tell(outcome.error, None)
                return Conclusion(outcome.error, None)
            record = _put_back(home, before, outcome.error)
        if record.get("last_run_at") == before.get("last_run_at"):
            if outcome.code != TAKEN:
                return without_record(is_last)
            say(f"Skipped: another scheduler of the agent has {end.job_id}.")
            return Conclusion(None, record)
        zone = homes.timezone(home)
        record = store.change(home, end.job_id,
                              lambda record: records.correct_next_run(record, before, end.ended, zone))
        failed = record.get("last_status") == "error"
        error = str(record.get("last_error") or outcome.error or "the agent does not say why.") if failed else None
        _tell(error, record.get("last_delivery_error"))
        return Conclusion(error, record)

    return attempt


def _unrecorded(outcome: Outcome) -> str | None:
    """What went wrong, if anything, with a run that the agent has not recorded."""
    return outcome.stderr.strip().rpartition("\n")[2] if outcome.code == NO_DOOR else outcome.error


def _is_last_run(record: Record) -> bool:
    times, completed = records.repeat_of(record)
    return times is not None and times <= completed + 1


def _put_back(home: Home, before: Record, error: str | None) -> Record:
    """Put the job of BEFORE back, paused as it was, with the run that the agent has removed it for."""
    now = datetime.datetime.now(datetime.UTC)
    record = {**before}
    records.finish(record, now, now, homes.timezone(home), error)
    store.add(home, record)
    return record


def _undelivered(record: Record) -> str | None:
    if stays_here(record):
        return None
    return f"not delivered to {record['deliver']!s:.100}: only the Hermes agent delivers, and it did not run this job."


def _tell(error: str | None, delivery_error: object) -> None:
    if error:
        say(f"Failed: {error}", sys.stderr)
    if delivery_error:
        say(f"Not delivered: {delivery_error}", sys.stderr)


def page(record: Record, started: datetime.datetime, ended: datetime.datetime, outcome: Outcome) -> str:
    """The run's output as a page of Markdown, with the headings that clients look for."""
    failed = " (FAILED)" if outcome.error else ""
    heading = " ".join(str(record.get("name") or record["id"]).split())
    asked = f"Script: {record.get('script')}" if record.get("no_agent") else str(record.get("prompt") or "")
    parts = [
        f"# Cron Job: {heading}{failed}",
        f"**Job ID:** {record['id']}\n"
        f"**Run Time:** {started:%Y-%m-%d %H:%M:%S}\n"
        f"**Schedule:** {record.get('schedule_display') or ''}\n"
        f"**Duration:** {(ended - started).total_seconds():.1f}s",
        f"## Prompt\n\n{asked}",
        f"## Response\n\n{outcome.stdout.strip() or '(no output)'}",
    ]
    if outcome.stderr.strip():
        parts.append(f"## Standard error\n\n{outcome.stderr.strip()}")
    if outcome.error:
        parts.append(f"## Error\n\n{outcome.error}")
    return "\n\n".join(parts) + "\n"
