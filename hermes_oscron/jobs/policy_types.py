"""The types of the values of a policy: times, sizes, numbers, lists and tables."""

import re

from ..errors import shortened
from .checks import MAX_TEXT_CHARS, NO_NUL, Type, ValidationError, text

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
GROUP_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}"
ZONE_NAME = r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}"
MAX_ITEMS = 100
MAX_FACTOR = 10
RETRIED = ("error", "timeout", "interrupted")
"""The outcomes of a run that can be retried."""
UNITS_BYTES = {"M": 1024**2, "G": 1024**3}
SIZE, MIN_SIZE, MAX_SIZE = r"(1[6-9]|[2-9][0-9]|[1-9][0-9]{2,5})M|[1-9][0-9]{0,3}G", 16 * 1024**2, 9999 * 1024**3
URL = r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\u0000]+"
RECEIVERS = {"urls": rf"none|{URL}( {URL})*", "command": r"[^\s\u0000]+( [^\s\u0000]+)*",
             "ping": r"none|https?://([^\s\u0000{}]|\{(profile|job|name)\})+"}
"""The receivers of alerts of a job: the key of each in `notify`, and its values."""
RECEIVER_WORDS = {"urls": "Apprise URLs with a space between them", "command": "words with a space between them",
                  "ping": "a URL of HTTP, in which {profile}, {job} and {name} stand for the job"}
VARIABLE = "[A-Za-z_][A-Za-z0-9_]{0,127}"
MAX_S = 99999 * UNITS_S["d"]
BUDGET_WORDS = (r"(([1-9][0-9]{0,8}(\.[0-9]{1,6})?|0\.0{0,5}[1-9][0-9]{0,5}) USD|[1-9][0-9]{0,14} tokens) per "
                r"(day|month)")
TIME = r"[1-9][0-9]{0,4}[smhd]"
MINUTES_TIME = r"[1-9][0-9]{0,4}[mhd]"
SPAN_TIME = r"([1-9]|[1-9][0-9]|[1-9][0-9]{2}|1[0-3][0-9]{2}|14[0-3][0-9]|1440)m|([1-9]|1[0-9]|2[0-4])h|1d"
SHORT_TIME, MAX_SHORT_S = r"[1-9][0-9]{0,2}s|([1-9]|[1-5][0-9]|60)m", 3600


def _time(pattern: str, least_s: int, most_s: int, example: str) -> Type:
    def check(name: str, value: object) -> int:
        seconds: object = value
        if isinstance(value, str) and re.fullmatch(pattern, value):
            seconds = int(value[:-1]) * UNITS_S[value[-1]]
        if not _is_whole(seconds, least_s, most_s):
            raise ValidationError(f"'{name}' must be a time from {time_words(least_s)} to {time_words(most_s)}, like "
                                  f"\"{example}\", or a whole number of seconds.")
        return int(seconds)  # type: ignore[call-overload, no-any-return]

    return Type(check, {"anyOf": [{"type": "integer", "minimum": least_s, "maximum": most_s},
                                  {"type": "string", "pattern": f"^({pattern})$"}, {"type": "null"}]})


def _codes(name: str, value: object) -> list[int]:
    if not isinstance(value, list) or len(value) > MAX_ITEMS or not all(_is_whole(each, 1, 255) for each in value):
        raise ValidationError(f"'{name}' must be a list of at most {MAX_ITEMS} exit codes from 1 to 255.")
    return sorted({int(code) for code in value})


def _zone(name: str, value: object) -> str:
    from zoneinfo import ZoneInfo

    try:
        if isinstance(value, str) and re.fullmatch(ZONE_NAME, value):
            return ZoneInfo(value).key
    except (ValueError, OSError, LookupError):
        pass
    raise ValidationError(f"'{name}' must be the name of a time zone, like Europe/Berlin.")


def _day(name: str, value: object) -> str:
    import datetime

    try:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise ValidationError(f"'{name}' must be a day like 2027-01-01.")


