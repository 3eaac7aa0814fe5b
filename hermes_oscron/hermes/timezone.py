"""The time zone of a home's wall-clock times, and the machine's own."""

import functools
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from ..files import open_regular
from .home import Home

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from zoneinfo import ZoneInfo

VARIABLE = "HERMES_TIMEZONE"
SETTING = (r"""(?m)^(['"]?)timezone\1[ \t]*:[ \t]+(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#'"][^\n]*?))?"""
           r"""[ \t]*(?:[ \t]\#.*)?\r?$""")
"""The line `timezone: ZONE` at the top level of config.yaml."""
SYSTEMD_RUNS = "/run/systemd/system"
"""This folder exists if systemd is the init system (sd_booted(3))."""
LOCALTIME, ZONES = "/etc/localtime", "/usr/share/zoneinfo"

_copies: "dict[bytes, ZoneInfo | None]" = {}
"""The zone of each content that /etc/localtime has had as a copy."""


class ZoneChoice(NamedTuple):
    """The zone of a home, and what sets it. `problem` is a sentence if that names a zone that does not exist."""

    zone: "ZoneInfo"
    source: str
    problem: str = ""


def home_zone(home: Home) -> "ZoneInfo":
    """Return the zone of wall-clock times of `home`. See `zone_choice`."""
    return zone_choice(home).zone


def zone_choice(home: Home) -> ZoneChoice:
    """Return the zone of wall-clock times of `home`, and where it comes from.

    The order is the agent's: `HERMES_TIMEZONE` in `.env`, in the environment, `timezone:` in config.yaml, the machine's
    zone. As in the agent, the first of them decides: if its zone does not exist, the machine's counts.
    """
    folder = home.path
    for source, name in ((f"{VARIABLE} in {folder}/.env", _from_env_file(_content(f"{folder}/.env"))),
                         (f"the variable {VARIABLE}", os.environ.get(VARIABLE, "").strip()),
                         (f"timezone: in {folder}/config.yaml", _from_config(_content(f"{folder}/config.yaml")))):
        if name:
            if zone := _zone(name):
                return ZoneChoice(zone, source)
            machine, where = _machine()
            return ZoneChoice(machine, where, f"{source} is {name!a:.80}, and there is no such zone. Times are in "
                                              f"{machine.key}. Set a zone like Europe/Berlin.")
    return ZoneChoice(*_machine())


def machine_zone() -> "ZoneInfo":
    """Return the machine's zone: that of /etc/localtime (localtime(5)), and UTC without that.

    Without systemd, `$TZ` comes first: in a container, all processes have it. systemd passes it to no unit.
    """
    return _machine()[0]


def localtime_state() -> tuple[int, ...]:
    """Return a value that changes whenever /etc/localtime does, the link or its content."""
    try:
        link, target = os.lstat(LOCALTIME), os.stat(LOCALTIME)
    except OSError:
        return ()
    return link.st_ino, link.st_ctime_ns, target.st_dev, target.st_ino, target.st_ctime_ns


@functools.lru_cache(maxsize=1)
def _name_behind(link: str, _state: tuple[int, ...]) -> str:
    """Return the name of the zone that `link` leads to, "" if it leads to none; computed again when its state changes.

    Every list of jobs needs it, and following the links takes as long as the rest of the check for changes.
    """
    return os.path.realpath(link).partition("/zoneinfo/")[2]


def _machine() -> "tuple[ZoneInfo, str]":
    """Return the machine's zone, and what sets it."""
    if not os.path.exists(SYSTEMD_RUNS):
        named = os.environ.get("TZ", "").strip().removeprefix(":")
        if named and (zone := _zone(named.partition("/zoneinfo/")[2] or named)):
            return zone, "the variable TZ"
    name = _name_behind(LOCALTIME, localtime_state())
    if name and os.path.exists(LOCALTIME) and (zone := _zone(name)):
        return zone, LOCALTIME
    if zone := _zone_of_copy(_content(LOCALTIME)):
        return zone, f"{LOCALTIME}, by its content"
    utc = _zone("UTC")
    assert utc
    return utc, "the default"


def _zone_of_copy(content: bytes) -> "ZoneInfo | None":
    """Return the zone whose file has this `content`, as that of an /etc/localtime that is a copy or a mount.

    The C library and systemd read the content alone, so /etc/timezone only chooses between zones with the same one.
    Content of no zone of this machine is a zone `localtime` of its own. Returns None if it is not of a zone at all.
    """
    if not content.startswith(b"TZif"):
        return None
    if content not in _copies:
        _copies[content] = next(filter(None, (_zone(name) for name in _names_of(content))), None) or _unnamed(content)
    return _copies[content]


def _names_of(content: bytes) -> "Iterator[str]":
    """Yield the names of the zones of this machine with `content`, the usual ones first (zone1970.tab)."""
    from itertools import chain
    from zoneinfo import available_timezones

    def names() -> "Iterator[Iterable[str]]":
        yield _content("/etc/timezone").decode("utf-8", "replace").split()[:1]
        yield ["UTC"]
        table = _content(f"{ZONES}/zone1970.tab").decode("utf-8", "replace")
        yield re.findall(r"^[A-Z,]+\t[-+\d]+\t(\S+)", table, re.M)
        yield sorted(available_timezones())

    return (name for name in chain.from_iterable(names()) if _content(f"{ZONES}/{name}") == content)


def _unnamed(content: bytes) -> "ZoneInfo | None":
    """Return the zone `localtime` that `content` describes; None if it is damaged."""
    import io
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo.from_file(io.BytesIO(content), "localtime")
    except (ValueError, OSError, LookupError):
        return None


def _from_env_file(content: bytes) -> str:
    if VARIABLE.encode() not in content:
        return ""
    from . import env_file  # most homes do not set the zone there

    return env_file.parse(content, os.environ).get(VARIABLE, "").strip()


def _from_config(content: bytes) -> str:
    """Return `timezone` of config.yaml.

    One line at the top level is needed, and a YAML parser would cost a fire 40 ms. It is used if the file is written in
    braces.
    """
    if b"timezone" not in content:
        return ""
    text = content.decode("utf-8-sig", "replace")
    if re.match(r"\s*\{", text):
        import yaml

        try:
            value = yaml.safe_load(text).get("timezone")
        except (yaml.YAMLError, ValueError, AttributeError, RecursionError):
            return ""
        return value.strip() if isinstance(value, str) else ""
    found = re.findall(SETTING, text)
    name = "".join(found[-1][1:]).strip() if found else ""  # of several YAML takes the last
    return "" if name in ("null", "~") else name


def _content(path: str) -> bytes:
    """Return the content of the file at `path`; empty if it cannot be read."""
    try:
        with open(path, "rb", opener=open_regular) as file:
            return file.read()
    except OSError:
        return b""


def _zone(name: str) -> "ZoneInfo | None":
    from zoneinfo import ZoneInfo  # 4 ms that a fire need not pay before its job starts

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None
