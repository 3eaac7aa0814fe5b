"""The name of a zone in systemd.

systemd ignores a calendar whose zone has no file in /usr/share/zoneinfo (systemd.time(7)). Python may know more: since
Debian 13 and Ubuntu 24.04, old names like US/Eastern are in the package tzdata-legacy, and in Python's tzdata.
"""

import importlib.util
import os
import re
from zoneinfo import ZoneInfo

from ..protocol import SchedulerError

ZONES = "/usr/share/zoneinfo"


def systemd_zone_name(zone: ZoneInfo) -> str:
    """Return a name of `zone` that has a file in /usr/share/zoneinfo. Raises SchedulerError if there is none."""
    if zone.key == "UTC" or os.path.exists(f"{ZONES}/{zone.key}"):
        return zone.key
    if name := _same_zone(zone.key):
        return name
    raise SchedulerError(f"systemd does not know the zone {zone.key}: there is no {ZONES}/{zone.key}.",
                         "Install the package tzdata or tzdata-legacy, or set a zone like Europe/Berlin.")


def _same_zone(name: str) -> str | None:
    """Return a zone that has a file, and of which `name` is an old name or which is an old name of it.

    Lines `L TARGET NAME` in tzdata.zi are the links (zic(8)).
    """
    for folder in (ZONES, _tzdata()):
        try:
            with open(f"{folder}/tzdata.zi", encoding="utf-8", errors="replace") as file:
                found = re.findall(r"^L (\S+) (\S+)$", file.read(), re.M)
        except OSError:
            continue
        links: dict[str, str] = {link: target for target, link in found}
        target = links.get(name, name)
        for other in (target, *sorted(link for link in links if links[link] == target)):
            if os.path.exists(f"{ZONES}/{other}"):
                return other
    return None


def _tzdata() -> str:
    """Return the folder of the Python package tzdata."""
    found = importlib.util.find_spec("tzdata")
    return f"{os.path.dirname(found.origin)}/zoneinfo" if found and found.origin else ""
