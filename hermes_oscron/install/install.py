"""Installs, upgrades and repairs: one sequence for all three, in which every step leaves something that works."""

import contextlib
import os
import pwd
import shutil
from collections.abc import Sequence
from dataclasses import replace

from ..errors import describe
from ..files import locked, write_atomic
from . import completions, environment, rollback, settings, target, units
from .jobs import forget_in_state, leave_home
from .layout import Layout
from .manager import BOOTED
from .processes import SYNC_TIMEOUT_S, Account, lingers, run
from .report import say, warn
from .settings import InstallError
from .target import Target

RELABEL_TIMEOUT_S = 120.0


def install(wanted: Target, source: str | None, wheels: str | None) -> None:
    """Install `wanted` from `source`, or without a source repair what is around the environment in use.

    The new environment is built beside the old one. Until the link is moved, a failure or a kill changes nothing; from
    then on the new environment works with the old units and the new ones, and the next run completes the rest. If the
    new units do not start, the present installation is put back. Raises InstallError, OSError.
    """
    layout = wanted.layout
    target.refuse_bad_target(wanted)
    with contextlib.ExitStack() as undo:
        managed = _start_manager(wanted, undo)
        wanted = _with_home(wanted, undo)
        if not os.path.isdir(layout.prefix):
            undo.callback(shutil.rmtree, layout.prefix, ignore_errors=True)
        os.makedirs(layout.prefix, mode=0o755, exist_ok=True)
        with locked(f"{layout.prefix}/lock"):
            if settings.load(layout) != wanted.present:
                raise InstallError("Another ./install.sh has just changed this installation; run it again.")
            kept = rollback.keep(wanted) if wanted.present else None
            if source:
                python = environment.python_for(wanted.account)
                if not environment.is_up_to_date(layout, source, python):
                    say(f"Building the environment in {layout.prefix} …")
                    environment.use(layout, environment.build(layout, source, python, wheels))
            elif not environment.works(layout):
                raise InstallError("The installed environment is damaged; ./install.sh of the source repairs it.")
            undo.pop_all()
            if wanted.present and wanted.present.home and wanted.present.root != wanted.settings.root:
                leave_home(wanted.account, wanted.present.root, f"{layout.programs}/python")
            try:
                settings.save(layout, wanted.settings)
                link_commands(layout)
                _make_token(wanted)
                if managed:
                    say("Starting its units …")
                    install_units(wanted)
            except (InstallError, OSError) as error:
                if kept is None:
                    raise
                raise InstallError(describe(error), rollback.start_again(wanted, kept)) from error
            _sync(wanted)
            remove_old_units(wanted)
            environment.remove_unused(layout)
    _show(wanted, managed)


def _start_manager(wanted: Target, undo: contextlib.ExitStack) -> bool:
    """Return True if the systemd manager runs, which an account without a login may have to start first."""
    manager = wanted.manager
    if manager.runs():
        return True
    if os.path.isdir(BOOTED):
        say("Starting the systemd manager of this account …")
        if not lingers(pwd.getpwuid(os.getuid()).pw_name):
            undo.callback(manager.disable_linger)
    if manager.start_for_account():
        return True
    if os.path.isdir(BOOTED) and wanted.settings.scheduler != "crontab":
        raise InstallError(f"No systemd user manager runs for this account. As root: loginctl enable-linger "
                           f"{os.getuid()}")
    return False


def _with_home(wanted: Target, undo: contextlib.ExitStack) -> Target:
    """Return `wanted` with an account that exists and can write to the Hermes root. Raises InstallError."""
    account, root = wanted.account, wanted.settings.root
    if account and not account.exists:
        had_folder = os.path.lexists(target.NEW_FOLDER)
        wanted = replace(wanted, account=target.create_account())
        undo.callback(target.remove_account, with_folder=not had_folder)
    elif not os.path.lexists(root):
        undo.callback(account.run if account else run, ["rmdir", root])
    target.require_writable_home(wanted)
    return wanted


def link_commands(layout: Layout) -> None:
    """Link our commands, and write the manuals and completions, where shells and man(1) look for them."""
    if layout.commands:
        os.makedirs(layout.commands, exist_ok=True)
        for name in environment.LINKS:
            environment.replace_link(f"{layout.commands}/{name}", f"{layout.programs}/{name}")
    if layout.manuals:
        for name in sorted(os.listdir(units.MANUALS)):
            section = f"{layout.manuals}/man{name[-1]}"
            os.makedirs(section, exist_ok=True)
            with open(f"{units.MANUALS}/{name}", "rb") as manual:
                write_atomic(f"{section}/{name}", manual.read(), 0o644)
    for path, text in completions.files(layout).items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomic(path, text.encode(), 0o644)


