"""The end of a run: its output on disk, its result in the record."""

import datetime
import sys
from collections.abc import Callable
from typing import NamedTuple

from ..hermes import homes, outputs, records, store
from ..hermes.agent import NO_DOOR, TAKEN
from ..hermes.endings import record_end
from ..hermes.homes import Home
from ..hermes.store import Record
from .command import stays_here
from .execute import Outcome
from .voice import say


class Conclusion(NamedTuple):
    """What went wrong with a run, if anything, and the record of its job, which is None when that is no more."""

    error: str | None
    record: Record | None


def conclude(home: Home, before: Record, started: datetime.datetime, outcome: Outcome,
             deleted: Callable[[], bool]) -> Conclusion:
    """Write down how the run of the job of BEFORE, begun at STARTED, ended.

    A job DELETED meanwhile leaves nothing, and nothing of it went wrong. Of one whose record alone is gone, which may
    come back, for jobs.json may have been moved away to be repaired, what there is stays.
    """
    zone = homes.timezone(home)
    ended = datetime.datetime.now(datetime.UTC)
    job_id = str(before["id"])
    error = outcome.error
    try:
        store.find(home, job_id)
        try:
            outputs.write(home, job_id, ended.astimezone(zone), page(before, started.astimezone(zone), ended, outcome))
        except OSError as reason:
            error = error or f"it went well, but its output could not be saved: {reason.strerror}."
        if error:
            say(f"Failed: {error}", sys.stderr)
        return Conclusion(error, record_end(home, job_id, started, ended, error, _undelivered(before)))
    except store.NoSuchJob:
        if deleted():
            outputs.remove(home, job_id)
        return Conclusion(None, None)


def conclude_by_agent(home: Home, before: Record, started: datetime.datetime, outcome: Outcome,
                      deleted: Callable[[], bool]) -> Conclusion:
    """Take over what the agent has recorded of the run of the job of BEFORE, begun at STARTED; or conclude without it.

    The agent removes a job that it has run as often as it was to run; nothing but that the job was DELETED tells it
    from one that somebody else removed. A paused job that was run by hand goes back: it is paused still.
    """
    job_id = str(before["id"])
    try:
        record = store.find(home, job_id)
    except store.NoSuchJob:
        was_deleted = deleted()
        if was_deleted:
            outputs.remove(home, job_id)
        if was_deleted or not _is_last_run(before):
            return Conclusion(None, None)
        _tell(outcome.error, None)
        if records.state(before) != records.PAUSED:
            return Conclusion(outcome.error, None)
        record = _put_back(home, before, outcome.error)
    if record.get("last_run_at") == before.get("last_run_at"):
        return _conclude_without_record(home, before, started, outcome, deleted)
    ended = datetime.datetime.now(datetime.UTC)
    zone = homes.timezone(home)
    record = store.change(home, job_id, lambda record: records.correct_next_run(record, before, ended, zone))
    failed = record.get("last_status") == "error"
    error = str(record.get("last_error") or outcome.error or "the agent does not say why.") if failed else None
    _tell(error, record.get("last_delivery_error"))
    return Conclusion(error, record)


def _conclude_without_record(home: Home, before: Record, started: datetime.datetime, outcome: Outcome,
                             deleted: Callable[[], bool]) -> Conclusion:
    if outcome.code == TAKEN:
        say(f"Skipped: another scheduler of the agent has {before['id']}.")
        return Conclusion(None, store.find(home, str(before["id"])))
    error = outcome.error or "the agent ended without a record of the run."
    if outcome.code == NO_DOOR:
        error = outcome.stderr.strip().rpartition("\n")[2]
    return conclude(home, before, started, outcome._replace(error=error), deleted)


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
