"""The content of alerts: a title and a text for people, and fields for programs."""

import datetime
import os
import uuid
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

from ..hermes import outputs
from ..hermes.home import Home, instance_name
from ..jobs.record import Record
from ..runs.ledger import NOT_RUN, OK, STOPPED, Row
from .events import DIGEST, FAILED, FAILING, FAILURE, LATE, PAUSED, RECOVERY, SUCCESS, TEST, Event

NAMESPACE = uuid.UUID("5d8c1f9a-0f0e-4f2a-9c1d-07be6f3d2a41")
"""The ids of alerts and runs are made from their keys in it, so that an alert that is sent again has the same id."""
MAX_NAMED = 20
"""The number of jobs that a digest names."""
START, END_OK, END_FAILED, LOG = "start", "success", "fail", "log"
"""The signals of the Healthchecks protocol."""


def id_of(key: str) -> str:
    """Return the id for what `key` names on this machine."""
    return str(uuid.uuid5(NAMESPACE, f"{os.uname().nodename}\0{key}"))


def of_event(home: Home, event: Event, zone: ZoneInfo, output_chars: int) -> dict[str, Any]:
    """Return the content of the alert of `event`."""
    row, name = event.row, _name(event.row)
    took = f" after {row.ended - row.started:.1f} s" if row.ended and row.started and row.ended > row.started else ""
    reason = row.reason if row.outcome != OK else f"its output was not delivered: {row.delivery_error}"
    times = f"{event.failures} times in a row"
    if event.kind == LATE:
        title, text = _missed(name, event.rows, zone)
    else:
        title, text = {
            FAILURE: (f"{name} failed", f"failed{took}: {reason}"),
            FAILING: (f"{name} failed {times}", f"failed{took}, for the {_ordinal(event.failures)} time in a row: "
                                                f"{reason}"),
            RECOVERY: (f"{name} succeeded again", f"succeeded{took}, after it had failed "
                                                  f"{'once' if event.failures == 1 else times}."),
            SUCCESS: (f"{name} succeeded", f"succeeded{took}."),
            PAUSED: (f"{name} did not start", f"did not start: {row.reason}"),
        }[event.kind]
        text = f"The run that was due at {_time(row.due, zone)} {text}"
    return {**_of_row(home, row, zone), "event": event.kind, "failures": event.failures, "missed": len(event.rows),
            "title": f"{title} ({row.host or os.uname().nodename})", "text": text,
            "output": _output(home, row, output_chars) if event.kind != LATE else ""}


def _missed(name: str, rows: tuple[Row, ...], zone: ZoneInfo) -> tuple[str, str]:
    late = [row for row in rows if row.outcome not in NOT_RUN]
    missed = [row for row in rows if row.outcome in NOT_RUN]
    sentences = [f"The run that was due at {_time(row.due, zone)} began late, at {_time(row.started or row.due, zone)}."
                 for row in late[-1:]]
    if missed:
        first, last = _time(missed[0].due, zone), _time(missed[-1].due, zone)
        when = f"at {first}" if len(missed) == 1 else f"{len(missed)} times, from {first} to {last}"
        sentences.append(f"It did not run {when}: {missed[-1].reason}")
    return f"{name} {'missed its time' if missed else 'ran late'}", " ".join(sentences)


def of_pause(home: Home, record: Record, since: float, zone: ZoneInfo) -> dict[str, Any]:
    """Return the content of the alert of a job, in `record`, that was paused."""
    name = str(record.get("name") or record["id"])
    reason = record.get("paused_reason")
    return {"event": PAUSED, "host": os.uname().nodename, "profile": home.profile, "job": record["id"], "name": name,
            "time": _iso(since, zone), "reason": reason,
            "title": f"{name} was paused ({os.uname().nodename})",
            "text": f"The job does not run until 'hermes-oscron resume {instance_name(home.profile, record['id'])}'"
                    f"{f'. Reason: {reason}' if reason else '.'}"}


def of_digest(rows: Iterable[tuple[Home, Row]], failing: list[str], paused: list[str], since: float, until: float,
              zone: ZoneInfo) -> dict[str, Any]:
    """Return the content of the digest of `rows`, the occurrences after `since`; it names jobs that need a look."""
    counts: dict[str, int] = {}
    for _, row in rows:
        counts[row.outcome or "in progress"] = counts.get(row.outcome or "in progress", 0) + 1
    total = sum(counts.values())
    parts = [f"{count} {outcome}" for outcome, count in sorted(counts.items(), key=lambda each: -each[1])]
    lines = [f"From {_time(since, zone)} to {_time(until, zone)}: {total} runs{': ' * bool(parts)}{', '.join(parts)}."]
    for label, names in (("Failing", failing), ("Paused", paused)):
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        lines += [f"{label}: {', '.join(names[:MAX_NAMED])}{more}."] * bool(names)
    host = os.uname().nodename
    return {"event": DIGEST, "host": host, "since": _iso(since, zone), "time": _iso(until, zone), "outcomes": counts,
            "failing": failing, "paused": paused, "text": "\n".join(lines),
            "title": f"{total} runs, {len(failing)} jobs failing ({host})"}


def of_test() -> dict[str, Any]:
    """Return the content of the alert of `hermes-oscron notify test`."""
    host = os.uname().nodename
    return {"event": TEST, "host": host, "title": f"Test of the alerts of hermes-oscron ({host})",
            "text": "Alerts reach you this way."}


def of_ping(home: Home, row: Row, zone: ZoneInfo, signal: str, output_chars: int) -> dict[str, Any]:
    """Return the content of the ping `signal` of the run of `row`."""
    text = "" if signal == START else f"{row.outcome}: {row.reason or row.delivery_error or 'no error'}"
    return {**_of_row(home, row, zone), "ping": signal, "text": text,
            "run": id_of(f"run:{home.profile}:{row.job}:{row.started or row.due!r}"),
            "output": _output(home, row, output_chars) if signal != START else ""}


def signal_of(row: Row) -> str:
    """Return the signal of the Healthchecks protocol for the end of `row`. What did not run changes no check."""
    if row.outcome in FAILED or row.delivery_error:
        return END_FAILED
    return LOG if row.outcome in (*NOT_RUN, STOPPED) else END_OK


def _of_row(home: Home, row: Row, zone: ZoneInfo) -> dict[str, Any]:
    return {"host": row.host, "profile": home.profile, "job": row.job, "name": _name(row), "trigger": row.trigger,
            "attempt": row.attempt, "due": _iso(row.due, zone),
            "started": _iso(row.started, zone), "ended": _iso(row.ended, zone), "outcome": row.outcome,
            "reason": row.reason, "exit_code": row.exit_code, "signal": row.signal,
            "delivery_error": row.delivery_error}


def _output(home: Home, row: Row, chars: int) -> str:
    """Return the last `chars` of the output of `row`; empty if it has been removed."""
    if not chars or not row.output:
        return ""
    try:
        return outputs.read(home, row.job, row.output)[-chars:]
    except outputs.RunNotFound:
        return ""


def _name(row: Row) -> str:
    return " ".join(row.name.split()) or row.job


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _time(moment: float, zone: ZoneInfo) -> str:
    return f"{datetime.datetime.fromtimestamp(moment, zone):%Y-%m-%d %H:%M:%S %Z}"


def _iso(moment: float | None, zone: ZoneInfo) -> str | None:
    return None if moment is None else datetime.datetime.fromtimestamp(moment, zone).isoformat()