def _days(name: str, value: object) -> list[str]:
    from .exclusions import NotADay, days_in

    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise ValidationError(f"'{name}' must be a list of at most {MAX_ITEMS} days, ranges and files.")
    for each in value:
        if text(name, each).startswith("/"):
            continue
        try:
            days_in(each)
        except NotADay as error:
            raise ValidationError(f"'{name}' has days, ranges of days and absolute paths of files: {error}") from None
    return value


def _group(name: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(GROUP_NAME, value):
        raise ValidationError(f"'{name}' must be a name of at most 64 letters, digits, '_', '-' and '.', without a '.' "
                              f"at its beginning.")
    return value


def _factor(name: str, value: object) -> int | float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 1 <= value <= MAX_FACTOR:
        raise ValidationError(f"'{name}' must be a number from 1 to {MAX_FACTOR}.")
    return value if value % 1 else int(value)


def _causes(name: str, value: object) -> list[str | int]:
    if not isinstance(value, list) or len(value) > MAX_ITEMS or not all(
            _is_whole(each, 1, 255) or (isinstance(each, str) and each in RETRIED) for each in value):
        raise ValidationError(f"'{name}' must be a list of {', '.join(RETRIED)} and exit codes from 1 to 255.")
    return list(dict.fromkeys(each if isinstance(each, str) else int(each) for each in value))


def whole(least: int, most: int, unit: str = "") -> Type:
    def check(name: str, value: object) -> int:
        number: object = value
        if unit and isinstance(value, str) and re.fullmatch(rf"[1-9][0-9]{{0,5}}{unit}", value):
            number = int(value[:-1])
        if not _is_whole(number, least, most):
            form = f", or a text like \"{least}{unit}\"" if unit else ""
            raise ValidationError(f"'{name}' must be a whole number from {least} to {most}{form}.")
        return int(number)  # type: ignore[call-overload, no-any-return]

    number = {"type": "integer", "minimum": least, "maximum": most}
    text = [{"type": "string", "pattern": f"^([1-9][0-9]{{0,{len(str(most)) - 1}}}){unit}$"}] if unit else []
    return Type(check, {"anyOf": [number, *text, {"type": "null"}]})


def _size(name: str, value: object) -> int:
    size: object = value
    if isinstance(value, str) and re.fullmatch(SIZE, value):
        size = int(value[:-1]) * UNITS_BYTES[value[-1]]
    if not _is_whole(size, MIN_SIZE, MAX_SIZE):
        raise ValidationError(f"'{name}' must be a size from {size_words(MIN_SIZE)} to {size_words(MAX_SIZE)}, like "
                              f"\"512M\", or a number of bytes.")
    return int(size)  # type: ignore[call-overload, no-any-return]


def one_of(*words: str) -> Type:
    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValidationError(f"'{name}' must be one of {', '.join(words)}.")
        return value

    return Type(check, {"enum": [*words, None]})


def _variables(name: str, value: object) -> dict[str, str | None]:
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        raise ValidationError(f"'{name}' must be a table of at most {MAX_ITEMS} variables, like {{\"LANG\": \"C\"}}.")
    for variable, content in value.items():
        if not re.fullmatch(VARIABLE, variable):
            raise ValidationError(f"'{name}' has {shortened(variable)!a}, which is not the name of a variable.")
        if content is not None:
            text(f"{name}.{variable}", content)
    return value


def _credentials(name: str, value: object) -> dict[str, str | None]:
    if not isinstance(value, dict) or len(value) > MAX_ITEMS or not all(re.fullmatch(GROUP_NAME, key) for key in value):
        raise ValidationError(f"'{name}' must be a table of at most {MAX_ITEMS} files, by names of letters, digits, "
                              f"'_', '-' and '.', like {{\"key\": \"/etc/job.key\"}}.")
    return {key: None if path is None else _file(f"{name}.{key}", path) for key, path in value.items()}


def _budget(name: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(BUDGET_WORDS, value):
        raise ValidationError(f"'{name}' must be an amount for a day or a month, like \"2.50 USD per day\" or \"50000 "
                              f"tokens per month\".")
    return value


def _notify(name: str, value: object) -> dict[str, str | None]:
    if not isinstance(value, dict) or not value.keys() <= RECEIVERS.keys():
        raise ValidationError(f"'{name}' must be a table with {', '.join(RECEIVERS)}, like {{\"ping\": \"https://…\"}}.")
    for key, words in value.items():
        if words is not None and not re.fullmatch(RECEIVERS[key], text(f"{name}.{key}", words)):
            raise ValidationError(f"'{name}.{key}' must be {RECEIVER_WORDS[key]}, or none.")
    return value


def _file(name: str, value: object) -> str:
    path = text(name, value)
    if not path.startswith("/"):
        raise ValidationError(f"'{name}' must be the absolute path of a file, not {shortened(path)!a}.")
    return path


def _is_whole(value: object, least: int, most: int) -> bool:
    """Return True if `value` is a whole number within bounds; 3.0 is one too."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most and value % 1 == 0


LONG = _time(TIME, 1, MAX_S, "15m")
SHORT = _time(SHORT_TIME, 1, MAX_SHORT_S, "30s")
MINUTES = _time(MINUTES_TIME, 60, MAX_S, "6h")
SPAN = _time(SPAN_TIME, 60, UNITS_S["d"], "10m")
CODES = Type(_codes, {"type": ["array", "null"], "maxItems": MAX_ITEMS,
                      "items": {"type": "integer", "minimum": 1, "maximum": 255}})
SIZES = Type(_size, {"anyOf": [{"type": "integer", "minimum": MIN_SIZE, "maximum": MAX_SIZE},
                               {"type": "string", "pattern": f"^({SIZE})$"}, {"type": "null"}]})
BACKOFF = Type(_factor, {"type": ["number", "null"], "minimum": 1, "maximum": MAX_FACTOR})
CAUSES = Type(_causes, {"type": ["array", "null"], "maxItems": MAX_ITEMS, "items": {
    "anyOf": [{"enum": list(RETRIED)}, {"type": "integer", "minimum": 1, "maximum": 255}]}})
ZONE = Type(_zone, {"anyOf": [{"type": "string", "format": "zone", "examples": ["Europe/Berlin"]}, {"type": "null"}]})
DAY = Type(_day, {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]})
DAYS = Type(_days, {"type": ["array", "null"], "maxItems": MAX_ITEMS, "items": {
    "anyOf": [{"type": "string", "format": "date"}, {"type": "string", "pattern": "^/[^\\u0000]*$",
                                                     "maxLength": MAX_TEXT_CHARS}]}})
BUDGET = Type(_budget, {"type": ["string", "null"], "pattern": f"^({BUDGET_WORDS})$"})
GROUP = Type(_group, {"type": ["string", "null"], "pattern": f"^{GROUP_NAME}$"})
FILE_SCHEMA = {"type": ["string", "null"], "pattern": "^/[^\\u0000]*$", "maxLength": MAX_TEXT_CHARS}
CREDENTIALS = Type(_credentials, {
    "type": ["object", "null"], "maxProperties": MAX_ITEMS, "propertyNames": {"pattern": f"^{GROUP_NAME}$"},
    "additionalProperties": FILE_SCHEMA})
VARIABLES = Type(_variables, {
    "type": ["object", "null"], "maxProperties": MAX_ITEMS, "propertyNames": {"pattern": f"^{VARIABLE}$"},
    "additionalProperties": {"type": ["string", "null"], "pattern": NO_NUL, "maxLength": MAX_TEXT_CHARS}})
NOTIFY = Type(_notify, {
    "type": ["object", "null"], "additionalProperties": False,
    "properties": {key: {"type": ["string", "null"], "pattern": f"^({pattern})$", "maxLength": MAX_TEXT_CHARS}
                   for key, pattern in RECEIVERS.items()}})
FILE = Type(_file, FILE_SCHEMA)


def time_words(seconds: int) -> str:
    """Return `seconds` in the largest unit that divides them, like `15m`."""
    unit = next(unit for unit in reversed(UNITS_S) if seconds % UNITS_S[unit] == 0)
    return f"{seconds // UNITS_S[unit]}{unit}"


def size_words(size: int) -> str:
    """Return `size` in the largest unit that divides it, like `512M`."""
    unit = next((unit for unit in reversed(UNITS_BYTES) if size % UNITS_BYTES[unit] == 0), "")
    return f"{size // UNITS_BYTES.get(unit, 1)}{unit}"
