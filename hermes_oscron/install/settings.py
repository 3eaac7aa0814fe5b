"""The settings of an installation: account, home, zone, port, socket and scheduler. They stay until changed."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import OscronError
from ..files import write_atomic
from ..installation import ACCOUNT, HOME, ZONE, read_settings, split_home
from .layout import Layout

DEFAULT_PORT = 8791
VARIABLES = ("PORT", "SOCKET", HOME, ZONE)
"""The environment variables that set what the installation keeps."""
MAX_SOCKET_BYTES = 107
"""The longest path of a socket (unix(7))."""
SCHEDULERS = ("auto", "systemd", "crontab")


class InstallError(OscronError):
    """The installer cannot go on; the text gives the reason, and the remedy."""


@dataclass(frozen=True)
class Settings:
    """The settings of one installation."""

    account: str = ""
    """The account of the jobs, if root installed for the system's manager; else empty."""
    home: str = ""
    """HERMES_HOME of the jobs, which may name a profile."""
    zone: str = ""
    port: int = DEFAULT_PORT
    socket: str = ""
    """The path of the API's socket in the file system, instead of a port."""
    scheduler: str = "auto"
    path: str = ""
    """PATH of the jobs."""

    @property
    def root(self) -> str:
        """The Hermes root."""
        return split_home(self.home)[0]

    @property
    def address(self) -> str:
        """The address of the API, for a message."""
        return self.socket or f"http://127.0.0.1:{self.port}"


def load(layout: Layout) -> Settings | None:
    """Return the settings of the installation in `layout`, also of one by an earlier version; None without one.

    Raises InstallError, OSError.
    """
    stored = read_settings(layout.settings_file)
    if not stored:
        return _load_earlier(layout)
    return Settings(stored.get(ACCOUNT, ""), stored.get(HOME, ""), stored.get(ZONE, ""),
                    port_of(stored.get("PORT", str(DEFAULT_PORT)), layout.settings_file), stored.get("SOCKET", ""),
                    stored.get("SCHEDULER", "auto"), stored.get("PATH", ""))


def save(layout: Layout, settings: Settings) -> None:
    """Write `settings` for the commands and for later installs. Raises OSError."""
    values = {ACCOUNT: settings.account, HOME: settings.home, ZONE: settings.zone, "PORT": str(settings.port),
              "SOCKET": settings.socket, "SCHEDULER": settings.scheduler, "PATH": settings.path}
    lines = ["# Written by install.sh. To change a setting, run it with the new value: PORT=8900 ./install.sh",
             *(f"{name}={value}" for name, value in values.items() if value)]
    write_atomic(layout.settings_file, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"), 0o644)


def changed_by(settings: Settings, environment: Mapping[str, str], scheduler: str | None) -> Settings:
    """Return `settings` with what `environment` and the option --scheduler change. Raises InstallError.

    A variable that is not set changes nothing. An empty SOCKET or HERMES_TIMEZONE takes the setting back, and PORT
    takes SOCKET back.
    """
    if environment.get("PORT"):
        settings = replace(settings, port=port_of(environment["PORT"], "PORT"), socket="")
    if "SOCKET" in environment:
        settings = replace(settings, socket=environment["SOCKET"])
    if environment.get(HOME):
        settings = replace(settings, home=os.path.abspath(environment[HOME]))
    if ZONE in environment:
        settings = replace(settings, zone=environment[ZONE])
    if scheduler:
        settings = replace(settings, scheduler=scheduler)
    return check(settings)


def check(settings: Settings) -> Settings:
    """Return `settings`. Raises InstallError if one cannot be stored or used."""
    for name, value in ((ACCOUNT, settings.account), (HOME, settings.home), (ZONE, settings.zone),
                        ("SOCKET", settings.socket), ("PATH", settings.path)):
        if not value.isprintable() and re.search(r"[\x00-\x1f\x7f]", value):
            raise InstallError(f"{name} has a control character in it: {value!r}.")
    if settings.socket and not settings.socket.startswith("/"):
        raise InstallError(f"SOCKET={settings.socket} is not an absolute path, like /run/hermes-api.")
    if len(os.fsencode(settings.socket)) > MAX_SOCKET_BYTES or os.path.isdir(settings.socket):
        raise InstallError(f"SOCKET={settings.socket} cannot be a socket: it is a folder, or longer than "
                           f"{MAX_SOCKET_BYTES} bytes.")
    if settings.zone:
        check_zone(settings.zone)
    return settings


def check_zone(zone: str) -> None:
    """Raise InstallError if neither the machine nor the package tzdata can have the zone `zone`."""
    import zoneinfo

    known = os.path.isdir("/usr/share/zoneinfo")
    try:
        zoneinfo.ZoneInfo(zone)
    except (ValueError, OSError, LookupError):
        if known or not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", zone):
            raise InstallError(f"There is no zone '{zone}' (HERMES_TIMEZONE); zones are named like Europe/Berlin."
                               ) from None


def port_of(text: str, name: str) -> int:
    """Return the port in `text`. Raises InstallError, which calls it `name`."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise InstallError(f"{name}: {text!r} is not a port; ports are numbers from 1 to 65535, like 8791.")
    return int(text)


def _load_earlier(layout: Layout) -> Settings | None:
    """Return the settings of an installation by version 0.1, which kept some in its environment, the rest in units.

    The units also have them if `installation.conf` was lost.
    """
    kept = read_settings(f"{layout.prefix}/venv/installation")
    listen = _assignments(f"{layout.units}/hermes-oscron.socket").get("ListenStream", "")
    service = f"{layout.units}/hermes-oscron.service"
    environment = _environment(service)
    if not kept and not listen and not os.path.isdir(f"{layout.prefix}/venv"):
        return None
    port = listen.rpartition(":")[2]
    return Settings(
        kept.get("HERMES_OSCRON_ACCOUNT") or _assignments(service).get("User", "").replace("%%", "%"),
        kept.get(HOME) or environment.get(HOME, ""),
        kept.get(ZONE) or environment.get(ZONE, ""), int(port) if port.isdecimal() else DEFAULT_PORT,
        _unquoted(listen) if listen.startswith("/") else "", "auto", kept.get("PATH") or environment.get("PATH", ""))


def _assignments(path: str) -> dict[str, str]:
    """Return the first value of each setting in the unit file at `path`."""
    found: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for line in file.read().split("\n"):
                name, equals, value = line.partition("=")
                if equals:
                    found.setdefault(name, value)
    except OSError:
        pass
    return found


def _environment(path: str) -> dict[str, str]:
    """Return the variables that the unit file at `path` sets, one in a line, as our templates do."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            pairs = re.findall(r'^Environment="([A-Z_]+)=(.*)"$', file.read(), re.MULTILINE)
    except OSError:
        return {}
    return {name: _unquoted(value) for name, value in pairs}


def _unquoted(value: str) -> str:
    """Return `value` of a unit file without the escapes of systemd.syntax(7) that our templates use."""
    return re.sub(r"\\(.)", r"\1", value).replace("%%", "%")