def install_units(wanted: Target) -> None:
    """Write the units of the API, the jobs and the syncs, and start them with the new code. Raises InstallError."""
    layout, manager = wanted.layout, wanted.manager
    files = units.expected(layout, wanted.settings)
    units.write(files)
    if layout.is_system:
        _relabel(layout, list(files))
    if wanted.account and layout.polkit_rules:
        _withhold_user_manager(layout, wanted.account)
    elif not layout.is_system and not layout.is_temporary and not manager.enable_linger():
        warn(f"Jobs will only run while this account is logged in. As root: loginctl enable-linger {os.getuid()}")
    # The servers may run the old code; and systemd may still have the old socket loaded, which may be another.
    manager.attempt("stop", *units.STOPPED)
    manager.call("daemon-reload")
    if not layout.is_temporary:
        manager.call("enable", *units.ENABLED, *(["hermes-oscron-root.socket"] if wanted.account else []))
    if wanted.account:
        manager.call("restart", "hermes-oscron-root.socket")
    try:
        manager.call("start", "hermes-oscron.socket")
    except InstallError as error:
        raise InstallError(f"The API cannot listen on {wanted.settings.address}: {error} If another program does, "
                           f"choose a port: PORT={wanted.settings.port + 1} ./install.sh") from None
    started = ["hermes-oscron-sync.socket"] if layout.is_temporary else [
        "hermes-oscron-sync.timer", "hermes-oscron-sync.socket", "hermes-oscron-changed.path"]
    manager.call("restart", *started)
    manager.attempt("try-restart", "hermes-oscron-watch@*.path")


def _relabel(layout: Layout, files: Sequence[str]) -> None:
    """Give the environments, the commands and the unit `files` the labels of the machine's policy of SELinux, if any.

    Programs get the label of the folder in which they are made, with which an enforcing system may not start them.
    """
    commands = [f"{layout.commands}/{name}" for name in environment.LINKS] if layout.commands else []
    with contextlib.suppress(InstallError):  # it did not end
        run(["restorecon", "-R", layout.prefix, *commands, *files], RELABEL_TIMEOUT_S)


def remove_old_units(wanted: Target) -> None:
    """Remove the units of earlier versions."""
    for name in units.REMOVED:
        path = f"{wanted.layout.units}/{name}"
        if os.path.lexists(path):
            wanted.manager.attempt("disable", "--now", name)
            os.unlink(path)
            wanted.manager.attempt("daemon-reload")
    forget_in_state(wanted.account, wanted.settings.root, "sync-wanted")


def _make_token(wanted: Target) -> None:
    """Make the token of the API, if there is none."""
    done = run([f"{wanted.layout.programs}/hermes-oscron", "token"])
    if done.returncode:
        raise InstallError(f"The token cannot be made: {done.stderr.strip()}")


def _sync(wanted: Target) -> None:
    """Arm the jobs in the wanted scheduler."""
    done = run([f"{wanted.layout.programs}/hermes-oscron", "sync", "--scheduler", wanted.settings.scheduler],
               SYNC_TIMEOUT_S)
    if done.returncode not in (0, os.EX_CONFIG):  # the latter if a file must be edited, which doctor reports
        raise InstallError(f"hermes-oscron is installed, but not all jobs could be armed:\n{done.stderr.rstrip()}")


def _withhold_user_manager(layout: Layout, account: Account) -> None:
    """Remove the drop-in of an account that has a login by now, and warn if it has a user manager without one."""
    drop_in = units.user_manager_drop_in(layout, account.uid)
    if os.path.lexists(drop_in) and not units.withholds_user_manager(layout, account):
        units.remove(layout, drop_in)
    if account.lingers:
        warn(f"Jobs of {account.name} can leave their sandbox by its user manager. If nothing else needs that one: "
             f"loginctl disable-linger {account.name}, and install again.")


def _show(wanted: Target, managed: bool) -> None:
    """Print what the user needs next, and what doctor finds."""
    layout = wanted.layout
    command = "hermes-oscron"
    if layout.commands not in os.environ.get("PATH", "").split(":"):
        command = f"{layout.commands}/{command}"
    if managed:
        say(f"Listening on {wanted.settings.address}. Print the token:  {command} token")
    else:
        say(f"Serve the API:  {command} serve; start it as a service of this machine")
    say(f"Create a job:  {command} create 'weekdays at 9:00' 'Summarise my mail'")
    if shutil.which("hermes") or os.path.exists(f"{wanted.settings.root}/config.yaml"):
        say(f"Turn off the agent's own scheduler:  {command} plugin install")
    found = run([f"{layout.programs}/hermes-oscron", "doctor"], SYNC_TIMEOUT_S).stdout
    armed = ("; crontab -l" if "fired by cron" in found else
             f"; systemctl {layout.manager} list-timers 'hermes-job@*'" if managed else "")
    say(f"List the jobs:  {command} list{armed}")
    for line in found.splitlines():
        kind, _, sentence = line.partition(": ")
        if kind in ("WRONG", "WARNING"):
            warn(sentence)
