"""The places of an installation: of the system's, by root, or of an account's own."""

from collections.abc import Mapping
from dataclasses import dataclass

from .. import account
from ..installation import CURRENT, SETTINGS_FILE

SYSTEM, USER = "--system", "--user"
"""The option by which systemctl(1) calls a manager."""


@dataclass(frozen=True)
class Layout:
    """The folders of an installation, and the systemd manager that owns its units."""

    manager: str
    target: str
    """The target that starts a sync after a boot."""
    prefix: str
    """The folder of the environments and of the settings."""
    commands: str | None
    """The folder of the links to our commands; None for a temporary installation."""
    manuals: str | None
    units: str
    runtime_units: str
    """The folder of the timers, which hermes-oscron itself writes."""
    runtime_dir: str
    polkit_rules: str | None
    needrestart: str | None
    """The folder of the settings of needrestart(1), which is there if that program is installed."""

    @property
    def is_system(self) -> bool:
        return self.manager == SYSTEM

    @property
    def is_temporary(self) -> bool:
        return self.commands is None

    @property
    def settings_file(self) -> str:
        return f"{self.prefix}/{SETTINGS_FILE}"

    @property
    def current(self) -> str:
        """The link to the environment in use."""
        return f"{self.prefix}/{CURRENT}"

    @property
    def programs(self) -> str:
        """The folder of our commands in the environment in use."""
        return f"{self.current}/bin"


def system() -> Layout:
    """Return the places of an installation by root."""
    return Layout(SYSTEM, "multi-user.target", "/usr/local/lib/hermes-oscron", "/usr/local/bin", "/usr/local/share/man",
                  "/etc/systemd/system", "/run/systemd/system", "/run", "/etc/polkit-1/rules.d",
                  "/etc/needrestart/conf.d")


def user(environment: Mapping[str, str], home: str) -> Layout:
    """Return the places of an installation by an ordinary account with `environment`, whose folder is `home`.

    An XDG variable counts only if it is an absolute path (XDG Base Directory Specification).
    """
    def folder(variable: str, default: str) -> str:
        value = environment.get(variable, "")
        return value if value.startswith("/") else f"{home}/{default}"

    data, config = folder("XDG_DATA_HOME", ".local/share"), folder("XDG_CONFIG_HOME", ".config")
    runtime = account.runtime_dir(environment)
    return Layout(USER, "default.target", f"{data}/hermes-oscron", f"{home}/.local/bin", f"{data}/man",
                  f"{config}/systemd/user", f"{runtime}/systemd/user", runtime, None, None)


def temporary(permanent: Layout, place: str) -> Layout:
    """Return the places of a temporary installation in the folder `place`, with units that a reboot removes."""
    return Layout(permanent.manager, permanent.target, place, None, None, permanent.runtime_units,
                  permanent.runtime_units, permanent.runtime_dir, None, None)
