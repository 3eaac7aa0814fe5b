"""Decide, from the rows of a ledger in their order, which alerts are due. Pure, so that each row decides once."""

from collections.abc import Iterable
from typing import NamedTuple

from ..config import Notify
from ..jobs.budget import exhausted_since
from ..runs.accounting import PAUSED as HERMES_PAUSED
from ..runs.ledger import CATCH_UP, ERROR, INTERRUPTED, MISSED, NOT_RUN, OK, SCHEDULE, SKIPPED, TIMEOUT, Row

FAILURE, FAILING, RECOVERY, LATE, PAUSED, SUCCESS, DIGEST, TEST = (
    "failure", "failing", "recovery", "missed", "paused", "success", "digest", "test")
FAILED = (ERROR, TIMEOUT, INTERRUPTED)
HOUR_S, SLACK_S = 3600.0, 600.0
"""The slack makes the alert of a daily job that fails every day a daily one, though its runs end at other seconds."""


class Track(NamedTuple):
    """The state of a job after its last row: `failures` in a row, and when alerts were last due, 0 for never.

    `state` is that of its schedule. `held` is what `held_by` has returned of the last row; a run in time ends that.
    """

    failures: int = 0
    failure_at: float = 0.0
    missed_at: float = 0.0
    state: str = ""
    held: str = ""


class Event(NamedTuple):
    """An event of the job of `row`, or of `rows` that were missed, of which `row` is the last."""

    kind: str
    row: Row
    failures: int = 0
    rows: tuple[Row, ...] = ()


def failed(row: Row) -> bool:
    """Return True if the run of `row` failed, or its output was not delivered."""
    return row.outcome in FAILED or (row.outcome == OK and bool(row.delivery_error))


def held_by(row: Row) -> str:
    """Return what kept the job of `row` from running: a pause of Hermes, or a budget, by its period; else ""."""
    if row.outcome != SKIPPED or not row.reason:
        return ""
    return HERMES_PAUSED if row.reason == HERMES_PAUSED else exhausted_since(row.reason)


def advance(track: Track, rows: Iterable[Row], settings: Notify, now: float) -> tuple[Track, list[Event]]:
    """Return `track` after the ends of `rows` of its job, in order, and the events of which alerts are due."""
    events: list[Event] = []
    missed: list[Row] = []
    repeat_s = settings.repeat_hours * HOUR_S - SLACK_S

    def is_due(kind: str, last: float) -> bool:
        return kind in settings.on and (not last or now - last >= repeat_s)

    for row in rows:
        if row.outcome == MISSED or (row.trigger == CATCH_UP and row.outcome not in NOT_RUN):
            missed.append(row)
        elif row.trigger == SCHEDULE and row.outcome not in NOT_RUN:
            track = track._replace(missed_at=0.0, held="")
        if (held := held_by(row)) and held != track.held:
            track = track._replace(held=held)
            events += [Event(PAUSED, row)] * (PAUSED in settings.on)
        if failed(row):
            track = track._replace(failures=track.failures + 1)
            is_nth = track.failures == settings.in_a_row and FAILING in settings.on
            if is_nth or is_due(FAILURE, track.failure_at):
                events.append(Event(FAILING if is_nth else FAILURE, row, track.failures))
                track = track._replace(failure_at=now)
        elif row.outcome == OK:
            kind = RECOVERY if track.failure_at and RECOVERY in settings.on else SUCCESS
            events += [Event(kind, row, track.failures)] * (kind in settings.on)
            track = track._replace(failures=0, failure_at=0.0)
    if missed and is_due(LATE, track.missed_at):
        events.append(Event(LATE, missed[-1], rows=tuple(missed)))
        track = track._replace(missed_at=now)
    return track, events
