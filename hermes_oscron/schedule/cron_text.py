"""Recognize cron expressions and systemd's calendar events, and refuse those that are read in two ways."""

import re

from . import cron
from .model import ScheduleError
from .phrase import Form, Refusal
from .words import MONTH_NAMES

_FIELD = r"[\d*?][\d*/,?lw#-]*|[hr](?:\([\d,-]*\))?(?:/\d+)?"
_SIGNS = r"[^\w*?/,#-]|x"
"""A sign that stands for a star, such as a full stop."""
_NEAR_ITEMS = (
    # the field ("" for all of them), an item in it, the item that may be meant
    ("", r"(\w+)(?:\.\.|:)(\w+)", r"\1-\2"), ("", rf"{_SIGNS}|-", "*"), ("", r"\\\*|\*+\d*", "*"),
    ("", r"(.+)/0*", r"\1"),
    ("", r"/(\d+)", r"*/\1"), ("", r"[hr]\(([\d-]+)\)(.*)", r"\1\2"), ("", r"[hr]/(\d+)", r"*/\1"),
    ("minute", r"[hr?]", "0"), ("hour", r"[hr]", "0"), ("hour", r"\?", "*"), ("month", r"\?", "*"),
    ("day-of-month", r"[hr]", "1"), ("month", r"[hr]", "1"),
    ("month", "0-11", "*"), ("minute", "60", "0"), ("day-of-month", "lw|wl|w|l-\\d+|3[2-9]|[4-9]\\d", "L"),
    ("day-of-month", r"(\d+)-l", r"\1-31"),
    ("day-of-week", "weekdays?|workdays?", "1-5"), ("day-of-week", "weekends?", "0,6"),
    ("day-of-week", r"([a-z\d]{1,3}?)l|l([a-z]{3})", r"L\1\2"), ("day-of-week", r"(\w+)#(?:0|[6-9]|l|-1)", r"L\1"),
    ("day-of-week", r"([1-7])-([1-7])#([1-5])", r"\1#\3,\2#\3"),
)


def is_cron(lowered: str) -> bool:
    """Return True if `lowered` is meant as a cron expression: it begins with fields for a minute and an hour."""
    words = lowered.split(" ")
    if re.fullmatch(r"\d+ (?:[hr]|2[4-9]|[3-9]\d)|\d{6,}.*", lowered, re.A):
        return False
    if len(words) == 1:
        return bool(re.fullmatch(r"[\d*/,-]*\*[\d*/,-]*", lowered, re.A))
    return all(re.fullmatch(_FIELD, word, re.A) and not re.match(r"\d{4}-\d|\d+-\d+-", word) for word in words[:2])


def is_systemd(lowered: str) -> bool:
    """Return True if `lowered` is meant as a calendar event of systemd.time(7)."""
    starred = "*" in lowered and re.search(r"[*\d]-[*\d][*\d,./]*-[*\d]|[*\d]:[*\d]", lowered)
    return bool(lowered.startswith("oncalendar") or starred or re.search(r"[a-z\d]\.\.[a-z\d]", lowered))


def refuse_systemd(words: str) -> Refusal:
    """Return the refusal of a calendar event, with the cron expression of the same times if it has one."""
    return Refusal("is a calendar event of systemd, which is not accepted", *_same_as(words))


def _same_as(words: str) -> list[Form]:
    event = re.sub(r"^oncalendar\s*=\s*", "", words.lower()).strip("\"'")
    match = re.fullmatch(r"(?:(?P<days>[a-z][a-z,.]*)\s*)?(?:(?:\*-)?(?P<month>[*\d,./]+)[-~](?P<day>[*\d,./]+)\s*)?"
                         r"(?:(?P<hour>[*\d,./]+):(?P<minute>[*\d,./]+)(?::0*)?)?", event, re.A)
    if re.fullmatch(r"[a-z]+ly", event):
        return [{"weekly": "every monday at 0:00", "minutely": "every 1m"}.get(event, event)]
    if not match or not any(match.groups()):
        return []
    days = ",".join(re.sub(r"([a-z]{3})[a-z]*", r"\1", item) for item in (match["days"] or "*").split(","))
    day = match["day"] or "*"
    if "~" in event:
        day = "L" if re.fullmatch("0?1", day) else ""
    if days != "*" != day:  # both hold in systemd, either one in cron
        weeks = {"1..7": 1, "01..07": 1, "8..14": 2, "08..14": 2, "15..21": 3, "22..28": 4}
        if day not in weeks or re.search(r"[.,]", days):
            return []
        day, days = "*", f"{days}#{weeks[day]}"
    fields = [match["minute"] or "0", match["hour"] or "0", day, match["month"] or "*", days]
    expression = _accepted(" ".join(field.replace("..", "-") for field in fields))
    minute, hour, *rest = expression.split(" ") if expression else ["", "", ""]
    daily = rest == ["*"] * 3 and hour.isdigit() and minute.isdigit()
    return [f"daily at {hour}:{minute:0>2}" if daily else expression]


