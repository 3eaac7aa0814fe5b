"""Times and durations as HTML. The script of the pages shows them in the reader's zone, and counts on.

Times are in unix seconds; without the script they are those of a zone of the server.
"""

import datetime
import html
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def seconds_of(text: str | None) -> float | None:
    """Return the time `text` (ISO 8601) in unix seconds."""
    return datetime.datetime.fromisoformat(text).timestamp() if text else None


def duration(seconds: float | None) -> str:
    """Return `seconds` in at most two units: `0.4 s`, `12 s`, `3 min 4 s`, `2 d 5 h`."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds % 1 >= 0.05 else f"{seconds:.0f} s"
    return _in_two_units(round(seconds))


@lru_cache(maxsize=4096)
def _in_two_units(left: int) -> str:
    parts: list[str] = []
    for size, unit in UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts))


def about(seconds: float) -> str:
    """Return `seconds` in one unit: `5 min`, `3 h`."""
    size, unit = next((each for each in UNITS if seconds >= each[0]), UNITS[-1])
    return f"{seconds // size:.0f} {unit}"


def relative(moment: float, now: float) -> str:
    """Return when `moment` is as seen at `now`: `in 5 min`, `3 h ago`."""
    if abs(moment - now) < 1:
        return "now"
    return f"in {about(moment - now)}" if moment > now else f"{about(now - moment)} ago"


@lru_cache(maxsize=16)
def _day_of(moment: float, zone: ZoneInfo) -> datetime.date:
    return datetime.datetime.fromtimestamp(moment, zone).date()


class Clock(NamedTuple):
    """The present time of a page, and the zone in which it is rendered."""

    now: float
    zone: ZoneInfo

    def local(self, moment: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(moment, self.zone)

    def text(self, moment: float, style: str = "short") -> str:
        """Return `moment` as text: `short` has the day only if it is another one, `full` has the second."""
        local = self.local(moment)
        if style == "full":
            return f"{local:%Y-%m-%d %H:%M:%S}"
        today = _day_of(self.now, self.zone)
        if local.date() == today:
            return f"{local.hour:02}:{local.minute:02}"
        year = "" if local.year == today.year else f" {local.year}"
        return local.strftime(f"%a {local.day} %b{year} %H:%M")

    def time(self, moment: float | None, style: str = "short") -> str:
        """Return `moment` as an element `time`."""
        if moment is None:
            return "-"
        local = self.local(moment)
        offset = int((local.utcoffset() or datetime.timedelta()).total_seconds())
        return (f'<time datetime="{local.isoformat(timespec="seconds")}" data-t="{moment:.0f}" data-o="{offset}" '
                f'data-f="{style}" title="{local:%Y-%m-%d %H:%M:%S} {html.escape(self.zone_name(moment))}">'
                f'{self.text(moment, style)}</time>')

    def ago(self, moment: float | None) -> str:
        """Return the time from now to `moment` as an element that the script keeps true."""
        if moment is None:
            return ""
        return f'<span class="ago" data-rel="{moment:.0f}">{relative(moment, self.now)}</span>'

    def elapsed(self, since: float) -> str:
        """Return the time since then as an element that the script counts up."""
        return f'<span class="elapsed" data-since="{since:.0f}">{duration(round(self.now - since))}</span>'

    def zone_name(self, moment: float) -> str:
        """Return the abbreviation of the zone at `moment`, like CET, or its offset."""
        return f"{self.local(moment):%Z}" or f"{self.local(moment):%z}"


