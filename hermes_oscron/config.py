"""`oscron.toml` in the Hermes root: the settings of the administrator. docs/configuration.md describes each."""

import os
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from .errors import OscronError, cause
from .files import Signature, file_signature, open_regular

HOST = r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?"
"""A name or an address; of IPv6 it has two colons."""
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
SCHEDULER_KINDS = ("auto", "systemd", "crontab", "foreground")
EVENTS = ("failure", "failing", "recovery", "missed", "paused", "success")
"""The events of which alerts are sent; `success` only if it is chosen."""
URL = r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\0]+"
PLACEHOLDERS = ("profile", "job", "name")
"""The parts in braces of a ping URL that stand for the job."""


class ConfigError(OscronError):
    """A setting in oscron.toml is not valid; the text names the file, the key and what it takes."""


class Notify(NamedTuple):
    """The receivers of alerts (`urls`, `command`, `ping`), and the events `on` which they are sent.

    `in_a_row` is the number of failures of `failing`, and a repeat is sent after `repeat_hours`; 0 sends each.
    """

    urls: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    ping: str = ""
    on: tuple[str, ...] = EVENTS[:-1]
    in_a_row: int = 3
    repeat_hours: int = 24
    digest_hour: int | None = None
    output_chars: int = 0

    @property
    def has_messages(self) -> bool:
        """True if alerts are sent as messages, besides pings."""
        return bool(self.urls or self.command)

    def of_job(self, policy: Mapping[str, Any]) -> "Notify":
        """Return the settings with the receivers that the `policy` of a job names; `none` removes one."""
        own: dict[str, Any] = {}
        for key, words in (policy.get("notify") or {}).items():
            names = tuple(words.split()) if words not in (None, "none") else ()
            own |= {key: names if key != "ping" else "".join(names)} if words else {}
        return self._replace(**own)


class Config(NamedTuple):
    """The settings in oscron.toml, with defaults for those that are missing."""

    agent: str = "auto"
    command: tuple[str, ...] = ()
    timeout: float = 0.0  # not set
    path: str = ""
    environment: Mapping[str, str] = MappingProxyType({})
    network_wait: float | None = None
    max_parallel: int | None = None
    auth: str = "token"
    hosts: tuple[str, ...] = ()
    scheduler: str = "auto"
    listen: str = ""
    agent_worker: bool = True
    history_days: int = 400
    history_runs: int = 1000
    cluster: str = "none"
    cluster_partition: str = ""
    cluster_account: str = ""
    cluster_options: tuple[str, ...] = ()
    cluster_shared: tuple[str, ...] = ()
    cluster_python: str = "/usr/bin/python3"
    policy: Mapping[str, Any] = MappingProxyType({})
    profile_policies: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    notify_urls: tuple[str, ...] = ()
    notify_command: tuple[str, ...] = ()
    notify_ping: str = ""
    notify_on: tuple[str, ...] = Notify().on
    notify_in_a_row: int = Notify().in_a_row
    notify_repeat_hours: int = Notify().repeat_hours
    notify_digest_hour: int | None = None
    notify_output_chars: int = 0
    textfile: str = ""

    @property
    def notify(self) -> Notify:
        """The settings of the alerts."""
        return Notify(self.notify_urls, self.notify_command, self.notify_ping, self.notify_on, self.notify_in_a_row,
                      self.notify_repeat_hours, self.notify_digest_hour, self.notify_output_chars)

    def policy_of(self, profile: str) -> Mapping[str, Any]:
        """Return the policy of the jobs of `profile`, as far as they have none of their own."""
        own = self.profile_policies.get(profile)
        if not own:
            return self.policy
        from .jobs import policy

        return policy.over(self.policy, own)


def path_of(root: str) -> str:
    """Return the path of the configuration of `root`."""
    return f"{root}/oscron.toml"


def load(root: str) -> Config:
    """Return the configuration of `root`. Raises ConfigError."""
    path = path_of(root)
    try:
        with open(path, "rb", opener=open_regular) as file:
            import tomllib  # 7 ms, so only if there is a file to read

            tables = tomllib.load(file)
    except FileNotFoundError:
        return Config()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {cause(error)}") from error
    return _checked(tables, path)


