"""The rules that read a schedule in words: days, times and intervals, in any order.

A text is a row of parts, each with one rule in RULES. A rule stores what its part means; `combine.py` makes a schedule
of all of them.
"""

import datetime
import re
from collections.abc import Callable
from fractions import Fraction

from ..errors import shortened
from . import cron
from .nearest import with_near_word
from .phrase import Form, Phrase, Refusal, Time
from .time_of_day import ANY_CLOCK, CLOCK, read_time, time_of
from .words import EXAMPLES_OF_TIMES, MONTHS, ORDINALS, UNITS, WEEKDAYS, alternatives, ordinal

_WEEKDAY = alternatives(*WEEKDAYS)
_MONTH = alternatives(*MONTHS) + r"\b\.?"
_TO = r"\s*(?:-|\bto\b|\bthrough\b|\bthru\b|\buntil\b|\btill\b)\s*"
_AND = r"(?:\s*(?:,|&|\+|/|\band\b))+\s*"
_JOIN = rf"(?:{_TO}|{_AND}|\s+)"
_WEEKDAYS = rf"\b{_WEEKDAY}(?:{_JOIN}{_WEEKDAY}\b)*(?!\w)"
_MONTHS = rf"{_MONTH}(?:(?:{_TO}|{_AND}){_MONTH})*"
_ORDINAL = rf"(?:(?:\d{{1,2}}(?:st|nd|rd|th)|{alternatives(*ORDINALS)})\b)"
_ORDINALS = rf"{_ORDINAL}(?:(?:{_AND}|{_TO})(?:the )?{_ORDINAL})*"
_DAY_NUMBER = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?(?![\w:.]|\s*(?:am|pm)\b)"
_YEAR = r"(?:[,-]?\s*(?P<year>(?:19|20|21)\d\d)(?![\w:.-]))?"
_UNIT = alternatives(*UNITS) + r"(?![a-z])"
_AMOUNT = rf"(?:\d+(?:\.\d+)?\s*-?{_UNIT})"
_AMOUNTS = rf"(?:{_AMOUNT}|\ban? {_UNIT})(?:(?:\s*,\s*|\s+and\s+|\s*){_AMOUNT})*"

Rule = Callable[[Phrase, re.Match[str]], None]
RULES: list[tuple[re.Pattern[str], Rule]] = []


def rule(pattern: str) -> Callable[[Rule], Rule]:
    """Register the decorated function for parts that match `pattern`; the first rule that matches counts."""
    def register(function: Rule) -> Rule:
        RULES.append((re.compile(pattern, re.ASCII), function))
        return function
    return register


def read_phrase(text: str) -> Phrase:
    """Return the parts of `text`, plain and in lower case. Raises Refusal at the first word that is not one."""
    phrase = Phrase(text)
    at = 0
    while at < len(text):
        for pattern, store in RULES:
            if match := pattern.match(text, at):
                store(phrase, match)
                at = match.end()
                break
        else:
            raise _unknown(phrase, at)
        if blank := re.compile(r"\s*[,;&]?\s*").match(text, at):
            at = blank.end()
    return phrase


def _unknown(phrase: Phrase, at: int) -> Refusal:
    word = re.split(r"[\s,]", phrase.text[at:], maxsplit=1)[0]
    return Refusal(f"is not a schedule: '{shortened(word)}' is not understood there",
                   *with_near_word(phrase.text, at, word))


@rule(r"bi-?weekly\b|fortnightly\b|(?:every|each) fortnight\b")
def _two_weeks(phrase: Phrase, match: re.Match[str]) -> None:
    phrase.alternate = "week"
    phrase.flags.add("other")


@rule(rf"(?:every|each) (?P<nth>other|alternate|second|third|fourth|fifth|(?!1st)\d{{1,2}}(?:st|nd|rd|th))[ -]"
      rf"(?P<what>{_WEEKDAY}|{_UNIT})(?!\w)(?! (?:of|in)\b)")
