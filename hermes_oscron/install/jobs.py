"""Our crontab lines and files in a Hermes root, which belong to the account of the jobs."""

import os
import shutil
import sys

from . import units
from .processes import Account, run
from .report import warn

REMOVE_LINES = """\
import sys
if sys.argv[1]:
    sys.path.insert(0, sys.argv[1])
from hermes_oscron.schedulers.crontab.scheduler import Crontab
Crontab(sys.argv[2]).remove_all()
"""


def leave_home(account: Account | None, root: str, python: str) -> None:
    """Disarm the jobs of the Hermes `root`, which is no longer the installation's; the jobs stay.

    `python` is that of the environment in use. The next sync removes the timers, as they are not of the new root.
    """
    if not _succeeds(account, [python, "-I", "-c", REMOVE_LINES, "", root]):
        warn(f"The crontab may still have lines for the jobs in {root}; see 'crontab -l'.")
    forget_in_state(account, root, "scheduler")
    forget_in_state(account, root, "synced")
    forget_in_state(account, root, "in-sync")


def forget_in_state(account: Account | None, root: str, name: str) -> None:
    """Remove `name` from our files in the Hermes `root`, as the account that owns them."""
    path = f"{root}/cron/oscron/{name}"
    if account:
        account.run(["rm", "-rf", path])
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)


def remove_crontab_lines(account: Account | None, root: str) -> bool:
    """Remove the lines of the crontab with the code that runs now; return False if that fails."""
    package = os.path.dirname(os.path.dirname(units.HERE))
    return _succeeds(account, [sys.executable, "-I", "-B", "-c", REMOVE_LINES, package, root])


def _succeeds(account: Account | None, command: list[str]) -> bool:
    return (account.run(command) if account else run(command)).returncode == 0
