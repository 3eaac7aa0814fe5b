"""Suggestions for texts that are not schedules. `parse.py` offers those that are accepted."""

import re
from collections.abc import Iterator

from . import cron
from .words import DAY_PARTS, MONTHS, ORDINALS, UNITS, WEEKDAYS

_KNOWN = [*(name for name in WEEKDAYS if len(name) != 4 or name == "tues"), *MONTHS, *ORDINALS, *UNITS, *DAY_PARTS,
          "daily", "weekly", "monthly", "quarterly", "yearly", "hourly", "nightly", "everyday", "weekdays", "weekends",
          "tomorrow", "tonight", "today", "midnight", "every"]

_EXCEPT = "(?:except|excluding|but|other than)"
_REASONS = (
    # a text, the reason why it is refused, forms to write instead
    (r"^@?(?:(?:on |at |after )?(?:re)?boot|(?:on |at )?start-?up)\b",
     "names a start of the machine, which is not a time", "@daily"),
    (r"^(?:right )?now$|^immediately$|^asap$", "is not a time to come", "in 1m"),
    (r"\bago$|^(?:yesterday|last (?:night|week|month|year))\b", "is in the past", "tomorrow at 9:00"),
    (rf"\b{_EXCEPT}\b", "excludes days, and a schedule names those that remain"),
    (r"^(?:never|none|null|off|manual(?:ly)?|disabled)$", "is not a time, and a job that should not run is paused"),
    (r"^@?minutely$", "is not a schedule", "every 1m"),
    (r"^@(?:fortnightly|bi-?weekly)$", "is not a macro of cron", "every 14d"),
    (r"^@?bi-?monthly\b", "may mean every two months or twice a month", "0 0 1 */2 *",
     "1st and 15th at 0:00"),
    (r"^@?bi-?hourly\b", "may mean every two hours or twice an hour", "every 2h", "every 30m"),
    (r"^@?(?:bi|semi|half)-?(?:annual(?:ly)?|yearly)\b", "is not a schedule", "0 0 1 */6 *"),
    (r"^@?semi-?monthly\b", "is not a schedule", "1st and 15th at 0:00"),
    (r"^(?:r\d*/)?pt?\d+[a-z\d]*$", "is a duration of ISO 8601, which is not accepted"),
    (r"^(?:rrule[:;])?freq=", "is a rule of iCalendar, which is not accepted"),
)

