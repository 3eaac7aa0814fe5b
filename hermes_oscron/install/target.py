"""The installation to make, change or remove: its places, its account and its settings."""

import os
import pwd
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace

from . import checks, layout, sandbox, settings
from .layout import Layout
from .manager import BOOTED, Manager
from .ownership import is_roots
from .processes import Account, account_of, missing_account, run
from .settings import InstallError, Settings

NEW_ACCOUNT, NEW_FOLDER = "hermes", "/var/lib/hermes"
"""The account that root's installer creates if none is named, and its folder."""
CREATED = "hermes-oscron (created by install.sh)"
"""The comment (GECOS) of an account that the installer has created, which stays after an uninstall."""


@dataclass(frozen=True)
class Target:
    """An installation that is to be made, changed or removed."""

    layout: Layout
    settings: Settings
    account: Account | None
    """The account of the jobs, if root installs for the system's manager; it may not exist yet, or no longer."""
    present: Settings | None
    """The settings of the present installation."""

    @property
    def manager(self) -> Manager:
        return Manager(self.layout)


def own_layout(environment: Mapping[str, str]) -> Layout:
    """Return the places of an installation by this process's account."""
    return layout.system() if os.geteuid() == 0 else layout.user(environment, own_folder(environment))


def own_folder(environment: Mapping[str, str]) -> str:
    """Return `$HOME`, else the folder of this account. Raises InstallError if it has none."""
    try:
        return environment.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        raise InstallError(f"The account {os.geteuid()} has no name and no folder here; set HOME to one.") from None


def choose(name: str | None, scheduler: str | None, environment: Mapping[str, str], *, removes: bool) -> Target:
    """Return the installation of this process's account, or as root under systemd that of the account `name`.

    `removes` is True if it is to be removed, which is possible also if its account does not exist. Changes nothing.
    Raises InstallError.
    """
    places = own_layout(environment)
    present = settings.load(places)
    account = None
    if os.geteuid() == 0 and (os.path.isdir(BOOTED) or (present and present.account)):
        account = _choose_account(name, present, places, removes)
    base = present or Settings()
    if present and not present.home and not account:
        base = _with_home_of_crontab(present)
    folder = account.folder if account else own_folder(environment)
    if not base.home:
        base = replace(base, home=f"{folder}/.hermes")
    path = account.path if account else environment.get("PATH", os.defpath)
    base = replace(base, account=account.name if account else "", path=path)
    chosen = base if removes and present else settings.changed_by(base, environment, scheduler)
    return Target(places, chosen, account, present)


def _choose_account(name: str | None, present: Settings | None, places: Layout, removes: bool) -> Account | None:
    """Return the account `name`, that of the present installation, or `hermes`; None if root's own jobs are removed."""
    owner = present.account if present else ""
    if not owner and os.path.exists(f"{places.units}/hermes-oscron.service"):
        if removes:
            return None
        raise InstallError("The present installation runs jobs and API as root, which is no longer supported. Remove "
                           "it with ./install.sh --uninstall, give root's ~/.hermes to an account (cp -a, chown -R), "
                           "and install for that account.")
    if name and owner and account_of(name).name != owner:
        raise InstallError(f"The jobs of this installation are those of '{owner}'; remove it first: "
                           f"./install.sh --uninstall")
    wanted = name or owner or NEW_ACCOUNT
    if not _exists(wanted) and (wanted == NEW_ACCOUNT or (removes and wanted == owner)):
        return missing_account(wanted, NEW_FOLDER if wanted == NEW_ACCOUNT else "/nonexistent")
    account = account_of(wanted)
    if account.uid == 0:
        raise InstallError("Jobs and API do not run as root; name an ordinary account with --account.")
    return account


