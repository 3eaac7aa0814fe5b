"""The command line of `install.sh`, and of `hermes-oscron install` and `uninstall`."""

import argparse
import os
import pwd
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from ..errors import OscronError, describe
from ..installation import HOME, absolute_home
from . import checks, demo, environment, install, layout, report, sandbox, settings, target, uninstall, units
from .environment import python_for
from .manager import BOOTED
from .ownership import SOURCES
from .processes import ENDING, SYNC_TIMEOUT_S, Account, account_of, index_settings, run, started
from .report import say, warn
from .settings import InstallError

START = """\
import sys
sys.path.insert(0, sys.argv[1])
from hermes_oscron.install.main import main
sys.exit(main(sys.argv[2:], sys.argv[1]))
"""
"""The program by which root runs the installer of the source in argv[1] as another account; install.sh has its own."""
CRONTAB = "crontab"
AS_ACCOUNT_TIMEOUT_S = 3600.0
ENVIRONMENT = """\
environment:
  PORT              port of the API on loopback, 8791 by default
  SOCKET            path of a socket for the API instead; empty: the port again
  HERMES_HOME       folder of the jobs, by default the account's ~/.hermes
  HERMES_TIMEZONE   zone of the schedules, if not the agent's or the machine's
  PYTHON            the Python to use, 3.11 or newer
What was given once stays until it is given again. Proxy variables and
those of pip (https_proxy, PIP_INDEX_URL, ...) are passed on.
"""


def main(argv: Sequence[str], source: str | None, name: str = "install.sh") -> int:
    """Do what the arguments `argv` say, with the checkout `source`; without one, only repair and remove.

    Returns the exit status: 0, 1 for an error, 2 for wrong arguments, 128 and the number of a signal.
    """
    report.program = name
    options = _parse(argv, source, name)
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as after nohup(1)
            signal.signal(number, _end)
    os.umask(0o022)
    if options.offline:
        options.offline = os.path.realpath(options.offline)
    try:
        if os.environ.get(HOME):
            os.environ[HOME] = absolute_home(os.environ[HOME])
        os.chdir("/")  # the working directory may be another account's
        if os.geteuid() == 0:
            _forget_other_home()
        _do(options, source)
    except (OscronError, OSError) as error:
        if options.debug:
            raise
        warn(describe(error))
        return 1
    return 0


def _forget_other_home() -> None:
    """Set root's own home: after `sudo -E` or `su -p` it is another account's, with settings of pip, for example."""
    os.environ["HOME"] = pwd.getpwuid(0).pw_dir
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        os.environ.pop(name, None)


def _parse(argv: Sequence[str], source: str | None, name: str) -> argparse.Namespace:
    parser = _Parser(
        prog=name, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=ENVIRONMENT,
        description="Install hermes-oscron, or upgrade or repair it: as root for the whole machine,\nwhere an ordinary "
                    "account runs the jobs; as any other account for itself.")
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument("--dry-run", action="store_true",
                       help="print the effect on existing jobs and units; change nothing")
    verbs.add_argument("--uninstall", action="store_true",
                       help="remove everything but jobs, outputs, settings and the token")
    verbs.add_argument("--purge", action="store_true",
                       help="uninstall, and after a question remove the data and the account that root's "
                            "installation created")
    if source:
        verbs.add_argument("--try", dest="demo", action="store_true",
                           help="run a job in a temporary installation, and remove that")
        parser.add_argument("--offline", metavar="DIR", help="take packages from DIR, a folder of wheels, alone")
    parser.add_argument("--account", metavar="NAME",
                        help="as root: the account of the jobs and the API, by default a new one, 'hermes'; without "
                             "systemd: install in the crontab of NAME")
    parser.add_argument("--scheduler", choices=settings.SCHEDULERS,
                        help="the scheduler of the jobs; auto is systemd if it runs, else cron")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--debug", action="store_true", help="print where an error was raised")
    parser.set_defaults(demo=False, offline=None)
    options = parser.parse_args(argv)
    if options.account and os.geteuid() != 0 and _uid_of(options.account) != os.geteuid():
        parser.error("--account is for root.")
    return options


def _uid_of(name: str) -> int | None:
    """Return the number of the account `name`; None if there is none."""
    try:
        return account_of(name).uid
    except InstallError:
        return None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        warn(f"{message[:1].upper()}{message[1:].rstrip('.')}. '{self.prog} --help' lists the options.")
        sys.exit(2)


def _do(options: argparse.Namespace, source: str | None) -> None:
    if options.offline and not os.path.isdir(options.offline):
        raise InstallError(f"There is no folder {options.offline}. Fill it on a machine with the same Python: "
                           f"pip download -r requirements.lock -d DIR")
    if options.demo:
        assert source
        if os.geteuid() == 0:
            _refuse_files_of(account_of(options.account or demo.UNPRIVILEGED), source, options.offline)
        demo.demonstrate(source, options.offline, options.account)
        return
    removes = options.uninstall or options.purge
    if _is_for_crontab_of_other(options):
        _install_as_account(options, source)
        return
    wanted = target.choose(options.account, options.scheduler, os.environ, removes=removes)
    if wanted.account:
        _refuse_files_of(wanted.account, source, options.offline)
    os.environ[HOME] = wanted.settings.home
    if options.purge:
        uninstall.purge(wanted, options.yes)
    elif options.uninstall:
        uninstall.uninstall(wanted)
    elif options.dry_run:
        _dry_run(wanted, source, options.offline)
    else:
        install.install(wanted, source, options.offline)