def _alternate(phrase: Phrase, match: re.Match[str]) -> None:
    other = match["nth"] in ("other", "alternate")
    phrase.alternate = match["what"]
    phrase.every_nth = 2 if other else ORDINALS.get(match["nth"]) or int(match["nth"][:-2])
    if match["what"] in WEEKDAYS:
        phrase.weekdays = [str(WEEKDAYS[match["what"]])]
        phrase.flags |= {"other"} if other else set()


_PERIOD = "(?P<unit>minute|hour|day|week|month|year|morning|evening|night)"


@rule(rf"(?P<count>once|twice|thrice|\d+ times|\d+x) "
      rf"(?:(?:a|an|per|each|every) {_PERIOD}|(?P<ly>dai|hour|week|month|year)ly)\b")
def _times_a_day(phrase: Phrase, match: re.Match[str]) -> None:
    unit = match["unit"] or match["ly"].replace("dai", "day")
    if re.search(r"\d|\bnoon|\bmidnight", phrase.text[match.end():]):
        if match["count"] != "once":
            raise Refusal("counts runs, and names their times", f"every {unit}{phrase.text[match.end():]}")
        phrase.flags |= {"hourly"} if unit == "hour" else {"every", unit}
        return
    count = {"once": 1, "twice": 2, "thrice": 3}.get(match["count"]) or int(re.sub(r"\D", "", match["count"])[:6])
    if unit in ("hour", "minute"):
        size = int(UNITS[unit])
        forms = [f"every {size // count}m"] if count and size % count == 0 else []
    else:
        forms = EXAMPLES_OF_TIMES.get(unit, EXAMPLES_OF_TIMES["day"])[count - 1:count] if count else []
    if unit == "day" and count > 4 and 24 % count == 0:
        forms = [f"0 */{24 // count} * * *"]
    raise Refusal("names no time", *(["hourly"] if (unit, count) == ("hour", 1) else forms))


@rule(rf"(?:between|from)\s+(?P<first>{ANY_CLOCK})\s*(?:and|{_TO})\s*(?P<last>{ANY_CLOCK})(?![-\d])")
@rule(rf"(?P<first>{ANY_CLOCK})(?<!\d\d\d\d){_TO}(?P<last>{ANY_CLOCK})(?![-\w])"
      rf"(?!\s*(?:of\b|{_MONTH}|{_UNIT}))")
def _between(phrase: Phrase, match: re.Match[str]) -> None:
    phrase.set_once("window", (read_time(phrase, match["first"]), read_time(phrase, match["last"])))


@rule(r"(?P<a>\d{1,2})[/.-](?P<b>\d{1,2})[/.-](?P<year>\d{4}|\d\d)(?![\w:])")
def _slashed_date(phrase: Phrase, match: re.Match[str]) -> None:
    year, first, second = int(match["year"]), int(match["a"]), int(match["b"])
    time = re.search(CLOCK, phrase.text[match.end():], re.A)
    clock = time_of(phrase, time) if time else Time(9)
    forms = []
    dates = [(year + (2000 if year < 100 else 0), first, second), (year + (2000 if year < 100 else 0), second, first)]
    for each in [*dates, (2000 + first, second, year)]:
        try:
            date = datetime.date(*each)
        except ValueError:
            continue
        form = f"{date} {clock.hour:02}:{clock.minute:02}"
        forms += [form] if form not in forms else []
    raise Refusal("has a date whose day and month are not read alike everywhere", *forms)


@rule(r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})(?:t(?=\d)|(?!\w))")
def _iso_date(phrase: Phrase, match: re.Match[str]) -> None:
    phrase.set_once("date", (int(match["year"]), int(match["month"]), int(match["day"])))


@rule(rf"(?P<month>{_MONTH})\s*(?:the )?{_DAY_NUMBER}{_YEAR}")
@rule(rf"{_DAY_NUMBER}[\s-]*(?:of )?(?P<month>{_MONTH}){_YEAR}")
@rule(rf"(?P<first>first|last) day of (?P<month>{_MONTH}){_YEAR}(?P<day>)")
def _date(phrase: Phrase, match: re.Match[str]) -> None:
    month = MONTHS[match["month"].rstrip(".")]
    last = 28 if month == 2 else 30 if month in (4, 6, 9, 11) else 31
    day = int(match["day"] or (1 if match["first"] == "first" else last))
    if not 1 <= day <= last + (month == 2):
        number = match.span("day")
        text = phrase.text[:number[0]] + str(last) + re.sub("^(?:st|nd|rd)", "th", phrase.text[number[1]:])
        raise Refusal(f"names the {ordinal(day)} of a month that has no such day", text, f"{text} at 9:00",
                      f"0 9 L {month} *")
    phrase.set_once("date", (int(match["year"]) if match["year"] else None, month, day))


