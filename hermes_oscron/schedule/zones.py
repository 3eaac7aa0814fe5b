"""The zone that a schedule names, and cron expressions moved from one zone to another."""

import datetime
import re
import zoneinfo
from zoneinfo import ZoneInfo

from ..errors import shortened
from . import cron
from .phrase import Refusal
from .words import WEEKDAYS

ABBREVIATED_ZONES = set("est edt cst cdt mst mdt pst pdt et pt ct mt cet cest bst ist jst msk aest aedt hst".split())
_OFFSETS = (
    r"(.*[\dapm])\s+(?:utc|gmt)([+-])(\d\d?)(?::?([0-5]\d))?",
    r"(.*[\dapm*])\s+([+-])(\d\d):?([0-5]\d)",
    r"(?!\d{4})(.*:\d\d)(\+)(\d\d):([0-5]\d)",
    r"(?!\d{4})(.*:\d\d) ?()z()()",
)
"""A text with an offset from UTC at its end."""
MAX_OFFSET = datetime.timedelta(hours=16)
"""The largest offset from UTC that is taken for one; the local mean times of the 19th century reach 15:13."""


def in_zone(expression: str, named: datetime.tzinfo, zone: ZoneInfo, now: datetime.datetime) -> str:
    """Return the expression with the times in `zone` that `expression` has at present in `named`; "" if none has."""
    apart = (now.astimezone(zone).utcoffset() or datetime.timedelta()) - (now.astimezone(named).utcoffset()
                                                                         or datetime.timedelta())
    minute, hour, day, month, weekday = expression.split(" ")
    hours, minutes = divmod(int(apart.total_seconds()) // 60, 60)
    if minutes:
        if not minute.isdigit():
            return ""
        more, number = divmod(int(minute) + minutes, 60)
        minute, hours = str(number), hours + more
    if hour == "*":
        return " ".join((minute, hour, day, month, weekday)) if (day, month, weekday) == ("*",) * 3 else ""
    moved = [divmod(each + hours, 24) for each in sorted(cron.parse(expression).hours)]
    shifts = {shift for shift, _ in moved}
    if shifts != {0} and (day, month, weekday) != ("*",) * 3:
        numbers = cron.parse(expression).days.weekdays
        if len(shifts) > 1 or (day, month) != ("*", "*") or not numbers:
            return ""
        weekday = ",".join(map(str, sorted((number + min(shifts)) % 7 for number in numbers)))
    parts = cron.ranges(sorted(each for _, each in moved))
    return " ".join((minute, ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts), day, month, weekday))


def cron_zone(text: str) -> tuple[str, str]:
    """Return the zone in `CRON_TZ=ZONE SCHEDULE`, and the schedule; "" and `text` if there is no such zone."""
    match = re.fullmatch(r"\s*(?:cron_)?tz\s*=\s*(\S+?)[;,]?\s+(\S.*)", text, re.I | re.S)
    zone = _zone(match[1].strip("\"':")) if match else None
    return (zone.key, match[2]) if match and zone else ("", text)


def split_zone(words: str) -> tuple[str, str, datetime.tzinfo | None]:
    """Return `words` without the zone in it, the name of that zone, and the zone; "" and None if there is none.

    Raises Refusal if the zone does not exist, or if its name is an abbreviation, which several zones share.
    """
    if match := re.fullmatch(r"(?:cron_)?tz\s*=\s*(\S+?)[;,]?(?:\s+(.*))?", words, re.I):
        zone = _zone(match[1].strip("\"':"))
        if zone is None:
            raise _no_zone(match[1], match[2] or "")
        return match[2] or "", str(zone), zone
    for pattern in _OFFSETS:
        if match := re.fullmatch(pattern, words, re.I | re.A):
            offset = datetime.timedelta(hours=int(match[3] or 0), minutes=int(match[4] or 0))
            if offset <= MAX_OFFSET:
                fixed = datetime.timezone(-offset if match[2] == "-" else offset)
                return match[1], f"UTC{match[2] or '+'}{match[3] or '0':0>2}:{match[4] or '00'}", fixed
    tokens = words.split(" ")
    for i, token in enumerate(tokens):
        name = token.strip("(),[]")
        rest = " ".join(tokens[:i] + tokens[i + 1:])
        if rest.endswith((" in", " tz", " timezone")):
            rest = rest.rpartition(" ")[0]
        if rest and name.lower() in ABBREVIATED_ZONES:
            raise Refusal(f"names '{name}', which several zones share, and not a zone such as America/New_York",
                          (rest, "in the Hermes zone"))
        if not (rest and re.match(r"(?:us|[a-z]{3,})/[a-z]|(?:utc|gmt)$", name, re.I)):
            continue
        if zone := _zone(name):
            return rest, str(zone), zone
        if name.partition("/")[0].lower() not in WEEKDAYS:
            raise _no_zone(name, rest)
    return words, "", None


def _no_zone(name: str, rest: str) -> Refusal:
    return Refusal(f"names '{shortened(name)}', which is not a time zone, as America/New_York is",
                   (rest, "in the Hermes zone"))


def _zone(name: str) -> ZoneInfo | None:
    for known in (name, name.upper()) if "/" not in name else (name, _spelled_as_zone(name)):
        try:
            return ZoneInfo(known)
        except (ValueError, OSError, LookupError):
            pass
    return None


def _spelled_as_zone(name: str) -> str:
    """Return the zone whose name is `name` in any case; `name` if there is none."""
    return next((zone for zone in zoneinfo.available_timezones() if zone.lower() == name.lower()), name)