_last_read: dict[str, tuple[Signature | None, Config]] = {}
"""The last configuration of each root that could be used."""


def policy_of(root: str, profile: str) -> Mapping[str, Any]:
    """Return the policy of the jobs of `profile`, as far as they have none of their own.

    While oscron.toml cannot be used, it is the last one: what is armed stays as it is, and each command reports it.
    """
    try:
        signature = file_signature(path_of(root))
        known = _last_read.get(root)
        if known is None or known[0] != signature:
            _last_read[root] = signature, load(root)
    except OscronError:
        pass
    return _last_read[root][1].policy_of(profile) if root in _last_read else Config().policy


def _checked(tables: dict[str, Any], path: str) -> Config:
    values: dict[str, Any] = {}
    for table, entries in tables.items():
        if table == "policy":
            values["policy"] = _policy(entries, path, table)
            continue
        if table == "profile" and isinstance(entries, dict):
            values["profile_policies"] = {name: _policy_of_profile(name, own, path) for name, own in entries.items()}
            continue
        for key, value in entries.items() if isinstance(entries, dict) else [("", entries)]:
            if (table, key) not in SETTINGS:
                raise ConfigError(f"{path}: there is no setting '{table}{'.' * bool(key)}{key}'.")
            field, convert, takes = SETTINGS[table, key]
            converted = convert(value)
            if converted is None:
                raise ConfigError(f"{path}: {table}.{key} takes {takes}.")
            values[field] = converted
    return Config(**values)


def _policy(entries: Any, path: str, name: str) -> dict[str, Any]:
    """Return the checked policy `entries`. Raises ConfigError."""
    from .jobs import policy  # only if there is one

    try:
        return policy.check(name, entries)
    except OscronError as error:
        raise ConfigError(f"{path}: {error}") from None


def _policy_of_profile(name: str, entries: Any, path: str) -> dict[str, Any]:
    if not isinstance(entries, dict) or entries.keys() != {"policy"}:
        raise ConfigError(f"{path}: the table profile.{name} has only the table profile.{name}.policy.")
    return _policy(entries["policy"], path, f"profile.{name}.policy")


def _words(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(word, str) and word for word in value):
        return tuple(value)
    return None


def _hosts(value: Any) -> Any:
    words = _words(value)
    if words and all(re.fullmatch(HOST, word) for word in words):
        return tuple(word.strip("[]").lower() for word in words)
    return None


def _agent(value: Any) -> Any:
    if isinstance(value, str) and (value in ("auto", "none") or os.path.isabs(value)):
        return value
    return None


def _true_or_false(value: Any) -> Any:
    return value if isinstance(value, bool) else None


def _seconds(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 10**9:
        return float(value)
    return None


def _seconds_or_zero(value: Any) -> Any:
    return 0.0 if value == 0 and not isinstance(value, bool) else _seconds(value)


def _count(value: Any) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6 else None


def _in_a_row(value: Any) -> Any:
    return value if _count(value) and value > 1 else None


def _hour(value: Any) -> Any:
    return value if _count(value) is not None and value < 24 else None


def _urls(value: Any) -> Any:
    words = _words(value)
    return words if words and all(re.fullmatch(URL, word) for word in words) else None


def _ping(value: Any) -> Any:
    """Return `value` if it is a URL of HTTP, in which braces stand only for PLACEHOLDERS."""
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s\0]+", value):
        return None
    return value if set(re.findall(r"\{([^{}]*)\}|[{}]", value)) <= set(PLACEHOLDERS) else None


def _events(value: Any) -> Any:
    return tuple(value) if value == [] or (_words(value) and set(value) <= set(EVENTS)) else None


def _file(value: Any) -> Any:
    return value if isinstance(value, str) and os.path.isabs(value) and value.endswith(".prom") and "\0" not in value \
        else None


def _path(value: Any) -> Any:
    folders = value.split(":") if isinstance(value, str) else []
    return value if folders and "\0" not in value and all(map(os.path.isabs, folders)) else None


