"""Of which installation this program is: an account's own, or the system's, whose jobs are those of one account.

Of the system's, install.sh as root writes the file `installation` beside the program, with lines like
`HERMES_OSCRON_ACCOUNT=hermes`; the others are the environment that the account's jobs have, `PATH` among them.
"""

import os
import pwd
import sys

ACCOUNT = "HERMES_OSCRON_ACCOUNT"
PASSED_ON = ("LANG", "LC_ALL")
"""The variables of root that the account's process keeps."""


class NoAccount(Exception):
    """The account that this installation is for is not there."""


def is_delegated() -> bool:
    """Whether this account's jobs are fired by the system's manager, which root's helper alone may tell what to do."""
    try:
        owner = _account()
    except NoAccount:
        return False
    return owner is not None and owner.pw_uid == os.geteuid()


def become_account() -> None:
    """Go on as the account whose jobs these are if this is root; see become.py. Raises NoAccount.

    Only a command whose arguments have a `-` reads standard input; for any other it stays unread.
    """
    owner = _account() if os.geteuid() == 0 else None
    if owner is None:
        return
    from . import become

    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    become.become(owner, kept | _settings(), reads_input="-" in sys.argv[1:])


def _account() -> pwd.struct_passwd | None:
    """Whose jobs the system's manager fires; None where every account fires its own. Raises NoAccount."""
    name = _settings().get(ACCOUNT)
    try:
        return pwd.getpwnam(name) if name else None
    except KeyError:
        raise NoAccount(f"hermes-oscron is installed for the account '{name}', which is not there: as root, make it "
                        f"again, or './install.sh --uninstall'.") from None


def _settings() -> dict[str, str]:
    try:
        with open(f"{sys.prefix}/installation", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    return {name: value for name, _, value in (line.partition("=") for line in lines)}