@rule(rf"(?:{_ORDINAL}[ -](?:(?:to|from)[ -])?|next[ -]to[ -])(?:the )?last\b|penultimate\b")
def _last_but_one(phrase: Phrase, match: re.Match[str]) -> None:
    raise Refusal("counts back from the end of the month, of which cron has only the last day and the last weekdays",
                  "0 9 L * *", "0 9 * * L5")


@rule(rf"(?P<which>{_ORDINALS})\s+(?:(?P<any>(?:week|business |work(?:ing )?)days?)|(?P<days>{_WEEKDAYS}))(?!\w)")
def _nth_weekday(phrase: Phrase, match: re.Match[str]) -> None:
    numbers = _ordinals(phrase, match["which"])
    if match["any"]:
        if numbers != [1]:
            raise Refusal("names a weekday of the month that cron has no form for", "0 9 L * *", "0 9 * * L5")
        phrase.extend("month_days", ["1W"])
        return
    if any(number > 5 for number in numbers):
        raise Refusal("names a week that no month has", f"0 9 * * L{_weekday_numbers(match['days'])[0]}")
    days = _weekday_numbers(match["days"])
    phrase.extend("nth", [(day, number) for number in numbers for day in days])


@rule(rf"(?P<which>{_ORDINALS})(?:\s+days?\b|(?=\s+of\b)|(?<=\d[snrt][tdh]))"
      r"|on (?:the )?day (?P<on>\d{1,2})(?![\w:])|day (?P<number>\d{1,2})(?= of\b)")
def _month_days(phrase: Phrase, match: re.Match[str]) -> None:
    number = match["number"] or match["on"]
    days = [int(number)] if number else _ordinals(phrase, match["which"])
    if any(day > 31 for day in days):
        raise Refusal("names a day that no month has", "0 9 L * *")
    phrase.extend("month_days", ["L" if day == cron.LAST else str(day) for day in days])


def _ordinals(phrase: Phrase, text: str) -> list[int]:
    def number(word: str) -> int:
        return ORDINALS[word] if word in ORDINALS else int(re.sub(r"\D", "", word))

    found: list[int] = []
    for item in re.split(_AND, text):
        ends = [number(word) for word in re.findall(_ORDINAL, item)]
        if len(ends) == 2 and not 0 < ends[0] < ends[1] <= 31:
            raise Refusal(f"has a range that runs backwards: '{item}'", f"0 9 {ends[0]}-{ends[1]} * *")
        found += range(ends[0], ends[-1] + 1)
    return sorted(set(found), key=lambda day: day or 99)


@rule(r"(?P<today>today|tonight|this (?P<part>morning|afternoon|evening))\b"
      r"|(?:the )?day after tomorrow\b|tomorrow\b|tmrw?\b|tomorow\b")
def _relative_day(phrase: Phrase, match: re.Match[str]) -> None:
    phrase.set_once("days_ahead", 0 if match["today"] else 2 if "after" in match[0] else 1)
    if match["part"] or match[0] == "tonight":
        phrase.set_once("part_of_day", match["part"] or "night")


@rule(rf"(?P<which>next|this|coming|this coming)\s+(?P<day>{_WEEKDAY})(?!\w)")
def _coming_weekday(phrase: Phrase, match: re.Match[str]) -> None:
    phrase.set_once("coming_weekday", (WEEKDAYS[match["day"]], 1 if match["which"] == "next" else 0))


