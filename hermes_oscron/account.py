"""The installation that this program belongs to: an account's own, or the system's, whose jobs belong to one account.

The installer stores the account, and the environment of its jobs, in `installation.conf` (installation.py).
"""

import os
import pwd
import stat
from typing import TYPE_CHECKING

from .errors import OscronError
from .installation import ACCOUNT, HOME, JOB_ENVIRONMENT, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

INHERITED_ENV = ("LANG", "LC_ALL")
"""The variables of root that the account's process keeps."""


class AccountNotFound(OscronError):
    """The account that this installation is for does not exist."""


class OtherAccount(OscronError):
    """The jobs of this installation are another account's than the one that typed the command."""


def uses_privileged_helper() -> bool:
    """Return True if the system's manager fires this account's jobs, which only root's helper may change."""
    try:
        owner = _owner()
    except AccountNotFound:
        return False
    return owner is not None and owner.pw_uid == os.geteuid()


def is_root_for_account() -> bool:
    """Return True if this process is root, and the jobs are another account's. Raises AccountNotFound."""
    owner = _owner()
    return os.geteuid() == 0 and owner is not None and owner.pw_uid != 0


def become_account(reads_input: bool = False, first_input: bytes = b"",
                   variables: "Mapping[str, str] | None" = None) -> None:
    """If this process is root, continue as the account that owns the jobs, with `variables`; see become.py.

    Its standard input is `first_input` and then, with `reads_input`, that of root. Another account that has named a
    home of its own goes on by itself. Raises AccountNotFound, OtherAccount.
    """
    owner = _owner()
    if owner is None or owner.pw_uid == os.geteuid():
        return
    if os.geteuid() != 0:
        if os.environ.get(HOME):
            return
        raise OtherAccount(f"The jobs of this hermes-oscron belong to the account '{owner.pw_name}'. Type the command "
                           f"as root, or as that account; 'sudo hermes-oscron' does the former.")
    from . import become

    kept = {name: os.environ[name] for name in INHERITED_ENV if name in os.environ}
    settings = read_settings()
    jobs = {name: settings[name] for name in JOB_ENVIRONMENT if name in settings}
    given = {HOME: os.environ[HOME]} if os.environ.get(HOME) else {}  # it may name a profile of the account's
    become.become(owner, {**kept, **jobs, **given, **(variables or {})}, reads_input=reads_input,
                  first_input=first_input)


def runtime_dir(environment: "Mapping[str, str]") -> str:
    """Return `$XDG_RUNTIME_DIR` if it is a folder of this account, else the one that systemd gives it.

    After `su` or `sudo -E` the variable may name the folder of another account.
    """
    named = environment.get("XDG_RUNTIME_DIR", "")
    try:
        status = os.stat(named)
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
            return named
    except (OSError, ValueError):
        pass
    return f"/run/user/{os.getuid()}"


def _owner() -> pwd.struct_passwd | None:
    """Return the account whose jobs the system's manager fires; None if every account fires its own.

    Raises AccountNotFound.
    """
    name = read_settings().get(ACCOUNT)
    try:
        return pwd.getpwnam(name) if name else None
    except KeyError:
        raise AccountNotFound(f"hermes-oscron is installed for the account '{name}', which does not exist. As root, "
                              f"create it again, or run './install.sh --uninstall'.") from None
