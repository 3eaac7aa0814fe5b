"""The policy of a job: what happens beside its schedule, in one table of keys.

A job has the keys of its own record, then those of its profile and of oscron.toml. Each value is checked, and stored in
one form: times in seconds, sizes in bytes. docs/policies.md describes each key.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import shortened
from . import placement
from .checks import MAX_TEXT_CHARS, NO_NUL, Type, text
from .checks import ValidationError as ValidationError

Policy = Mapping[str, Any]
NO_POLICY: Policy = MappingProxyType({})
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
GROUP_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}"
ZONE_NAME = r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}"
MAX_ITEMS = 100
MAX_FACTOR = 10
RETRIED = ("error", "timeout", "interrupted")
"""The outcomes of a run that can be retried."""
SKIP, QUEUE, REPLACE = "skip", "queue", "replace"
"""The choices for an occurrence that comes during a run."""
ONCE, ALL, NONE = "once", "all", "none"
"""The choices for occurrences that were missed."""
ALL_WINDOW_S = UNITS_S["d"]
"""The window of `all` without one, so that a machine that was off for months does not repeat them."""
UNITS_BYTES = {"M": 1024**2, "G": 1024**3}
SIZE, MIN_SIZE, MAX_SIZE = r"(1[6-9]|[2-9][0-9]|[1-9][0-9]{2,5})M|[1-9][0-9]{0,3}G", 16 * 1024**2, 9999 * 1024**3
VARIABLE = "[A-Za-z_][A-Za-z0-9_]{0,127}"
MAX_S = 99999 * UNITS_S["d"]
TIME = r"[1-9][0-9]{0,4}[smhd]"
MINUTES_TIME = r"[1-9][0-9]{0,4}[mhd]"
SHORT_TIME, MAX_SHORT_S = r"[1-9][0-9]{0,2}s|([1-9]|[1-5][0-9]|60)m", 3600


class Key(NamedTuple):
    """One key. `kind` is the form of its values in a terminal."""

    name: str
    type: Type
    kind: str
    meaning: str


def _time(pattern: str, least_s: int, most_s: int, example: str) -> Type:
    def check(name: str, value: object) -> int | float:
        seconds: object = value
        if isinstance(value, str) and re.fullmatch(pattern, value):
            seconds = int(value[:-1]) * UNITS_S[value[-1]]
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not least_s <= seconds <= most_s:
            raise ValidationError(f"'{name}' must be a time from {time_words(least_s)} to {time_words(most_s)}, like "
                                  f"\"{example}\", or a number of seconds.")
        return seconds if seconds % 1 else int(seconds)

    return Type(check, {"anyOf": [{"type": "number", "minimum": least_s, "maximum": most_s},
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


def _whole(least: int, most: int, unit: str = "") -> Type:
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


def _one_of(*words: str) -> Type:
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
CODES = Type(_codes, {"type": ["array", "null"], "maxItems": MAX_ITEMS,
                      "items": {"type": "integer", "minimum": 1, "maximum": 255}})
SIZES = Type(_size, {"anyOf": [{"type": "integer", "minimum": MIN_SIZE, "maximum": MAX_SIZE},
                               {"type": "string", "pattern": f"^({SIZE})$"}, {"type": "null"}]})
BACKOFF = Type(_factor, {"type": ["number", "null"], "minimum": 1, "maximum": MAX_FACTOR})
CAUSES = Type(_causes, {"type": ["array", "null"], "maxItems": MAX_ITEMS, "items": {
    "anyOf": [{"enum": list(RETRIED)}, {"type": "integer", "minimum": 1, "maximum": 255}]}})
ZONE = Type(_zone, {"anyOf": [{"type": "string", "format": "zone", "pattern": f"^{ZONE_NAME}$"}, {"type": "null"}]})
DAY = Type(_day, {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]})
DAYS = Type(_days, {"type": ["array", "null"], "maxItems": MAX_ITEMS, "items": {
    "anyOf": [{"type": "string", "format": "date"}, {"type": "string", "pattern": "^/[^\\u0000]*$",
                                                     "maxLength": MAX_TEXT_CHARS}]}})
GROUP = Type(_group, {"type": ["string", "null"], "pattern": f"^{GROUP_NAME}$"})
VARIABLES = Type(_variables, {
    "type": ["object", "null"], "maxProperties": MAX_ITEMS, "propertyNames": {"pattern": f"^{VARIABLE}$"},
    "additionalProperties": {"type": ["string", "null"], "pattern": NO_NUL, "maxLength": MAX_TEXT_CHARS}})
FILE = Type(_file, {"type": ["string", "null"], "pattern": "^/[^\\u0000]*$", "maxLength": MAX_TEXT_CHARS})

KEYS = {key.name: key for key in (
    Key("timeout", LONG, "time", "The longest time of a run; then the job gets SIGTERM."),
    Key("stop_timeout", SHORT, "time", "The time between SIGTERM and SIGKILL."),
    Key("overlap", _one_of(SKIP, QUEUE, REPLACE), "text", "What happens if it is due while it is still running."),
    Key("catch_up", _one_of(ONCE, ALL, NONE), "text", "Which runs that were missed begin late."),
    Key("catch_up_window", MINUTES, "time", "How late a run that was missed may begin."),
    Key("start_deadline", MINUTES, "time", "How late any run may begin, also after a wait in the queue."),
    Key("retries", _whole(0, 100), "number", "How many times a run that failed is tried again."),
    Key("retry_delay", LONG, "time", "The time to the first retry, 1m by default."),
    Key("retry_backoff", BACKOFF, "number", "The factor of the time to each further retry, 2 by default."),
    Key("retry_on", CAUSES, "list", "Outcomes and exit codes that are retried; by default each outcome."),
    Key("timezone", ZONE, "text", "The zone of the schedule's times, like Europe/Berlin."),
    Key("not_before", DAY, "text", "The first day on which the job runs, like 2027-01-01."),
    Key("not_after", DAY, "text", "The last day on which the job runs."),
    Key("exclude", DAYS, "list", "Days on which the job is skipped, and files with such days."),
    Key("pause_after", _whole(1, 1000), "number", "How many failed runs in a row pause the job."),
    Key("group", GROUP, "text", "A name; of the jobs that share it, only some run at once."),
    Key("max_parallel", _whole(1, 1000), "number", "How many jobs of the group run at once, 1 by default."),
    Key("success_exit_codes", CODES, "list", "Further exit codes by which a run went well."),
    Key("environment", VARIABLES, "table", "Further variables for the job; null removes one."),
    Key("environment_file", FILE, "text", "A file with further variables, in the format of .env, read at each run."),
    Key("nice", _whole(0, 19), "number", "How nice the job is to other processes, see nice(1)."),
    Key("memory_max", SIZES, "size", "The most memory of the job; one that needs more is killed."),
    Key("cpu_quota", _whole(1, 99_999, "%"), "percent", "The most CPU time, in percent of one CPU. It needs systemd."),
    Key("io_weight", _whole(1, 10_000), "number", "The share of the disk; others have 100. It needs systemd."),
    Key("tasks_max", _whole(8, 1_000_000), "number", "The most processes and threads. It needs systemd."),
    Key("run_on", placement.RUN_ON, "text", "Where the job runs: on this machine or on the cluster."),
    Key("cpus", _whole(1, 100_000), "number", "The CPUs that it gets on the cluster."),
    Key("gpus", _whole(1, 10_000), "number", "The GPUs that it gets on the cluster."),
)}

SYSTEMD_ONLY = ("cpu_quota", "io_weight", "tasks_max")
"""Keys that only systemd can apply: no resource limit of a process is the same (setrlimit(2))."""

SCHEMA = {"type": ["object", "null"], "additionalProperties": False,
          "properties": {key.name: {**key.type.schema, "description": key.meaning} for key in KEYS.values()},
          "description": "Keys that are given replace those of the job; null removes one. See docs/policies.md."}


def check(name: str, value: object) -> dict[str, Any]:
    """Return the policy `value`, each key in its own form; null stays. Raises ValidationError."""
    if not isinstance(value, dict):
        raise ValidationError(f"'{name}' must be an object, like {{\"timeout\": \"15m\"}}.")
    for key in value:
        if key not in KEYS:
            raise ValidationError(f"There is no '{name}.{shortened(str(key))}'; the policies are "
                                  f"{', '.join(sorted(KEYS))}.")
    return {key: None if each is None else KEYS[key].type.check(f"{name}.{key}", each) for key, each in value.items()}


def stored(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policy in `record`, of which null keys are left out. Raises ValidationError if it is not usable."""
    return merged(NO_POLICY, check("policy", record.get("policy") or {}))