def _with_home_of_crontab(present: Settings) -> Settings:
    """Return `present` with the home and the zone in the commands that version 0.1 wrote for cron."""
    line = re.search(r"^\S+ '(.*)/cron/oscron/bin/hermes-oscron' sync # hermes-oscron$", run(["crontab", "-l"]).stdout,
                     re.MULTILINE)
    if not line:
        return present
    root = line[1].replace("'\\''", "'").replace("'\\%'", "%")
    try:
        with open(f"{root}/cron/oscron/bin/hermes-oscron", encoding="utf-8", errors="surrogateescape") as file:
            words = [shlex.split(each) for each in file if each.startswith("export ")]
    except (OSError, ValueError):
        words = []
    exported = dict(word.split("=", 1) for _, word in words)
    return replace(present, home=exported.get("HERMES_HOME", root), zone=exported.get("HERMES_TIMEZONE", ""))


def create_account() -> Account:
    """Create the account `hermes`; a folder of it that is there stays as it is. Raises InstallError."""
    made = run(["useradd", "--system", "--user-group", "--comment", CREATED, "--home-dir", NEW_FOLDER, "--create-home",
                "--shell", "/usr/sbin/nologin", NEW_ACCOUNT])
    if made.returncode:
        raise InstallError(f"The account '{NEW_ACCOUNT}' cannot be created: {made.stderr.strip()}")
    os.chmod(NEW_FOLDER, 0o700)
    return account_of(NEW_ACCOUNT)


def has_created(account: Account) -> bool:
    """Return True if the installer has created `account`, and not the administrator."""
    return account.exists and account.name == NEW_ACCOUNT and account.comment == CREATED


def remove_account(*, with_folder: bool) -> None:
    """Remove the account `hermes`. Raises InstallError."""
    removed = run(["userdel", *(["--remove"] if with_folder else []), NEW_ACCOUNT])
    if removed.returncode == 12:  # userdel(8)
        raise InstallError(f"The account '{NEW_ACCOUNT}' was removed, but not its folder {NEW_FOLDER}: "
                           f"{removed.stderr.strip()}")
    if removed.returncode not in (0, 6):  # 6: there is no account
        raise InstallError(f"The account '{NEW_ACCOUNT}' cannot be removed: {removed.stderr.strip()}")


def require_writable_home(target: Target) -> None:
    """Create the Hermes root of the account. Raises InstallError if the account cannot write to it."""
    root = target.settings.root
    command = ["sh", "-c", 'umask 077; mkdir -p "$1" && test -w "$1"', "sh", root]
    made = target.account.run(command) if target.account else run(command)
    if made.returncode:
        name = target.account.name if target.account else "This account"
        raise InstallError(f"{name} cannot write to {root}, the folder of the jobs; set HERMES_HOME to another folder.")


def refuse_bad_target(target: Target) -> None:
    """Raise InstallError if the installation must not be made. Changes nothing."""
    chosen = target.settings
    if os.geteuid() == 0 and not target.account and not is_roots(chosen.root):
        raise InstallError(f"Root's crontab would run the jobs in {chosen.root}, which others than root can change. "
                           f"Name their account with --account.")
    if chosen.scheduler == "crontab" and not shutil.which("crontab"):
        raise InstallError("There is no crontab command, which '--scheduler crontab' needs; on Debian and Ubuntu: apt "
                           "install cron.")
    if target.layout.is_system:
        checks.refuse_targets_of_others(target.layout)
    if target.account and chosen.socket:
        checks.refuse_socket_of_others(chosen.socket)
    if os.path.isdir(BOOTED):
        checks.refuse_prefix_for_units(target.layout)
        if chosen.scheduler != "crontab":
            checks.refuse_old_systemd(run(["systemctl", "--version"]).stdout)
        if not chosen.socket:
            checks.refuse_taken_port(chosen, target.manager)
        if target.account:
            sandbox.refuse_machine_without(target.layout, chosen)
    if not target.present and (chosen.scheduler == "crontab" or not os.path.isdir(BOOTED)):
        checks.refuse_unusable_cron(chosen)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
