"""Of which installation this program is: an account's own, or the system's, whose jobs are those of one account.

Of the system's, install.sh as root writes the file `installation` beside the program, with lines like
`HERMES_OSCRON_ACCOUNT=hermes`; the others are the environment that the account's jobs have.
"""

import os
import pwd
import signal
import sys
from types import FrameType

ACCOUNT = "HERMES_OSCRON_ACCOUNT"
PASSED_ON = ("PATH", "TERM", "LANG", "LC_ALL", "COLUMNS")
"""What of root's environment is no secret of root's."""


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
    """Let root be the account whose jobs these are from here on, in every way; anyone else stays who they are.

    The account may look into what we start from then on, and drive it (ptrace(2)): so nothing of root's goes with it,
    neither the environment nor the terminal, into which whoever has it may type (TIOCSTI, ioctl_tty(2)).
    Raises NoAccount.
    """
    owner = _account() if os.geteuid() == 0 else None
    if owner is None:
        return
    settings = _settings()
    _leave_terminal()
    os.initgroups(owner.pw_name, owner.pw_gid)
    os.setgid(owner.pw_gid)
    os.setuid(owner.pw_uid)
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    os.environ.clear()
    os.environ.update(kept | settings, HOME=owner.pw_dir, USER=owner.pw_name, LOGNAME=owner.pw_name)
    os.chdir("/")


def _leave_terminal() -> None:
    """Go on in a child without a controlling terminal; the process that has it waits, and ends as the child does."""
    passed_on = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
    signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)
    child = os.fork()
    if not child:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
        return

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in passed_on:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


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
