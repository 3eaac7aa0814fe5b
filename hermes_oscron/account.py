"""The installation that this program belongs to: an account's own, or the system's, whose jobs belong to one account.

For a system installation, install.sh as root writes the file `installation` beside the program. One line is like
`HERMES_OSCRON_ACCOUNT=hermes`; the others are the environment of the account's jobs, `PATH` among them.
"""

import os
import pwd
import sys

from .errors import OscronError

ACCOUNT_VARIABLE = "HERMES_OSCRON_ACCOUNT"
INHERITED_ENV = ("LANG", "LC_ALL")
"""The variables of root that the account's process keeps."""


class AccountNotFound(OscronError):
    """The account that this installation is for does not exist."""


def uses_privileged_helper() -> bool:
    """Return True if the system's manager fires this account's jobs, which only root's helper may change."""
    try:
        owner = _owner()
    except AccountNotFound:
        return False
    return owner is not None and owner.pw_uid == os.geteuid()


def become_account() -> None:
    """If this process is root, continue as the account that owns the jobs; see become.py. Raises AccountNotFound.

    Only a command whose arguments have a `-` reads standard input; for any other it stays unread.
    """
    owner = _owner() if os.geteuid() == 0 else None
    if owner is None:
        return
    from . import become

    kept = {name: os.environ[name] for name in INHERITED_ENV if name in os.environ}
    become.become(owner, kept | _read_settings(), reads_input="-" in sys.argv[1:])


def _owner() -> pwd.struct_passwd | None:
    """Return the account whose jobs the system's manager fires; None if every account fires its own.

    Raises AccountNotFound.
    """
    name = _read_settings().get(ACCOUNT_VARIABLE)
    try:
        return pwd.getpwnam(name) if name else None
    except KeyError:
        raise AccountNotFound(f"hermes-oscron is installed for the account '{name}', which does not exist. As root, "
                              f"create it again, or run './install.sh --uninstall'.") from None


def _read_settings() -> dict[str, str]:
    try:
        with open(f"{sys.prefix}/installation", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    return {name: value for name, _, value in (line.partition("=") for line in lines)}