def _refuse_files_of(account: Account, source: str | None, wheels: str | None) -> None:
    """Raise InstallError if `account` can change what root runs or installs."""
    if source:
        checks.refuse_source_of(account, source)
    if wheels:
        checks.refuse_wheels_of(account, wheels)


def _is_for_crontab_of_other(options: argparse.Namespace) -> bool:
    """Return True if root works on an installation of an account's own: one whose jobs cron fires.

    With systemd, that is an installation for cron, or the removal of one. Raises InstallError if cron cannot be used.
    """
    if os.geteuid() != 0:
        return False
    present = settings.load(layout.system())
    if present and present.account:
        if options.scheduler == CRONTAB:
            raise InstallError(f"The system's manager fires the jobs of this installation. Its services have no right "
                               f"to use crontab(1). Remove it with ./install.sh --uninstall, and install for the "
                               f"account alone: ./install.sh --account {present.account} --scheduler crontab")
        return False
    if os.path.isdir(BOOTED) and not (options.scheduler == CRONTAB or options.uninstall or options.purge):
        return False
    if os.path.isdir(BOOTED) and options.scheduler == CRONTAB and not options.account:
        raise InstallError("Cron fires the jobs of one account: name it with --account.")
    return bool(options.account) and account_of(options.account).uid != 0


def _install_as_account(options: argparse.Namespace, source: str | None) -> None:
    """Run the installer again as the account that root names, with a copy of the source that it can read."""
    account = account_of(options.account)
    _refuse_files_of(account, source, None)  # the account itself installs the wheels
    given = {name: os.environ[name] for name in settings.VARIABLES if name in os.environ}
    flags = {"--dry-run": options.dry_run, "--uninstall": options.uninstall, "--purge": options.purge,
             "--yes": options.yes, "--debug": options.debug}
    arguments = [flag for flag, is_given in flags.items() if is_given]
    if options.scheduler:
        arguments.append(f"--scheduler={options.scheduler}")
    if options.offline:
        arguments.append(f"--offline={options.offline}")
    with tempfile.TemporaryDirectory(prefix="hermes-oscron.", dir="/var/lib") as copy:
        code = source or os.path.dirname(os.path.dirname(units.HERE))
        copy_source(code, copy)
        command = account.command([python_for(account), "-I", "-B", "-c", START, copy, *arguments],
                                  AS_ACCOUNT_TIMEOUT_S)
        with started(command, env=account.environment(**given, **index_settings(os.environ))) as process:
            process.wait()
    if process.returncode:
        sys.exit(process.returncode)


def copy_source(source: str, target: str) -> None:
    """Copy what the installer reads of `source` to the folder `target`, readable for every account."""
    os.chmod(target, 0o755)
    for name in SOURCES:
        path = f"{target}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.isdir(f"{source}/{name}"):
            shutil.copytree(f"{source}/{name}", path, ignore=shutil.ignore_patterns("__pycache__"))
        elif os.path.exists(f"{source}/{name}"):
            shutil.copy(f"{source}/{name}", path)
    for folder, folders, files in os.walk(target):
        for each in folders:
            os.chmod(f"{folder}/{each}", 0o755)
        for each in files:
            os.chmod(f"{folder}/{each}", 0o644)


def _dry_run(wanted: target.Target, source: str | None, wheels: str | None) -> None:
    """Print the effect on each job, and how the unit files would change. Changes nothing."""
    if not source:
        raise InstallError("--dry-run compares with a source; run its ./install.sh --dry-run.")
    if wanted.account and wanted.manager.runs():
        sandbox.refuse_machine_without(wanted.layout, wanted.settings)
    if wanted.account and not wanted.account.exists:
        say(f"The account '{wanted.account.name}' would be created; it has no jobs yet. --account names another one.")
        return
    say("Building an environment to compare with …")
    with demo.place(wanted.account) as folder:
        places = layout.temporary(wanted.layout, folder)
        environment.use(places, environment.build(places, source, environment.python_for(wanted.account), wheels))
        settings.save(places, wanted.settings)
        shown = run([f"{places.programs}/hermes-oscron", "adopt", "--dry-run"], SYNC_TIMEOUT_S)
    if shown.returncode:
        raise InstallError(shown.stderr.strip())
    say(shown.stdout.rstrip())
    if wanted.manager.runs():
        lines = units.differences(units.expected(wanted.layout, wanted.settings))
        say("\n".join(lines) or "No unit file would change.")


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    for each in ENDING:  # what this run has changed is undone now
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)
