"""The checks that an installation must pass before anything is changed."""

import contextlib
import errno
import os
import re
import socket
import sys

from .. import config
from . import completions
from .layout import Layout
from .manager import Manager
from .ownership import changeable_by, is_roots, part_of_others
from .processes import Account, run
from .settings import InstallError, Settings
from .units import manual_sections

MIN_SYSTEMD = 252
"""The oldest systemd with which the tests run."""
CRON_PROBLEM = """\
import sys
sys.path.insert(0, sys.argv[1])
from hermes_oscron.schedulers.crontab.table import why_unusable
print(why_unusable() or "")
"""


def refuse_source_of(account: Account, source: str) -> None:
    """Raise InstallError if `account` can change a file of the source, which root runs and installs."""
    if path := changeable_by(account, source):
        raise InstallError(f"{account.name} can change {path}, which root would run. Copy {source} to a folder that "
                           f"only root can change, and run its install.sh.")


def refuse_wheels_of(account: Account, wheels: str) -> None:
    """Raise InstallError if `account` can change a file in the folder `wheels`, which root installs."""
    for each in (wheels, *(os.path.realpath(f"{wheels}/{name}") for name in os.listdir(wheels))):
        if os.path.exists(each) and (path := changeable_by(account, each)):
            raise InstallError(f"{account.name} can change {path}, which root would install. Copy {wheels} to a folder "
                               f"that only root can change, and name that one: --offline DIR.")


def refuse_targets_of_others(layout: Layout) -> None:
    """Raise InstallError unless only root can change the folders that root installs in, and the environment in use.

    Root runs the commands in them, and writes and links files there.
    """
    for target in (layout.current, layout.commands, *manual_sections(layout),
                   *completions.folders(layout)[::2]):
        if target and (path := part_of_others(target)):
            raise InstallError(f"Others than root can change {path}, on the way to {target}, where root installs. Give "
                               f"it to root alone: chown -h root:root {path}; chmod go-w {path}")


def refuse_socket_of_others(path: str) -> None:
    """Raise InstallError unless only root can change the folder of the socket `path`.

    systemd creates the socket and changes its owner as root, and follows links.
    """
    folder = os.path.dirname(path)
    if os.path.realpath(folder) != os.path.normpath(folder) or not is_roots(folder):
        raise InstallError(f"SOCKET={path} is in {folder}, which others than root can change; use a path in /run.")


def refuse_prefix_for_units(layout: Layout) -> None:
    """Raise InstallError if systemd cannot start a program from the folder of the installation."""
    if re.search(r"['\"\\]", layout.prefix):
        raise InstallError(f"systemd starts no program from a folder with a quote or a backslash in its name: "
                           f"{layout.prefix}. '--scheduler crontab' does not need systemd.")


def refuse_old_systemd(text: str) -> None:
    """Raise InstallError unless `text`, printed by `systemctl --version`, names a systemd that was tested."""
    found = re.match(r"systemd (\d+)", text)
    if found and int(found[1]) < MIN_SYSTEMD:
        raise InstallError(f"systemd {found[1]} is too old: {MIN_SYSTEMD} is needed. '--scheduler crontab' uses cron.")


def refuse_unusable_cron(settings: Settings) -> None:
    """Raise InstallError, or ConfigError, if this account's jobs are for cron, and it cannot fire them."""
    if config.load(settings.root).scheduler == "foreground":
        return
    code = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if reason := run([sys.executable, "-I", "-c", CRON_PROBLEM, code]).stdout.strip():
        raise InstallError(f"Nothing can fire jobs here, and nothing was changed: {reason} Where there is neither "
                           f"systemd nor cron, as in a container, write 'scheduler.kind = \"foreground\"' into "
                           f"{config.path_of(settings.root)} first: they fire while 'hermes-oscron serve' runs.")


def refuse_taken_port(settings: Settings, manager: Manager) -> None:
    """Raise InstallError if another program listens on one of the two addresses that clients try for `localhost`.

    It would get the tokens of those clients.
    """
    held = manager.attempt("show", "-P", "Listen", "hermes-oscron.socket").split() if manager.attempt(
        "show", "-P", "ActiveState", "hermes-oscron.socket").strip() == "active" else []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        address = f"{f'[{host}]' if ':' in host else host}:{settings.port}"
        if settings.port < 1024 and not may_use_low_ports():
            raise InstallError(f"PORT={settings.port} is for root; choose one from 1024 on.")
        if address not in held and _is_taken(family, host, settings.port):
            raise InstallError(
                f"Another program listens on {address}, and would get the tokens of clients that call localhost. As "
                f"root, 'ss -ltnp sport = :{settings.port}' names it. Choose another port: PORT={settings.port + 1} "
                f"./install.sh")


def may_use_low_ports() -> bool:
    """Return True if this account may listen on ports below 1024 (ip_unprivileged_port_start, ip(7))."""
    if os.geteuid() == 0:
        return True
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            return int(file.read()) == 0
    except (OSError, ValueError):
        return False


def free_port() -> int:
    """Return a port that is free on both loopback addresses."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
            if not _is_taken(socket.AF_INET6, "::1", port):
                return port


def _is_taken(family: int, host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
