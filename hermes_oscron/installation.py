"""The installation that this program belongs to: its folder, and its settings.

The installer builds each environment in a folder `env-N` of the installation, and the link `current` names the one in
use. Beside them is `installation.conf`, with lines like `PORT=8791`. A checkout has none of these.
"""

import os
import sys

from .errors import OscronError

SETTINGS_FILE, CURRENT = "installation.conf", "current"
ACCOUNT, HOME, ZONE = "ACCOUNT", "HERMES_HOME", "HERMES_TIMEZONE"
"""Settings that processes of the account need. ACCOUNT is set if the system's manager fires its jobs."""
JOB_ENVIRONMENT = ("PATH", HOME, ZONE)
"""Settings that are also variables in the environment of the jobs."""


class OtherInstallation(OscronError):
    """This program is installed for another Hermes home, or for another account."""


class HomeNotFound(OscronError):
    """A path begins with the folder of an account that has none."""


def folder() -> str:
    """Return the folder of the installation that this program would belong to."""
    return os.path.dirname(sys.prefix)


def program(name: str) -> str:
    """Return the path of our command `name`, which an upgrade does not change."""
    current = f"{folder()}/{CURRENT}"
    return f"{current if os.path.realpath(current) == os.path.realpath(sys.prefix) else sys.prefix}/bin/{name}"


def read_settings(path: str | None = None) -> dict[str, str]:
    """Return the settings in `installation.conf`, by default of this installation; empty without one.

    Raises OSError.
    """
    try:
        with open(path or f"{folder()}/{SETTINGS_FILE}", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().split("\n")
    except FileNotFoundError:
        return {}
    return {name: value for name, equals, value in (line.partition("=") for line in lines)
            if equals and not name.startswith("#")}


def split_home(path: str) -> tuple[str, str | None]:
    """Return the Hermes root of the home `path`, and the profile if `path` is the home of one. Raises HomeNotFound."""
    path = absolute_home(path)
    parent, name = os.path.split(path)
    if os.path.basename(parent) == "profiles":
        return os.path.dirname(parent), name
    return path, None


def absolute_home(path: str) -> str:
    """Return the absolute path of the home `path`, which may begin with a `~`. Raises HomeNotFound."""
    path = os.path.expanduser(path)
    if path.startswith("~"):
        raise HomeNotFound(f"The Hermes home {path} cannot be found: no account has the folder "
                           f"{path.partition('/')[0]}. Set HERMES_HOME or HOME to an absolute path.")
    return os.path.abspath(path)


def use_installed_home() -> None:
    """Set `$HERMES_HOME` and `$HERMES_TIMEZONE` as the installation has them, if they are not set.

    With a system installation, the zone of a terminal does not count: its services would arm the jobs in another one.
    Raises OtherInstallation if `$HERMES_HOME` is in another Hermes root: the timers and the API of the installation are
    those of one root, and a sync of another would disarm its jobs.
    """
    settings = read_settings()
    installed = settings.get(HOME)
    if not installed:
        return
    given = os.environ.setdefault(HOME, installed) or installed
    if os.path.realpath(split_home(given)[0]) != os.path.realpath(split_home(installed)[0]):
        raise OtherInstallation(f"HERMES_HOME is {given}, but hermes-oscron is installed for {installed}.",
                                f"Unset HERMES_HOME, or move the installation: HERMES_HOME={given} ./install.sh")
    if settings.get(ACCOUNT):
        os.environ.pop(ZONE, None)
    if settings.get(ZONE):
        os.environ.setdefault(ZONE, settings[ZONE])