def _environment(value: Any) -> Any:
    if isinstance(value, dict) and all(re.fullmatch(VARIABLE, name) and isinstance(text, str) and "\0" not in text
                                       for name, text in value.items()):
        return value
    return None


def _slurm_name(value: Any) -> Any:
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.,-]{1,200}", value) else None


def _long_options(value: Any) -> Any:
    words = _words(value)
    return words if words and all(word.startswith("--") and "\0" not in word for word in words) else None


def _folders(value: Any) -> Any:
    words = _words(value)
    return words if words and all(os.path.isabs(word) and "\0" not in word for word in words) else None


def _program(value: Any) -> Any:
    return value if isinstance(value, str) and os.path.isabs(value) and "\0" not in value else None


def _unix_socket(value: Any) -> Any:
    return value if isinstance(value, str) and value.startswith("unix:/") and "\0" not in value else None


def _one_of(*allowed: str) -> Any:
    return lambda value: value if value in allowed else None


SETTINGS: dict[tuple[str, str], tuple[str, Callable[[Any], Any], str]] = {
    ("exec", "agent"): ("agent", _agent, '"auto", "none" or an absolute path'),
    ("exec", "agent_worker"): ("agent_worker", _true_or_false, "true or false"),
    ("exec", "command"): ("command", _words, 'a list of words, like ["claude", "-p"]'),
    ("exec", "timeout"): ("timeout", _seconds, "a number of seconds above zero"),
    ("exec", "path"): ("path", _path, "absolute folders with colons between them, like \"/opt/bin:/usr/bin:/bin\""),
    ("exec", "environment"): ("environment", _environment, 'a table of texts, like {LANG = "C.UTF-8"}'),
    ("exec", "network_wait"): ("network_wait", _seconds_or_zero, "a number of seconds, or 0"),
    ("exec", "max_parallel"): ("max_parallel", _count, "a whole number of runs, or 0"),
    ("cluster", "engine"): ("cluster", _one_of("none", "slurm"), '"none" or "slurm"'),
    ("cluster", "partition"): ("cluster_partition", _slurm_name, 'a name, like "main"'),
    ("cluster", "account"): ("cluster_account", _slurm_name, "a name"),
    ("cluster", "options"): ("cluster_options", _long_options, 'a list of options of srun, like ["--qos=low"]'),
    ("cluster", "shared"): ("cluster_shared", _folders, "a list of absolute folders"),
    ("cluster", "python"): ("cluster_python", _program, "the absolute path of a Python on the nodes"),
    ("web", "auth"): ("auth", _one_of("token", "none"), '"token" or "none"'),
    ("web", "hosts"): ("hosts", _hosts, "a list of host names, without ports"),
    ("web", "listen"): ("listen", _unix_socket, '"unix:" and the absolute path of a socket'),
    ("history", "days"): ("history_days", _count, "a whole number of days, or 0"),
    ("history", "runs_per_job"): ("history_runs", _count, "a whole number of runs, or 0"),
    ("notify", "urls"): ("notify_urls", _urls, 'a list of Apprise URLs, like ["mailto://…"]'),
    ("notify", "command"): ("notify_command", _words, 'a list of words, like ["/usr/local/bin/alert"]'),
    ("notify", "ping"): ("notify_ping", _ping, "a URL of HTTP, in which {profile}, {job} and {name} stand for the job"),
    ("notify", "on"): ("notify_on", _events, f"a list of {', '.join(EVENTS)}"),
    ("notify", "in_a_row"): ("notify_in_a_row", _in_a_row, "a number of failures from 2 on"),
    ("notify", "repeat_hours"): ("notify_repeat_hours", _count, "a whole number of hours, or 0"),
    ("notify", "digest_hour"): ("notify_digest_hour", _hour, "an hour from 0 to 23"),
    ("notify", "output_chars"): ("notify_output_chars", _count, "a whole number of characters, or 0"),
    ("metrics", "textfile"): ("textfile", _file, "the absolute path of a file *.prom"),
    ("scheduler", "kind"): ("scheduler", _one_of(*SCHEDULER_KINDS), f"one of {', '.join(SCHEDULER_KINDS)}"),
}
"""For each table and key: the field of `Config`, the function that checks and converts a value, and what it takes."""