@rule(_WEEKDAYS)
def _named_weekdays(phrase: Phrase, match: re.Match[str]) -> None:
    named, numbers = match[0], _weekday_numbers(match[0])
    if named in WEEKDAYS and named not in _PLURALS:
        phrase.single_weekday = named
    ends = re.split(_TO, named)
    whole = len(ends) == 2 and all(end in WEEKDAYS for end in ends)
    ranged = whole and numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 2
    phrase.extend("weekdays", [f"{numbers[0]}-{numbers[-1]}"] if ranged else [str(number) for number in numbers])


_PLURALS = {f"{name.lower()}s" for name in cron.WEEKDAY_NAMES} | {
    f"{name}s" for name in cron.WEEKDAYS if name not in ("tue", "wed", "thu")}
"""Names of weekdays that are plural, and so mean every one."""


def _weekday_numbers(text: str) -> list[int]:
    found: set[int] = set()
    for item in re.split(rf"{_AND}|\s+", re.sub(_TO, "-", text)):
        first, *last = [WEEKDAYS[word] for word in re.findall(rf"\b{_WEEKDAY}\b", item)]
        end = last[-1] if last else first
        if last and first == end:
            raise Refusal("has a range of days that ends where it begins", "daily at 9:00", f"0 9 * * {first}")
        found |= {day % 7 for day in range(first, end + (8 if end < first else 1))}
    return sorted(found)


@rule(r"weekdays?\b|week days\b|(?:work(?:ing )?|business )days?\b|weekends?\b|weekend days?\b")
def _kind_of_day(phrase: Phrase, match: re.Match[str]) -> None:
    phrase.extend("weekdays", ["0", "6"] if match[0].startswith("weekend") else ["1-5"])


@rule(_MONTHS)
def _named_months(phrase: Phrase, match: re.Match[str]) -> None:
    def number(name: str) -> int:
        return MONTHS[name.strip().rstrip(".")]

    items = [[number(end) for end in re.split(_TO, item)] for item in re.split(_AND, match[0])]
    phrase.set_once("months", ",".join("-".join(map(str, dict.fromkeys(item))) for item in items))


@rule(r"(?:at )?:(?P<colon>[0-5]\d)\b"
      r"|(?:at )?(?P<past>[0-5]?\d)(?: ?(?:m|mins?|minutes?))? (?:past|after) (?:the|each|every) hour\b")
def _past_hour(phrase: Phrase, match: re.Match[str]) -> None:
    phrase.set_once("past_hour", int(match["colon"] or match["past"]))
    phrase.flags.add("hourly")


@rule(rf"(?:(?:in|after)\s+|\+\s*)(?P<amount>{_AMOUNTS}|{_UNIT})(?!\w)"
      rf"|(?P<later>{_AMOUNTS})\s+(?:from now|later)\b")
def _delay(phrase: Phrase, match: re.Match[str]) -> None:
    phrase.set_once("delay", _minutes(phrase, match["amount"] or match["later"]))


@rule(rf"{_AMOUNTS}(?!\w)|(?:m|mins?|minutes?|h|hrs?|hours?|s|secs?|seconds?)(?!\w)")
def _interval(phrase: Phrase, match: re.Match[str]) -> None:
    phrase.set_once("minutes", _minutes(phrase, match[0]))


def _minutes(phrase: Phrase, text: str) -> Fraction:
    """Return the minutes of `2h30m`, `1.5 hours`, `an hour`, `day`; months and years are stored as months."""
    total = Fraction(0)
    if text in UNITS:
        text = f"1 {text}"
    for number, unit in re.findall(rf"(\d+(?:\.\d+)?|\ban?\b)\s*-?({_UNIT})", text, re.A):
        size = UNITS[unit]
        count = Fraction("1" if number.startswith("a") else number[:32])
        if size < 0:
            phrase.calendar_months = (phrase.calendar_months or Fraction(0)) - count * size
        total += count * abs(size)
    return total


@rule(r"(?:(?:in|on|during) (?:the )?)?(?P<part>morning|afternoon|evening|night)s?\b|(?P<nightly>nightly)\b")
def _part_of_day(phrase: Phrase, match: re.Match[str]) -> None:
    phrase.set_once("part_of_day", match["part"] or "night")
    phrase.flags |= {"every"} if match["nightly"] or match[0].endswith("s") else set()


