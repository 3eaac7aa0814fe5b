"""The unit files of an installation, made from the templates in `units/` of the source."""

import contextlib
import difflib
import glob
import json
import os
import re
from collections.abc import Iterator

from ..files import write_atomic
from .layout import Layout
from .processes import Account, account_of
from .settings import Settings

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
TEMPLATES, MANUALS = (f"{HERE}/units", f"{HERE}/man") if os.path.isdir(f"{HERE}/units") else (f"{SOURCE}/units",
                                                                                             f"{SOURCE}/docs/man")
"""In an installation the templates and the manuals are in the package, in a checkout at the top level."""
UNITS = ("hermes-job@.service", "hermes-oscron.socket", "hermes-oscron.service", "hermes-oscron-sync.service",
         "hermes-oscron-sync.socket", "hermes-oscron-sync.timer", "hermes-oscron-changed.path",
         "hermes-oscron-changed.service", "hermes-oscron-settings.path", "hermes-oscron-watch@.path",
         "hermes-oscron-settings@.path", "hermes-oscron-agent@.socket", "hermes-oscron-agent@.service",
         "hermes-oscron-notify.socket", "hermes-oscron-notify.service")
ENABLED = ("hermes-oscron.socket", "hermes-oscron-sync.service", "hermes-oscron-sync.timer",
           "hermes-oscron-sync.socket", "hermes-oscron-notify.socket", "hermes-oscron-changed.path")
ROOT_HELPER = ("hermes-oscron-root.socket", "hermes-oscron-root.service")
STOPPED = ("hermes-oscron.socket", "hermes-oscron.service", *ROOT_HELPER)
"""The units of servers, which are stopped first, so that the new code and the new sockets are used."""
ACCOUNT_DROP_INS = tuple(f"{unit}.d/account.conf" for unit in (
    "hermes-job@.service", "hermes-oscron.service", "hermes-oscron.socket", "hermes-oscron-sync.service",
    "hermes-oscron-sync.socket", "hermes-oscron-changed.service", "hermes-oscron-agent@.socket",
    "hermes-oscron-agent@.service", "hermes-oscron-notify.socket", "hermes-oscron-notify.service"))
"""The drop-ins by which the units of the system's manager belong to the account."""
NEEDRESTART, NEEDRESTART_FILE = "needrestart.conf", "hermes-oscron.conf"
"""The template of the settings of needrestart, and the name of the installed file."""
POLKIT_RULES = "10-hermes-oscron.rules"
NO_USER_MANAGER = "hermes-oscron.conf"
"""A drop-in of the user manager of an account without logins."""
REMOVED = ("hermes-oscron-sync.path", "hermes-oscron-root@.service")
"""Units of earlier versions."""


def rendered(layout: Layout, settings: Settings) -> dict[str, str]:
    """Return the content of every unit file of the installation, by path."""
    names = UNITS + (ROOT_HELPER + ACCOUNT_DROP_INS if settings.account else ())
    return {f"{layout.units}/{name}": render(name, layout, settings) for name in names}


def expected(layout: Layout, settings: Settings) -> dict[str, str]:
    """Return `rendered`, what keeps needrestart from restarting runs, if it is installed, and with an account of root's
    what withholds its user manager. Raises InstallError.

    In a user manager, jobs would have no sandbox: the polkit rule keeps them from starting one.
    """
    files = rendered(layout, settings)
    if layout.needrestart and os.path.isdir(layout.needrestart):
        files[f"{layout.needrestart}/{NEEDRESTART_FILE}"] = render(NEEDRESTART, layout, settings)
    if settings.account and layout.polkit_rules:
        account = account_of(settings.account)
        files[f"{layout.polkit_rules}/{POLKIT_RULES}"] = render(POLKIT_RULES, layout, settings)
        if withholds_user_manager(layout, account):
            files[user_manager_drop_in(layout, account.uid)] = render(NO_USER_MANAGER, layout, settings)
    return files


def withholds_user_manager(layout: Layout, account: Account) -> bool:
    """Return True if no user manager of `account` may start: it has no login, and no manager by linger as yet."""
    withheld = os.path.lexists(user_manager_drop_in(layout, account.uid))
    return not account.has_login and (withheld or not account.lingers)


