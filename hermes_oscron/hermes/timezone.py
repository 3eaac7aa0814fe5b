"""The time zone of a home's wall-clock times, and the machine's own."""

import os
import re
from typing import TYPE_CHECKING

from ..files import open_regular
from .home import Home

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


def home_zone(home: Home) -> "ZoneInfo":
    """Return the zone of wall-clock times of `home`.

    It is `$HERMES_TIMEZONE`, else `timezone:` in config.yaml, else the machine's. As in the agent, a zone that does not
    exist counts as none.
    """
    try:
        with open(f"{home.path}/config.yaml", encoding="utf-8", errors="replace", opener=open_regular) as file:
            return zone_from_config(file.read())
    except OSError:
        return zone_from_config("")


def zone_from_config(configuration: str) -> "ZoneInfo":
    """Return the zone for `configuration`, the content of config.yaml.

    Only one line at the top level is needed, and a YAML parser would cost a fire 40 ms.
    """
    match = re.search(r"""^timezone:[ \t]*(['"]?)([A-Za-z0-9_+/-]+)\1[ \t]*(?:#.*)?$""", configuration, re.M)
    for name in (os.environ.get("HERMES_TIMEZONE", "").strip(), match[2] if match else ""):
        if name and (zone := _zone(name)):
            return zone
    return machine_zone()


def machine_zone() -> "ZoneInfo":
    """Return the machine's zone, as localtime(5) defines it: the target of /etc/localtime, and UTC without that."""
    target = os.path.realpath("/etc/localtime")
    name = target.partition("/zoneinfo/")[2]
    if not name:
        try:
            with open("/etc/timezone", encoding="utf-8") as file:
                name = file.read().strip()
        except OSError:
            name = ""
    zone = _zone(name or "UTC") or _zone("UTC")
    assert zone
    return zone


def _zone(name: str) -> "ZoneInfo | None":
    from zoneinfo import ZoneInfo  # 4 ms that a fire need not pay before its job starts

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None