@rule(rf"(?P<at>(?:at|@)\s*)?(?P<time>{CLOCK})")
def _clock(phrase: Phrase, match: re.Match[str]) -> None:
    time = time_of(phrase, match)
    before = phrase.text[:match.start()].rstrip()
    if re.search(r"\dh\d", match["time"]) and re.search(r"\b(?:every|each)$", before) and not match["at"]:
        raise Refusal("could be a time or an interval", f"daily at {time}", f"every {60 * time[0] + time[1]}m")
    after = phrase.text[match.end():]
    if match["time"].isdigit() and not match["at"]:
        _refuse_count(phrase, match, before, after.lstrip(" ,"))
    phrase.times.append(time)


def _refuse_count(phrase: Phrase, match: re.Match[str], before: str, after: str) -> None:
    """Raise Refusal if the plain number `match` may be something else than the hour after days."""
    number, start = match["time"], phrase.text[:match.start()]
    if re.search(r"\bon$|\bon the$", before) and len(number) < 3:
        raise Refusal(f"has the number {number}, which could be a time or a day",
                      f"{start}{'' if before.endswith('the') else 'the '}{ordinal(int(number))} {after}".strip(),
                      f"{start.removesuffix('on ')}at {number} {after}".strip())
    if re.search(r"(?<!every )(?<!each )\bday$", before):
        raise Refusal(f"has the number {number}, which could be a time or a day",
                      f"{start}{number} of the month {after}".strip(), f"daily at {number}:00")
    if re.search(r"\b(?:every|each)$", before) and len(number) == 4 and not after:
        raise Refusal(f"has the number {number}, which could be a time or a count", f"every {int(number)}m",
                      f"daily at {number}")
    if len(number) == 4 and phrase.months:
        raise Refusal(f"has the number {number}, which could be a time or a year",
                      f"{start}1 {number} {after or '9:00'}", f"{start}at {number} {after}".strip())
    if re.search(r"\b(?:in|after)$", before) and not after:
        raise Refusal(f"has the number {number} and no unit", f"in {number}m", f"in {number}h")
    listed = phrase.times and re.search(r"(?:,|&|\band)$", before)
    if listed or (not phrase.times and re.match(r"$|(?:in the|at night|tonight|this)\b", after)):
        return
    if after and not any(pattern.match(after) for pattern, _ in RULES):
        raise _unknown(phrase, len(phrase.text) - len(after))
    forms: list[Form] = []
    if of := re.search(r"\bof (?:the|each|every|a)?\s*month", after):
        days = re.sub(r"\b\d{1,2}\b", lambda day: ordinal(int(day[0])), f"{number} {after[:of.start()]}")
        forms = [f"{start}{days}{after[of.start():]}"]
    if re.search(r"\b(?:every|each)$", before) and (weekday := re.match(_WEEKDAY, after)):
        forms = [(f"every {7 * int(number)}d", "from now"), (f"0 9 * * {WEEKDAYS[weekday[0]]}", "every week")]
    if re.match(r"\d\d?\b", after):
        forms = [f"{start}at {number}:{after}", f"{start}at {number}, {after}"]
    if phrase.times:
        forms = [f"{before}:{number} {after}".strip(), f"{before}, {number} {after}".strip()]
    raise Refusal(f"has the number {number}, which could be a time or a count", *forms,
                  *([] if forms else [f"{start}at {number} {after}"]))


@rule(r"(?P<flag>every|each|all|everyday|daily|days?|weekly|week|monthly|months?|quarterly|quarter|yearly|annually|"
      r"annual|year|hourly|once)\b")
def _flag(phrase: Phrase, match: re.Match[str]) -> None:
    words = {"each": "every", "all": "every", "annually": "yearly", "annual": "yearly",
             "days": "day", "months": "month"}
    phrase.flags |= {"every", "day"} if match[0] == "everyday" else {words.get(match[0], match[0])}


@rule(r"(?:the|of|on|at|in|and|a|per|run|starting|@)(?!\w)")
def _connector(phrase: Phrase, match: re.Match[str]) -> None:
    """Skip a word that changes nothing."""
