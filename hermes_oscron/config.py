"""`oscron.toml` in the Hermes root: the settings of the administrator.

    [exec]
    agent = "auto"               # the Hermes agent: "none", or the path of its `hermes`
    command = ["claude", "-p"]   # runs prompts instead of the agent; gets them on standard input
    timeout = 3600               # seconds

    [web]
    auth = "token"               # or "none", on loopback only
    hosts = ["jobs.example.org"] # names besides the loopback ones by which clients may call
    listen = "unix:/run/user/1000/hermes-oscron"  # instead of a port, if neither systemd nor --host gives an address

    [scheduler]
    kind = "auto"                # systemd, crontab, foreground
"""

import os
import re
from typing import Any, NamedTuple

from .errors import OscronError, cause
from .files import open_regular

HOST = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?")
"""A name or an address; of IPv6 it has two colons."""
SCHEDULER_KINDS = ("auto", "systemd", "crontab", "foreground")


class ConfigError(OscronError):
    """A setting in oscron.toml is not valid; the text names the file, the key and what it takes."""


class Config(NamedTuple):
    """The settings in oscron.toml, with defaults for those that are missing."""

    agent: str = "auto"
    command: tuple[str, ...] = ()
    timeout: float = 3600.0
    auth: str = "token"
    hosts: tuple[str, ...] = ()
    scheduler: str = "auto"
    listen: str = ""


def path_of(root: str) -> str:
    """Return the path of the configuration of `root`."""
    return f"{root}/oscron.toml"


def load(root: str) -> Config:
    """Return the configuration of `root`. Raises ConfigError."""
    path = path_of(root)
    if not os.path.exists(path):
        return Config()
    import tomllib  # 7 ms, so only if there is a file to read

    try:
        with open(path, "rb", opener=open_regular) as file:
            tables = tomllib.load(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {cause(error)}") from error
    return _checked(tables, path)


def _checked(tables: dict[str, Any], path: str) -> Config:
    known = {
        ("exec", "agent"): ("agent", _agent, '"auto", "none" or an absolute path'),
        ("exec", "command"): ("command", _words, 'a list of words, like ["claude", "-p"]'),
        ("exec", "timeout"): ("timeout", _seconds, "a number of seconds above zero"),
        ("web", "auth"): ("auth", _one_of("token", "none"), '"token" or "none"'),
        ("web", "hosts"): ("hosts", _hosts, "a list of host names, without ports"),
        ("web", "listen"): ("listen", _unix_socket, '"unix:" and the absolute path of a socket'),
        ("scheduler", "kind"): ("scheduler", _one_of(*SCHEDULER_KINDS), f"one of {', '.join(SCHEDULER_KINDS)}"),
    }
    values = {}
    for table, entries in tables.items():
        for key, value in entries.items() if isinstance(entries, dict) else [("", entries)]:
            if (table, key) not in known:
                raise ConfigError(f"{path}: there is no setting '{table}{'.' * bool(key)}{key}'.")
            field, convert, takes = known[table, key]
            converted = convert(value)
            if converted is None:
                raise ConfigError(f"{path}: {table}.{key} takes {takes}.")
            values[field] = converted
    return Config(**values)


def _words(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(word, str) and word for word in value):
        return tuple(value)
    return None


def _hosts(value: Any) -> Any:
    words = _words(value)
    return tuple(word.strip("[]").lower() for word in words) if words and all(map(HOST.fullmatch, words)) else None


def _agent(value: Any) -> Any:
    if isinstance(value, str) and (value in ("auto", "none") or os.path.isabs(value)):
        return value
    return None


def _seconds(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 10**9:
        return float(value)
    return None


def _unix_socket(value: Any) -> Any:
    return value if isinstance(value, str) and value.startswith("unix:/") and "\0" not in value else None


def _one_of(*allowed: str) -> Any:
    return lambda value: value if value in allowed else None