_REWRITES = (
    (r"^@ ?(\d.*|noon|midday)$", r"daily at \1"), (r"^@weekdays$", "weekdays at 9:00"), (r"^[@#]+ ?", ""), (r"_", " "),
    (r"(?<=[a-z])-(?=\d)|(?<=\d)-(?=[a-z])", " "), (r"(?<=[a-z])(?=\d)", " "),
    (r"^[\[{(<'\"]+|[\]})>'\"]+$", ""), (r"\s*[:=-]+\s+|\s[-=]+\s", " "),
    (r"\b(\d{1,3}),(\d{3})(?= ?[a-z])", r"\1\2"), (r"(\d),(\d{1,2})(?= ?(?:h|m|d|w))", r"\1.\2"),
    (r"\s+or\s+|\s*(?:&&|\|)\s*", " and "), (r"(?<=[\dm])/(?=\d)", ", "), (r"\.$", ""),
    (r"^(\d{1,2})[ ,]([0-5]\d)$", r"daily at \1:\2"), (r"(\dh(?:ours?)?) (\d+)$", r"\1 \2m"), (r"(?<!\S)-(?=\d)", ""),
    (r"\b(\d{1,2})[ ;,-]([0-5]\d)$", r"\1:\2"), (r"(?:\bat )?\b(\d)([0-5]\d)$", r"at \1:\2"),
    (r"\b(\d) past (\d\d?)$", r"\2:0\1"), (r"\b([1-5]\d) past (\d\d?)$", r"\2:\1"),
    (r"\b(\d\d?):(\d)\b(?!:)", r"\1:0\2"),
    (r"(?<=\d) (?=\d+( |$))", ", "),
    (r"^(?:please|repeat(?:ed|ing)?|schedule|execute|remind me|do) ", ""),
    (r"\b(?:only|just|always|single|about|around|approximately|roughly|exactly|sharp) ?", ""),
    (r"^(?:rate|every) ?\((.+)\)?$", r"every \1"), (r"^cron ?\(?((?:\S+ ){4}[^\s)]+).*$", r"\1"),
    (r"^(?:r\d*/)?p((?:\d+[wd])*)(?:t((?:\d+[hm])+))?$", r"every \1\2"), (r"^on\w*sec ?= ?(.+)$", r"every \1"),
    (r"^(?:at )?now ?\+ ?(.+)$|^t ?\+ ?(.+)$", r"in \1\2"),
    (r"\bminutely\b", "every 1m"), (r"\b(?:the )?end of (?:the |each |every )?month\b", "last day of the month"),
    (r"\b(?:the )?(?:start|beginning) of (?:the |each |every )?month\b", "first day of the month"),
    (r"^(?:at )?(?:the )?(?:end of (?:the |each |every )?day|eod)$", "daily at 23:59"),
    (r"^(?:on )?alternate (\w+?)s?\b", r"every other \1"), (r"\bmid-day\b", "midday"),
    (r"^every (\d+) ?(?:-|/|to|or|,) ?(\d+) ?(?=[a-z])", r"every \1 "), (r"\b(\d\d?)h([0-5]\d)m\b", r"\1:\2"),
    (r"\bnext day\b", "tomorrow"), (r" (?:of|a|per) (?:the |an? |every |each )?(?:hour|day)$", ""),
    (r"\bm-f\b", "mon-fri"), (r"\bmwf\b", "mon, wed, fri"), (r"\btth\b", "tue, thu"),
    *((rf"\b{day[:2]}\b", day) for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")),
    (r"\bthe first$", "the 1st"), (r"\b(\d\d?) of (?=the|each|every)", r"\1th of "),
    (r"^(\d{4})(\d\d)(\d\d)[ t]?(\d\d)(\d\d)(?:\d\d)?$", r"\1-\2-\3 \4:\5"),
    (r"^(?:[a-z]{3} )?([a-z]{3} \d\d?) (\d\d:\d\d)(?::\d\d)? (?:[a-z]+ )?(\d{4})$", r"\1 \3 \2"),
    (r"[\"'`]", ""), (r"^(?:every )?(\d{4,})$", r"every \1s"), (r"^every (\d+)$", r"every \1m"),
    (r"^(?:in|after) (\d+)$", r"in \1m"), (r"^(\d+)$", r"every \1m"),
    (r"^every (\d+)$", r"every \1h"), (r"^(\d+)$", r"in \1m"),
)
"""Spellings that are not understood, and those of the same that are."""


def reason_for(text: str) -> tuple[str, list[str]] | None:
    """Return the reason why `text` is refused, and forms, if it is of a kind that has an own reason."""
    return next(((reason, list(forms)) for pattern, reason, *forms in _REASONS if re.search(pattern, text)), None)


def rewritten(text: str) -> Iterator[str]:
    """Yield `text` in spellings that may be understood: all rules applied, and then each one."""
    if match := re.search(rf"^(.*?)\b{_EXCEPT}\b(.*)$", text):
        yield from _remaining(match[1], match[2])
    together = text
    alone = []
    for pattern, replacement in _REWRITES:
        if re.search(pattern, text):
            alone.append(re.sub(pattern, replacement, text).strip())
        together = re.sub(pattern, replacement, together).strip()
    yield from (together, *alone)


def _remaining(named: str, excluded: str) -> Iterator[str]:
    """Yield the days of `named` without those of `excluded`, at the time of either."""
    def days(text: str) -> set[int]:
        found = {WEEKDAYS[word] for word in re.findall("[a-z]+", text) if word in WEEKDAYS}
        return found | ({0, 6} if "weekend" in text else set(range(1, 6)) if "weekday" in text else set())

    if re.search(r"-|\bto\b|through", named + excluded) or not days(excluded):
        return
    left = sorted((days(named) or set(range(7))) - days(excluded))
    time = re.search(r"\bat ?\S.*$|\b\d\S*(?: ?[ap]m)?$", named.strip()) or re.search(r"\bat ?\S.*$", excluded)
    if time and left:
        yield f"{', '.join(cron.WEEKDAY_NAMES[day].lower() for day in left)} {time[0]}"


def with_near_word(text: str, at: int, word: str) -> list[str]:
    """Return `text` with the known word that is nearest to `word`, which begins at `at`; empty if none is near."""
    import difflib  # for a mistake only

    near = difflib.get_close_matches(word, _KNOWN, 1, 0.75) if 3 < len(word) < 20 and word not in _KNOWN else []
    return [text[:at] + each + text[at + len(word):] for each in near]


def halves(text: str) -> Iterator[tuple[str, str]]:
    """Yield `text` cut in two at each word or sign that may part two schedules."""
    for match in re.finditer(r"\s*(?:;|\||&&)\s*|,\s+(?:and\s+|or\s+)?|\s+(?:and|or|&|then)\s+", text):
        first, second = text[:match.start()], text[match.end():]
        if match[0].startswith(",") and first in WEEKDAYS:
            continue  # Monday, March 15
        if second.lower().startswith(tuple(MONTHS)) and not first.lower().startswith(tuple(MONTHS)):
            continue  # last day of March and June
        time = re.search(r" at .+$", second)
        if time and not re.search(r"\bat\b|:", first):
            first += time[0]
        yield first, second