def merged(present: Policy, changes: Policy) -> dict[str, Any]:
    """Return the policy `present` with `changes`; null removes a key, also of a table, and a table without keys."""
    changes = {key: merged(present.get(key) or {}, value) or None if isinstance(value, dict) else value
               for key, value in changes.items()}
    return _without_null({**present, **changes})


def replacing(present: Policy | None, wanted: Policy | None) -> dict[str, Any]:
    """Return the changes that make the policy `present` the one that is `wanted`."""
    present, wanted = present or {}, wanted or {}
    return {**dict.fromkeys(present),
            **{key: replacing(present.get(key), value) if isinstance(value, dict) else value
               for key, value in wanted.items()}}


def require_systemd(policy: Policy, scheduler: str) -> None:
    """Raise ValidationError if `policy` has a key that needs systemd, and another `scheduler` fires the jobs."""
    for key in SYSTEMD_ONLY if scheduler != "systemd" else ():
        if policy.get(key) is not None:
            raise ValidationError(f"'policy.{key}' needs systemd, and {scheduler or 'nothing'} fires the jobs: remove "
                                  f"it.")


def over(defaults: Policy, own: Policy) -> Policy:
    """Return the policy of `own` keys and, where they are missing, `defaults`; their tables are joined."""
    return merged(defaults, own) if defaults else own


