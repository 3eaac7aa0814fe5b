"""The time of day in a schedule, as people write it."""

import re

from .phrase import Phrase, Refusal, Time

CLOCK = (r"(?:(?P<word>noon|midday|midnight)\b|(?P<four>(?:[01]\d|2[0-3])[0-5]\d)(?:\s*h(?:ou)?rs|h)?\b"
          r"|(?P<hour>\d{1,2})(?:[:.h](?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.0+)?)?)?(?P<half>\s*(?:am|pm)\b|[ap]\b)?"
          r"(?:(?<=\d) ?h\b)?(?![\w:]|\.\d))")
ANY_CLOCK = re.sub(r"\?P<\w+>", "?:", CLOCK)


def read_time(phrase: Phrase, text: str) -> Time:
    """Return the time that `text` is. Raises Refusal if a clock does not show it."""
    match = re.fullmatch(CLOCK, text.strip(), re.A)
    assert match
    return time_of(phrase, match)


def time_of(phrase: Phrase, match: re.Match[str]) -> Time:
    """Return the time of a match of CLOCK. Raises Refusal if a clock does not show it."""
    if match["word"]:
        phrase.flags |= {match["word"]} & {"midnight"}
        return Time(0 if match["word"] == "midnight" else 12)
    if match["four"]:
        return Time(int(match["four"][:2]), int(match["four"][2:]))
    hour, minute, second = int(match["hour"]), int(match["minute"] or 0), int(match["second"] or 0)
    half = (match["half"] or "").strip()[:1]
    if (hour, minute, second) == (24, 0, 0) and not half:
        return Time(24)
    if minute > 59 or second > 59 or hour > 23 or (half and not 1 <= hour <= 12):
        raise Refusal(f"has '{match[0].removeprefix('at ').strip()}', which is not a time of day",
                      *([f"daily at {hour}:{minute:02}"] if hour < 24 and minute < 60 else []))
    if half:
        return Time(hour % 12 + (12 if half == "p" else 0), minute, second)
    return Time(hour, minute, second, match["minute"] is None, 1 <= hour <= 12 and match["hour"][0] != "0")
