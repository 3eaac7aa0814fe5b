"""The end of a run: its output on disk, its result in the record, its timer as it should be now."""

import datetime
import sys

from ..hermes import homes, outputs, store
from ..hermes.endings import record_end
from ..hermes.homes import Home
from ..hermes.store import Record
from .execute import Outcome
from .rearm import rearm
from .voice import say


def conclude(home: Home, record: Record, started: datetime.datetime, outcome: Outcome) -> str | None:
    """Write down how the run of RECORD's job, begun at STARTED, ended; what went wrong with it, or None.

    A job deleted meanwhile leaves nothing, and nothing of it went wrong.
    """
    zone = homes.timezone(home)
    ended = datetime.datetime.now(datetime.UTC)
    job_id = str(record["id"])
    error = outcome.error
    try:
        store.find(home, job_id)
        try:
            outputs.write(home, job_id, ended.astimezone(zone), page(record, started.astimezone(zone), ended, outcome))
        except OSError as reason:
            error = error or f"it went well, but its output could not be saved: {reason.strerror}."
        if error:
            say(f"Failed: {error}", sys.stderr)
        rearm(home, record_end(home, job_id, started, ended, error))
    except store.NoSuchJob:
        outputs.remove(home, job_id)
        return None
    return error


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