def doubt(expression: str) -> Refusal | None:
    """Return the refusal of `expression` if programs read it in two ways, else None.

    New schedules are refused with it; a stored one fires as the agent fires it.
    """
    fields = _joined(expression.lower()).split()
    if len(fields) == 6:
        kept = _accepted(" ".join(fields[:5]))
        dropped = _accepted(" ".join(fields[1:]))
        if kept and _is_second(fields[5]):
            if kept == dropped:
                return Refusal("has six fields, and the agent takes the sixth as the second", kept)
            return Refusal("has six fields, and the agent takes the sixth as the second", (kept, "without the sixth"),
                           *([(dropped, "if the first is the second")] if dropped else []))
        if kept and not dropped and re.search("[a-z/]", fields[5]):
            return None
        return Refusal("has six fields, and a cron expression has five, without seconds and years",
                       *filter(None, [dropped or kept]))
    found = [(field, item) for field, text in zip(cron.FIELDS, fields, strict=False) for item in text.split(",")
             if _is_one_number(field, item)]
    if not found:
        return None
    field, item = found[0]
    one, whole = (
        " ".join(",".join(_replaced(item, instead) if _is_one_number(field, item) else item for item in text.split(","))
                 for field, text in zip(cron.FIELDS, fields, strict=False))
        for instead in (r"\1\2", "*"))
    return Refusal(f"has {item} as its {field.name}, of which cron takes the one number, croniter and the agent the "
                   "whole field", *[form for form in (one, whole) if _accepted(form)])


def _replaced(item: str, instead: str) -> str:
    return re.sub(r"(\w+)-\w+(?:/\d+)?(#\d+)?", instead, item, flags=re.A)


def _is_one_number(field: cron.Field, item: str) -> bool:
    """Return True if `item` is a range, such as 5-5, that ends where it begins."""
    match = re.fullmatch(r"(\w+)-(\w+)(/\d+|#\d+)?", item, re.A)
    return bool(match and _same(field, match[1], match[2]))


def _same(field: cron.Field, low: str, high: str) -> bool:
    """Return True if `low` and `high` are the same number; 0-7 is all days of the week for everyone."""
    try:
        return field.number(low) == field.number(high) and (low, high) != ("0", "7")
    except ScheduleError:
        return False


def _is_second(text: str) -> bool:
    try:
        return bool(cron.without_second(f"* * * * * {text}"))
    except ScheduleError:
        return False


def _accepted(expression: str) -> str:
    """Return `expression` as it is shown, "" if it is not one."""
    try:
        return cron.canonical(expression) if len(expression.split()) == 5 else ""
    except ScheduleError:
        return ""


def nearest(lowered: str) -> list[str]:
    """Return cron expressions that `lowered`, which is not one, may be meant as; not all of them are accepted."""
    fields = _joined(lowered).split(" ")
    if len(fields) == 3 and re.fullmatch("[a-z]{3,}", fields[2]):
        fields[2:] = ["*", "*", fields[2].replace("daily", "*")]
    found = []
    for five in ([fields[1:6], fields[:5]] if len(fields) > 5 else [fields]):  # Quartz with a year; a crontab's line
        five = [_near_field(field, text)
                for field, text in zip(cron.FIELDS, five + ["*"] * (5 - len(five)), strict=True)]
        if re.fullmatch("24", five[1]):
            five[:2] = [five[0], "0"] if five[2:] == ["*"] * 3 else ["59", "23"]
        found.append(" ".join(_clamped(field, text) for field, text in zip(cron.FIELDS, five, strict=True)))
    return [next(filter(_accepted, found), ""), *_two_kinds(found[-1])]


def _joined(lowered: str) -> str:
    """Return `lowered` with the blanks between five fields only."""
    if " " not in lowered and len(re.split(r"[,_-]", lowered)) == 5:
        return re.sub(r"[,_-]", " ", lowered)
    day = "(?:sun|mon|tue|wed|thu|fri|sat)[a-z]*"
    joined = re.sub(r"(?<=\w)(,) +(?=\w)|(?<=\w) +(-) +(?=\w)", r"\1\2", lowered)
    joined = re.sub(rf"({day}) (?:to|through|until) (?={day})", r"\1-", joined)
    return re.sub(rf"({day}) (?:and )?(?={day})", r"\1,", joined)


def _near_field(field: cron.Field, text: str) -> str:
    items = []
    for item in filter(None, text.split(",")):
        for name, pattern, replacement in _NEAR_ITEMS:
            if name in ("", field.name) and re.fullmatch(pattern, item):
                item = re.sub(pattern, replacement, item)
        if field is cron.WEEKDAY and re.fullmatch("L[a-z]{3}", item):
            item = f"L{field.names.get(item[1:], '')}"
        items.append("-".join(_short_name(end) for end in item.split("-")))
    return ",".join(items).upper() or "*"


def _short_name(name: str) -> str:
    """Return `name` as cron abbreviates it, if it is a month or a weekday in full."""
    full = [*cron.WEEKDAY_NAMES, *MONTH_NAMES]
    return name[:3] if len(name) > 3 and any(each.lower().startswith(name.rstrip("s")) for each in full) else name


def _clamped(field: cron.Field, text: str) -> str:
    """Return `text` with each number outside of `field` replaced by the nearest one in it, if that makes sense."""
    if field in (cron.MINUTE, cron.HOUR) and text.isdigit():
        return text
    high = 7 if field is cron.WEEKDAY else field.high
    return re.sub(r"(?<![\d/#])\d+", lambda number: str(min(max(int(number[0]), field.low), high)), text)


def _two_kinds(expression: str) -> list[str]:
    """Return two expressions for one that mixes weekdays of every week with numbered ones."""
    *others, weekday = expression.split(" ")
    items = weekday.split(",")
    numbered = [item for item in items if "#" in item or item.startswith("L")]
    if not numbered or len(numbered) == len(items):
        return []
    return [" ".join([*others, ",".join(part)]) for part in (numbered, [i for i in items if i not in numbered])]
