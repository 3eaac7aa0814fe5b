"""The timeline: one lane for each job, around the present time, as SVG whose places are in percent of its width.

A lane shows each run as a bar with the mark of its outcome. One with more runs than there is room
for shows the worst outcome of each small span instead.
"""

import datetime
import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...runs.ledger import ERROR, INTERRUPTED, MISSED, OK, SKIPPED, STOPPED, TIMEOUT
from ...service.run_history import Coming, Span
from .times import Clock, duration

RUNNING = "running"
BY_WEIGHT = (OK, SKIPPED, STOPPED, RUNNING, INTERRUPTED, MISSED, TIMEOUT, ERROR)
"""The outcomes, from the one that matters least."""
HOURS = {1: "1 hour", 6: "6 hours", 24: "24 hours", 72: "3 days", 168: "7 days"}
"""The spans that the timeline can show, before and after the present time."""
TICKS_MIN = {1: (15, 5, 30), 6: (120, 30, 120), 24: (360, 180, 720), 72: (1440, 360, 2880), 168: (2880, 1440, 5760)}
"""For each span, the minutes between two ticks, between those of a wide screen, and between those of a phone."""
MAX_MARKS = 36
"""A lane with more marks than this on one side shows spans."""
BINS = 48
"""The number of those spans on each side."""
MIN_BAR = 0.35
"""A shorter bar, in percent, is hidden by its mark."""
NEAR, NEAR_ON_PHONE = 6.5, 14.0
"""The place, in percent, that the label of the present time takes on either side."""
QUARTER = datetime.timedelta(minutes=15)
MIDDLE = 15
"""Half the height of a lane."""


class Window(NamedTuple):
    """The time that a timeline shows: `hours` before and after `now`."""

    now: float
    hours: int

    @property
    def start(self) -> float:
        return self.now - self.hours * 3600

    @property
    def end(self) -> float:
        return self.now + self.hours * 3600

    def place(self, moment: float) -> float:
        """Return the place of `moment` in percent of the width."""
        return min(100.0, max(0.0, 50 + (moment - self.now) / self.hours / 72))


class Tick(NamedTuple):
    """A line with a label, which is empty where that of the present time is. `style` is for the stylesheet."""

    place: float
    moment: float
    label: str
    style: str


def ticks(window: Window, clock: Clock) -> list[Tick]:
    """Return the ticks of `window`, at whole hours and days of the clock."""
    usual, narrow, phone = TICKS_MIN[window.hours]
    found = []
    step = QUARTER if narrow % 15 == 0 else datetime.timedelta(minutes=narrow)
    seconds = step.total_seconds()
    moment = (window.start // seconds + 1) * seconds
    while moment < window.end:
        local = clock.local(moment)
        minute = local.hour * 60 + local.minute
        place = window.place(moment)
        if minute % narrow == 0 and 1.5 < place < 98.5:
            label = f"{local:%a} {local.day}" if minute == 0 else f"{local:%H:%M}"
            style = "day" if minute == 0 else "hour"
            count = local.toordinal() * 1440 + minute
            style += " minor" if count % usual else " second" if count % phone else ""
            style += " near" if abs(place - 50) < NEAR_ON_PHONE else ""
            found.append(Tick(place, moment, label if abs(place - 50) > NEAR else "", style))
        moment += seconds
    return found


def lane(window: Window, past: Sequence[Span], coming: Coming, clock: Clock) -> str:
    """Return the marks of one lane as SVG elements."""
    drawn = _spans(window, past, clock) if len(past) > MAX_MARKS else _runs(window, past, clock)
    if coming.is_sampled:
        later = [f'<rect class="dense" x="{place:.2f}%" y="{MIDDLE - 3}" width="{width:.2f}%" height="6" rx="3"/>'
                 for place, width in _joined(window, coming.times)]
    else:
        later = [f'<circle cx="{window.place(moment):.2f}%" cy="{MIDDLE}" r="4"/>' for moment in coming.times]
    return "".join([*drawn, '<g class="coming">', *later, "</g>"])


def _runs(window: Window, past: Iterable[Span], clock: Clock) -> list[str]:
    """Return a bar and a mark for each run."""
    drawn = []
    for span in past:
        end = window.now if span.end is None else span.end
        outcome = span.outcome or RUNNING
        start, last = window.place(span.start), window.place(end)
        took = "" if span.start >= end and span.outcome else f", {duration(end - span.start)}"
        bar = (f'<rect class="bar" x="{start:.2f}%" y="{MIDDLE - 4}" width="{last - start:.2f}%" height="8" rx="4"/>'
               if last - start > MIN_BAR else "")
        drawn.append(f'<g class="{outcome}">{bar}{_mark(outcome, last if bar else start)}'
                     f'<title>{clock.text(span.start)} {outcome}{took}</title></g>')
    return drawn


def _spans(window: Window, past: Iterable[Span], clock: Clock) -> list[str]:
    """Return a block for each small span with runs, with the mark of its worst outcome unless all went well."""
    width = (window.now - window.start) / BINS
    counts: dict[int, dict[str, int]] = {}
    for span in past:
        place = min(BINS - 1, max(0, int((max(span.start, span.due) - window.start) // width)))
        outcomes = counts.setdefault(place, {})
        outcomes[span.outcome or RUNNING] = outcomes.get(span.outcome or RUNNING, 0) + 1
    drawn, marks = [], []
    for place, outcomes in counts.items():
        worst = max(outcomes, key=BY_WEIGHT.index)
        title = f"{clock.text(window.start + place * width)}: " + ", ".join(
            f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        drawn.append(f'<g class="{worst}"><rect class="bin" x="{place * 50 / BINS:.2f}%" y="{MIDDLE - 5}" '
                     f'width="{50 / BINS - 0.06:.2f}%" height="10"/><title>{title}</title></g>')
        if worst not in (OK, RUNNING):
            marks.append(f'<g class="{worst}">{_mark(worst, (place + 0.5) * 50 / BINS)}</g>')
    return drawn + marks


def _joined(window: Window, coming: Sequence[float]) -> list[tuple[float, float]]:
    """Return the place and the width of each stretch in which `coming` follow each other closely."""
    near = (window.end - window.now) / BINS * 1.5
    stretches: list[list[float]] = []
    for moment in coming:
        if stretches and moment - stretches[-1][1] <= near:
            stretches[-1][1] = moment
        else:
            stretches.append([moment, moment])
    return [(window.place(first), max(0.6, window.place(last) - window.place(first))) for first, last in stretches]


def _mark(outcome: str, place: float) -> str:
    return f'<use href="#m-{outcome}" x="{place:.2f}%" y="{MIDDLE}"/>'


def summary(name: str, past: Sequence[Span], coming: Coming, clock: Clock) -> str:
    """Return the content of a lane in words."""
    counts: dict[str, int] = {}
    for span in past:
        counts[span.outcome or RUNNING] = counts.get(span.outcome or RUNNING, 0) + 1
    before = ", ".join(f"{counts[outcome]} {outcome}" for outcome in BY_WEIGHT if outcome in counts) or "no runs"
    after = f"next at {clock.text(coming.times[0])}" if coming.times else "none to come"
    return html.escape(f"{name}: {before}; {after}")
