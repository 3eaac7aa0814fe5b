"""The vocabulary of schedules in words, and a plain spelling of what people write. It parses nothing."""

import re
import unicodedata
from fractions import Fraction

from . import cron
from .model import ScheduleError

MAX_TEXT_CHARS = cron.MAX_EXPRESSION_CHARS


def alternatives(*words: str) -> str:
    """Return a regular expression for any of `words`, the longest first."""
    return "(?:" + "|".join(sorted(words, key=len, reverse=True)) + ")"


def _weekday_names() -> dict[str, int]:
    names: dict[str, int] = {}
    for number, (name, short) in enumerate(zip(cron.WEEKDAY_NAMES, cron.WEEKDAYS, strict=True)):
        for word in (name.lower(), short):
            names |= {word: number, f"{word}s": number}
    return names | {"tues": 2, "weds": 3, "thur": 4, "thurs": 4}


WEEKDAYS = _weekday_names()
MONTH_NAMES = "January February March April May June July August September October November December".split()
MONTHS = {word: number for number, name in enumerate(MONTH_NAMES, 1)
          for word in (name.lower(), name[:3].lower())} | {"sept": 9}
ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": cron.LAST}
UNITS = {alias: Fraction(minutes) for minutes, aliases in (
    (1, "m min mins minute minutes"), (60, "h hr hrs hour hours"), (1440, "d day days"), (10080, "w week weeks"),
    (20160, "fortnight fortnights"), (-1, "mo month months"), (-3, "quarter quarters"), (-12, "y yr yrs year years"),
) for alias in aliases.split()} | dict.fromkeys("s sec secs second seconds".split(), Fraction(1, 60))
"""The minutes of each unit; a negative number of months."""
DAY_PARTS = {"morning": (0, 12, 9), "afternoon": (12, 18, 15), "evening": (16, 24, 20), "night": (18, 24, 22)}
"""Each part of the day: its first hour, the hour after it, and the hour of an example."""
PERIODS = {"hourly": "0 * * * *", "daily": "0 0 * * *", "weekly": "0 0 * * 0", "monthly": "0 0 1 * *",
           "month": "0 0 1 * *", "quarterly": "0 0 1 1,4,7,10 *", "quarter": "0 0 1 1,4,7,10 *",
           "yearly": "0 0 1 1 *", "year": "0 0 1 1 *"}
"""The expression of each period without a day and a time."""
EXAMPLES_OF_TIMES = {
    "day": ["daily at 9:00", "every day at 9:00 and 21:00", "every day at 1:00, 9:00 and 17:00",
            "every day at 3:00, 9:00, 15:00 and 21:00"],
    "week": ["every monday at 9:00", "every monday and thursday at 9:00", "every monday, wednesday and friday at 9:00",
             "every monday, tuesday, thursday and friday at 9:00", "weekdays at 9:00"],
    "month": ["monthly on the 1st at 9:00", "every month on the 1st and 15th at 9:00",
              "every month on the 1st, 11th and 21st at 9:00", "every month on the 1st, 8th, 15th and 22nd at 9:00"],
    "year": ["every january 1st at 9:00", "0 9 1 1,7 *", "0 9 1 1,5,9 *", "0 9 1 1,4,7,10 *"],
}
"""For each period, schedules of once, twice, three times and so on in it."""

_ONES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen " \
        "eighteen nineteen".split()
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "ninety": 90}
_NUMBER = rf"\b(?:({alternatives(*_TENS)})(?:[ -]({alternatives(*_ONES[:9])}))?|({alternatives(*_ONES)}))\b"
_SPELLINGS = (
    (r"\b([ap])\.\s?m\b\.?", r"\1m"),
    (r"(?<=\d)\s*o'?clock\b", ""),
    (r"\b12 (noon|midnight)\b", r"\1"),
    (r"\b(?:an? |1 )?hour and a half\b", "90 minutes"),
    (r"\bon the hour\b", ":00"),
    (r"\bat minute (\d)\b|(?<=hour) at (\d) ?min(?:ute)?s?\b", r" :0\1\2"),
    (r"\bat minute (\d\d)\b|(?<=hour) at (\d\d) ?min(?:ute)?s?\b", r" :\1\2"),
    (r"(?<=hourly) at (\d\d) ?min(?:ute)?s?\b", r" :\1"),
    (r"\b(?:on the half[ -]hour|(?:at )?half past(?: (?:every|each|the) hour|$))", ":30"),
    (r"\b(?:at )?quarter past(?: (?:every|each|the) hour|$)", ":15"),
    (r"(?<!\d )(?<!an )\bhour and (?=\d+ ?m)", "1 hour and "),
    (r"\b(\d+) and a half (?=\w)", r"\1.5 "),
    (r"(?<![\d.])\.(?=\d)", "0."),
    (r"\b(?:a )?(?:half|1/2)(?: an?)?[ -]hour(?:ly)?\b", "30 minutes"),
    (r"\b(?:a )?(?:quarter|1/4)(?: of)?(?: an?)?[ -]hour\b", "15 minutes"),
    (r"\b(?:a )?half(?: a)?[ -]day\b", "12 hours"),
    (r"\b(?:a )?half(?: a)?[ -]year\b", "6 months"),
    (r"\b3/4(?: of)?(?: an?)?[ -]hour\b", "45 minutes"),
    (r"\bhalf past (\d+)\b", r"\1:30"),
    (r"\bquarter past (\d+)\b", r"\1:15"),
    (r"(?<=[\dm]) local time$", ""),
    (r"\s+", " "),
)
_QUOTES = ('""', "''", "``", "«»", "()")
_LOOKALIKES = str.maketrans("\u2013\u2014\u2018\u2019\u201c\u201d", "--''\"\"") | {
    ord("\u00bd"): ".5", ord("\u00bc"): ".25", ord("\u00be"): ".75"}


def unwrap(text: str) -> str:
    """Return `text` with plain digits and single blanks, without quotes, a leading `cron:` and a full stop at the end.

    Raises ScheduleError if it is too long to read.
    """
    if len(text) > MAX_TEXT_CHARS:
        raise ScheduleError(f"A schedule has at most {MAX_TEXT_CHARS} characters; this one has {len(text)}.")
    plain = unicodedata.normalize("NFKC", text.translate(_LOOKALIKES))
    plain = " ".join("".join(str(unicodedata.decimal(c, c)) for c in plain).split())
    before = ""
    while before != plain:
        before = plain
        for quotes in _QUOTES:
            if len(plain) > 1 and plain[0] + plain[-1] == quotes:
                plain = plain[1:-1].strip()
        plain = re.sub(r"^(?:cron|schedule)\s*[:=]\s*(?=\S)", "", plain, flags=re.I)
        if not re.search(r"\b[ap]\.\s?m\.$", plain, re.I):
            plain = re.sub(r"(?<=[^\s.])[.!;]$", "", plain)
    return plain


def ordinal(number: int) -> str:
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def spelled_plainly(lowered: str) -> str:
    """Return `lowered` with number words as digits, and with one spelling of halves, quarters, `a.m.` and `o'clock`."""
    plain = re.sub(_NUMBER, _digits, lowered)
    for pattern, replacement in _SPELLINGS:
        plain = re.sub(pattern, replacement, plain, flags=re.ASCII)
    return plain.strip()


def _digits(match: re.Match[str]) -> str:
    tens, ones, alone = match.groups()
    return str(_TENS[tens] + (_ONES.index(ones) + 1 if ones else 0) if tens else _ONES.index(alone) + 1)
