"""The history of a job as a plot: for each run how long it took, how late it began, and how it ended."""

from collections.abc import Sequence
from typing import NamedTuple

from ...runs.ledger import Row
from .timeline import RUNNING
from .times import Clock, duration

HEIGHT, BASE, UP, DOWN = 150, 112, 88, 26
"""The height of the plot, the place of its base line, and the most above and below it."""
NOTABLY_LATE_S = 60.0
"""The least time for which the longest column below the line stands."""
MARKED = 10
"""The room for a mark above a column."""


class Plot(NamedTuple):
    """SVG elements, and what the longest columns above and below the line stand for."""

    svg: str
    longest: str
    latest: str


def plot(rows: Sequence[Row], clock: Clock) -> Plot:
    """Return the plot of `rows`, which are newest first; the newest is at the right."""
    took = [_took(row, clock) for row in rows]
    late = [_late(row) for row in rows]
    longest, latest = max(took, default=0), max(late, default=0)
    count = max(20, len(rows))
    width = 100 / count
    drawn = []
    for at, row in enumerate(rows):
        outcome = row.outcome or RUNNING
        x = 100 - (at + 1) * width
        middle = x + width / 2
        height = took[at] / longest * (UP - MARKED) if longest else 0
        down = late[at] / max(latest, NOTABLY_LATE_S) * DOWN
        bar = (f'<rect x="{x + width * .18:.2f}%" y="{BASE - height:.1f}" width="{width * .64:.2f}%" '
               f'height="{height:.1f}" rx="1.5"/>' if height >= 0.5 else "")
        below = (f'<rect class="late" x="{x + width * .3:.2f}%" y="{BASE + 1}" width="{width * .4:.2f}%" '
                 f'height="{down:.1f}"/>' if down >= 0.5 else "")
        words = f"{clock.text(row.due)} {outcome}"
        words += f", took {duration(took[at])}" if took[at] else ""
        words += f", {duration(late[at])} late" if late[at] >= 1 else ""
        drawn.append(f'<a href="#run-{row.id}" tabindex="-1"><g class="{outcome}">'
                     f'<rect class="hit" x="{x:.2f}%" y="0" width="{width:.2f}%" height="{HEIGHT}"/>{bar}{below}'
                     f'<use href="#m-{outcome}" x="{middle:.2f}%" y="{BASE - height - MARKED:.1f}"/>'
                     f"<title>{words}</title></g></a>")
    return Plot("".join(drawn), duration(longest) if longest else "", duration(latest) if latest > 1 else "")


def _took(row: Row, clock: Clock) -> float:
    if row.started is None:
        return 0.0
    return max(0.0, (clock.now if row.ended is None else row.ended) - row.started)


def _late(row: Row) -> float:
    """Return for how many seconds `row` began after its time, without the time that it was due by hand."""
    return max(0.0, row.started - row.due) if row.started is not None else 0.0
