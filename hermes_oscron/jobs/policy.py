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
from .checks import Type
from .checks import ValidationError as ValidationError
from .policy_types import (
    BACKOFF,
    BUDGET,
    CAUSES,
    CODES,
    CREDENTIALS,
    DAY,
    DAYS,
    FILE,
    GROUP,
    LONG,
    MINUTES,
    NOTIFY,
    SHORT,
    SIZES,
    SPAN,
    VARIABLES,
    ZONE,
    one_of,
    size_words,
    time_words,
    whole,
)

Policy = Mapping[str, Any]
NO_POLICY: Policy = MappingProxyType({})
SKIP, QUEUE, REPLACE = "skip", "queue", "replace"
"""The choices for an occurrence that comes during a run."""
ONCE, ALL, NONE = "once", "all", "none"
"""The choices for occurrences that were missed."""
ALL_WINDOW_S = 86400
"""The window of `all` without one, so that a machine that was off for months does not repeat them."""


class Key(NamedTuple):
    """One key. `kind` is the form of its values in a terminal."""

    name: str
    type: Type
    kind: str
    meaning: str


KEYS = {key.name: key for key in (
    Key("timeout", LONG, "time", "The longest time of a run; then the job gets SIGTERM."),
    Key("stop_timeout", SHORT, "time", "The time between SIGTERM and SIGKILL."),
    Key("overlap", one_of(SKIP, QUEUE, REPLACE), "text", "What happens if it is due while it is still running."),
    Key("catch_up", one_of(ONCE, ALL, NONE), "text", "Which runs that were missed begin late."),
    Key("catch_up_window", MINUTES, "time", "How late a run that was missed may begin."),
    Key("start_deadline", MINUTES, "time", "How late any run may begin, also after a wait in the queue."),
    Key("retries", whole(0, 100), "number", "How many times a run that failed is tried again."),
    Key("retry_delay", LONG, "time", "The time to the first retry, 1m by default."),
    Key("retry_backoff", BACKOFF, "number", "The factor of the time to each further retry, 2 by default."),
    Key("retry_on", CAUSES, "list", "Outcomes and exit codes that are retried; by default each outcome."),
    Key("jitter", SPAN, "time", "Jobs with the same schedule spread out over this time."),
    Key("timezone", ZONE, "text", "The zone of the schedule's times, like Europe/Berlin."),
    Key("not_before", DAY, "text", "The first day on which the job runs, like 2027-01-01."),
    Key("not_after", DAY, "text", "The last day on which the job runs."),
    Key("exclude", DAYS, "list", "Days on which the job is skipped, and files with such days."),
    Key("pause_after", whole(1, 1000), "number", "How many failed runs in a row pause the job."),
    Key("budget", BUDGET, "text", "The most that scheduled runs use in a day or a month, like 2 USD per day."),
    Key("notify", NOTIFY, "table", "Receivers of the alerts of this job, instead of those in oscron.toml."),
    Key("group", GROUP, "text", "A name; of the jobs that share it, only some run at once."),
    Key("max_parallel", whole(1, 1000), "number", "How many jobs of the group run at once, 1 by default."),
    Key("success_exit_codes", CODES, "list", "Further exit codes by which a run went well."),
    Key("environment", VARIABLES, "table", "Further variables for the job; null removes one."),
    Key("environment_file", FILE, "text", "A file with further variables, in the format of .env, read at each run."),
    Key("credentials", CREDENTIALS, "table", "Files that the run gets copies of in $CREDENTIALS_DIRECTORY, by name."),
    Key("nice", whole(0, 19), "number", "How nice the job is to other processes, see nice(1)."),
    Key("memory_max", SIZES, "size", "The most memory of the job; one that needs more is killed."),
    Key("cpu_quota", whole(1, 99_999, "%"), "percent", "The most CPU time, in percent of one CPU. It needs systemd."),
    Key("io_weight", whole(1, 10_000), "number", "The share of the disk; others have 100. It needs systemd."),
    Key("tasks_max", whole(8, 1_000_000), "number", "The most processes and threads. It needs systemd."),
    Key("run_on", placement.RUN_ON, "text", "Where the job runs: on this machine or on the cluster."),
    Key("cpus", whole(1, 100_000), "number", "The CPUs that it gets on the cluster."),
    Key("gpus", whole(1, 10_000), "number", "The GPUs that it gets on the cluster."),
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


def require_complete(policy: Policy) -> None:
    """Raise ValidationError if a key of `policy` needs another one."""
    if "max_parallel" in policy and "group" not in policy:
        raise ValidationError("'policy.max_parallel' is for the jobs of a group; set 'policy.group' too.")


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