def from_words(settings: Iterable[str]) -> dict[str, Any]:
    """Return the policy of `settings` like `timeout=15m` and `environment.LANG=C`, not yet checked.

    Without a value, a key is removed. Raises ValidationError for a text that is not a setting.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, words = setting.partition("=")
        key, dot, variable = name.partition(".")
        if not equals:
            raise ValidationError(f"{shortened(setting)} is not a policy: write KEY=VALUE, like timeout=15m, or KEY= "
                                  f"to remove one.")
        if dot:
            table = found.setdefault(key, {})
            if not isinstance(table, dict):
                raise ValidationError(f"{shortened(setting)}: {key} is given in another way too.")
            table[variable] = words or None
            continue
        is_list = key in KEYS and KEYS[key].kind == "list"
        value = [_value(word.strip()) for word in words.split(",")] if is_list else _value(words)
        found[key] = value if words else None
    return found


def words(policy: Policy) -> list[str]:
    """Return each key of `policy` as `from_words` takes it."""
    found = []
    for key in KEYS.values():
        value = policy.get(key.name)
        if isinstance(value, dict):
            found += [f"{key.name}.{variable}={content}" for variable, content in value.items()]
        elif value is not None:
            found.append(f"{key.name}={_words(key, value)}")
    return found


def time_words(seconds: float) -> str:
    """Return `seconds` in the largest unit that divides them, like `15m`."""
    unit = next(unit for unit in reversed(UNITS_S) if unit == "s" or seconds % UNITS_S[unit] == 0)
    return f"{seconds / UNITS_S[unit]:g}{unit}" if seconds % 1 else f"{int(seconds) // UNITS_S[unit]}{unit}"


def size_words(size: int) -> str:
    """Return `size` in the largest unit that divides it, like `512M`."""
    unit = next((unit for unit in reversed(UNITS_BYTES) if size % UNITS_BYTES[unit] == 0), "")
    return f"{size // UNITS_BYTES.get(unit, 1)}{unit}"


def _value(words: str) -> Any:
    """Return `words` as a number, if they are one."""
    if re.fullmatch(r"-?[0-9]{1,18}", words):
        return int(words)
    return float(words) if re.fullmatch(r"[0-9]{1,9}\.[0-9]{1,9}", words) else words


def _words(key: Key, value: Any) -> str:
    if key.kind == "size":
        return size_words(value)
    if key.kind == "percent":
        return f"{value}%"
    if key.kind == "list":
        return ",".join(map(str, value))
    return time_words(value) if key.kind == "time" else str(value)


def _without_null(policy: Policy) -> dict[str, Any]:
    return {key: value for key, value in policy.items() if value is not None}