def render(name: str, layout: Layout, settings: Settings) -> str:
    """Return the content of the unit file, drop-in or polkit rules `name`."""
    values = _values(layout, settings)
    return re.sub("@([A-Z_]+)@", lambda match: values[match[1]], _template(name))


def user_manager_drop_in(layout: Layout, uid: int | str) -> str:
    """Return the path of the drop-in by which the account `uid` gets no user manager."""
    return f"{layout.units}/user@{uid}.service.d/{NO_USER_MANAGER}"


def manual_sections(layout: Layout) -> list[str]:
    """Return the folders of the installed manuals."""
    return sorted({f"{layout.manuals}/man{name[-1]}" for name in os.listdir(MANUALS)}) if layout.manuals else []


def write(files: dict[str, str]) -> None:
    """Write unit files, by path, each whole or not at all. Raises OSError."""
    for path, content in files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomic(path, content.encode("utf-8", "surrogateescape"), 0o644)


def remove(layout: Layout, path: str) -> None:
    """Remove the unit file or drop-in at `path`, if it is there, and its folder of drop-ins if that is empty then."""
    folder, name = os.path.split(path)
    # a process that was killed may have left a temporary file (files.write_atomic)
    for each in [path, *glob.glob(f"{glob.escape(folder)}/.{name}.[0-9]*.tmp")]:
        if os.path.lexists(each):
            os.unlink(each)
    if folder != layout.units:
        with contextlib.suppress(OSError):  # it is missing, or has drop-ins of the administrator
            os.rmdir(folder)


def differences(files: dict[str, str]) -> Iterator[str]:
    """Yield the lines of a unified diff from the installed files to `files`, by path."""
    for path, content in files.items():
        yield from difflib.unified_diff(installed(path).splitlines(), content.splitlines(), path, f"{path} (new)",
                                        lineterm="", n=0)


def installed(path: str) -> str:
    """Return the content of the installed file at `path`; empty if it is missing or cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def quoted(text: str) -> str:
    """Return `text` for use inside double quotes of a unit file (systemd.syntax(7))."""
    return re.sub(r'[\\"]', r"\\\g<0>", text).replace("%", "%%")


def _template(name: str) -> str:
    for candidate in (name, f"system/{name}", f"system/{os.path.basename(name)}"):
        path = f"{TEMPLATES}/{candidate}"
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as template:
                return template.read()
    raise FileNotFoundError(2, "there is no template", f"{TEMPLATES}/{name}")


def _values(layout: Layout, settings: Settings) -> dict[str, str]:
    """Return what each placeholder of the templates stands for."""
    def variable(name: str, value: str) -> str:
        return f'Environment="{name}={quoted(value)}"'

    zone = [variable("HERMES_TIMEZONE", settings.zone)] if settings.zone else []
    account = settings.account.replace("%", "%%")  # without quotes, a backslash is one (systemd.syntax(7))
    if account and layout.is_temporary:  # systemd warns of the name of demo.UNPRIVILEGED in a unit
        account = str(account_of(settings.account).uid)
    user = [f"User={account}"] if account else []
    port = [f"127.0.0.1:{settings.port}", f"[::1]:{settings.port}"]
    listen = [settings.socket.replace("%", "%%")] if settings.socket else port
    return {
        "BIN": quoted(layout.programs),
        "BIN_ARGUMENT": quoted(layout.programs).replace("$", "$$"),  # in a word that is not the first of ExecStart=
        "ENVIRONMENT": "\n".join([*user, variable("PATH", settings.path), variable("HERMES_HOME", settings.home),
                                  *zone]),
        "ACCOUNT": account,
        "ACCOUNT_ARGUMENT": quoted(settings.account).replace("$", "$$"),
        "ACCOUNT_STRING": json.dumps(settings.account),  # in JavaScript
        "STATE": quoted(f"{settings.root}/cron/oscron"),
        "LISTEN": "\nListenStream=".join(listen),
        "ROOT_ARGUMENT": quoted(settings.root).replace("$", "$$"),
        "ROOT": settings.root.replace("%", "%%"),  # a path of a .path unit has no quotes (systemd.path(5))
        "TARGET": layout.target,
    }
