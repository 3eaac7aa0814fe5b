"""Removes an installation; jobs, outputs, `oscron.toml` and the token stay, unless they are to be purged."""

import contextlib
import glob
import os
import shutil
import sys
from collections.abc import Sequence

from ..files import locked
from . import completions, environment, target, units
from .jobs import forget_in_state, remove_crontab_lines
from .layout import Layout, system
from .manager import Manager
from .processes import COMMAND_TIMEOUT_S, SYNC_TIMEOUT_S, run
from .report import say, warn
from .settings import InstallError
from .target import Target

LOCK = "/run/hermes-oscron-root.lock"
"""The lock of root's helper in earlier versions."""
TIMERS = "hermes-job@*.timer"
REMOVED_STATE = ("scheduler", "synced", "in-sync", "manager", "disarmed", "sync-wanted", "bin")
"""Our files in the Hermes root that a later installation must not find; the fourth is of version 0.1."""
PLUGIN = "provider: oscron"
"""The line of the agent's configuration by which it uses our plugin."""


def uninstall(present: Target) -> None:
    """Disarm all jobs, and remove what was installed, also of a damaged installation.

    Raises StateFileError if an install is in progress, and InstallError if nothing is installed, or not all could be
    removed.
    """
    if not _is_installed(present):
        raise _not_installed(present.layout)
    _remove(present, [])
    say(f"Removed hermes-oscron; jobs, outputs, oscron.toml and the token stay in {present.settings.root}.")


def _is_installed(present: Target) -> bool:
    """Return True if a part of the installation is there, also if another was removed by hand."""
    layout = present.layout
    files = [f"{layout.units}/{name}" for name in (*units.UNITS, *units.REMOVED)]
    return any(map(os.path.lexists, [layout.prefix, f"{present.settings.root}/cron/oscron/bin", *files]))


def _not_installed(own: Layout) -> InstallError:
    of_machine = system().prefix
    if own.is_system:
        hint = "--account NAME removes what the account NAME has installed for itself."
    elif os.path.lexists(of_machine):
        hint = f"Root has installed it in {of_machine}, and can remove it."
    else:
        hint = ""
    return InstallError(f"hermes-oscron is not installed in {own.prefix}; nothing was removed.", hint)


def _remove(present: Target, doomed: Sequence[str]) -> None:
    """Disarm all jobs, and remove what was installed, and the files `doomed`.

    Raises StateFileError if an install is in progress, and InstallError if not all could be removed.
    """
    layout = present.layout
    with locked(f"{layout.prefix}/lock") if os.path.isdir(layout.prefix) else contextlib.nullcontext():
        say("Removing jobs from the scheduler, and the units …")
        _remove_all(present)
        if doomed:
            command = ["rm", "-rf", "--", *doomed]
            done = present.account.run(command, SYNC_TIMEOUT_S) if present.account else run(command, SYNC_TIMEOUT_S)
            if done.returncode:
                raise InstallError(f"Not all data could be removed: {done.stderr.strip()}")
        # last, because it may be the environment of this process
        shutil.rmtree(layout.prefix, ignore_errors=True)
    if os.path.lexists(layout.prefix):
        raise InstallError(f"No job fires any longer, but {layout.prefix} could not be removed. This shows the reason: "
                           f"rm -r {layout.prefix}")


def _remove_all(present: Target) -> None:
    layout, manager = present.layout, present.manager
    # First what could request a sync, which would arm the jobs again, and a sync in progress.
    manager.attempt("disable", "--now", *units.ENABLED, "hermes-oscron.service", *units.REMOVED)
    manager.attempt("stop", "hermes-oscron-changed.service", "hermes-oscron-watch@*.path",
                    "hermes-oscron-agent@*.socket", "hermes-oscron-agent@*.service")
    _disarm(present)
    for name in REMOVED_STATE:
        forget_in_state(present.account, present.settings.root, name)
    remove_units(layout, manager)
    for name in environment.LINKS:
        for link in (f"{layout.commands}/{name}", f"{layout.commands}/{name}.new"):  # the latter after a killed install
            if os.path.islink(link) and os.readlink(link).startswith(f"{layout.prefix}/"):
                os.unlink(link)
    for manual in glob.glob(f"{layout.manuals}/man[158]/*"):
        if os.path.basename(manual).startswith(("hermes-oscron.", "hermes-cron-exec.", "oscron.toml.")):
            os.unlink(manual)
    for path in completions.files(layout):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    manager.attempt("daemon-reload")
    if not layout.is_system:  # the system's folders exist without us, or belong to a package
        for folder in (*units.manual_sections(layout), *completions.folders(layout), layout.manuals, layout.commands,
                       layout.units):
            if folder:
                with contextlib.suppress(OSError):  # it is missing, or not empty
                    os.rmdir(folder)


def remove_units(layout: Layout, manager: Manager) -> None:
    """Stop and remove all units and timers, and end the runs in progress."""
    # From here on no timer can be armed.
    if layout.is_system:
        manager.attempt("disable", "--now", *units.ROOT_HELPER)
        manager.attempt("stop", "hermes-oscron-root@*.service")  # of earlier versions
    manager.attempt("stop", TIMERS)
    for timer in glob.glob(f"{layout.runtime_units}/{TIMERS}"):
        os.unlink(timer)
    manager.attempt("stop", "*-hermes?x2d*.slice", "*hermes*job.slice", timeout_s=COMMAND_TIMEOUT_S * 2)
    manager.attempt("stop", *(unit for unit in units.UNITS if "@" not in unit))
    manager.attempt("reset-failed", "hermes-job@*", "hermes-oscron*")
    names = [*units.UNITS, *units.REMOVED, *(units.ROOT_HELPER + units.ACCOUNT_DROP_INS if layout.is_system else ())]
    for name in names:
        units.remove(layout, f"{layout.units}/{name}")
    if layout.is_system:
        for drop_in in glob.glob(units.user_manager_drop_in(layout, "*")):
            units.remove(layout, drop_in)
        _unlink(LOCK)
    if layout.polkit_rules:
        _unlink(f"{layout.polkit_rules}/{units.POLKIT_RULES}")
    if layout.needrestart:
        _unlink(f"{layout.needrestart}/{units.NEEDRESTART_FILE}")


def purge(present: Target, confirmed: bool) -> None:
    """Uninstall, and remove our data, and the account if the installer has created it.

    Jobs and outputs that an agent shares stay. Raises InstallError without a confirmation, and changes nothing then.
    """
    account, root = present.account, present.settings.root
    created = account is not None and target.has_created(account)
    has_agent = os.path.exists(f"{root}/config.yaml")
    if created:
        what = f"the account '{target.NEW_ACCOUNT}' with its folder {target.NEW_FOLDER}, jobs and outputs included"
    elif has_agent:
        what = f"the token, the logins and the settings in {root}; jobs and outputs stay for the agent"
    else:
        what = f"all jobs, outputs, the token, the logins and the settings in {root}"
    doomed = [f"{root}/oscron.toml"]
    for home in [root, *glob.glob(f"{glob.escape(root)}/profiles/*")]:
        names = ("oscron",) if has_agent else ("oscron", "output", "jobs.json", ".jobs.lock")
        doomed += [f"{home}/cron/{name}" for name in names]
    if not (created or _is_installed(present) or any(map(os.path.lexists, doomed))):
        raise _not_installed(present.layout)
    if not confirmed:
        _confirm(f"This removes hermes-oscron and {what}.")
    _remove(present, doomed if not created and (not account or account.exists) else [])
    if created:
        target.remove_account(with_folder=True)
    if account and not account.exists and os.path.lexists(root):
        raise InstallError(f"{root} stays, because its account '{account.name}' does not exist; if nothing else needs "
                           f"it: rm -r {root}")
    say(f"Removed hermes-oscron and {what}.")


def _confirm(sentence: str) -> None:
    """Ask on the terminal. Raises InstallError unless the answer is yes."""
    if not sys.stdin.isatty():
        raise InstallError(f"{sentence} Nobody can be asked here; --yes confirms it.")
    try:
        answer = input(f"{sentence} Type yes to go on: ")
    except EOFError:
        answer = ""
    if answer.strip().lower() != "yes":
        raise InstallError("Nothing was removed.")


def _disarm(present: Target) -> None:
    """Remove the plugin from the agent's configuration, and all timers and crontab lines; warn if that fails."""
    layout = present.layout
    programs = next((folder for folder in (layout.programs, f"{layout.prefix}/venv/bin")  # the latter of version 0.1
                     if environment.works(layout, folder)), None)
    if programs:
        failed = [verb for verb in ("plugin remove", "disarm")
                  if not _succeeds([f"{programs}/hermes-oscron", *verb.split()])]
    else:  # the environment is damaged or gone
        failed = ["disarm"]
        search = ["grep", "--quiet", "--fixed-strings", PLUGIN, f"{present.settings.root}/config.yaml"]
        if (present.account.run(search) if present.account else run(search)).returncode == 0:
            failed.append("plugin remove")
    if "disarm" in failed and remove_crontab_lines(present.account, present.settings.root):
        failed.remove("disarm")  # the timers are removed with the units
    if "plugin remove" in failed:
        warn(f"{present.settings.root}/config.yaml, or that of a profile, may still name the plugin; remove "
             f"cron.provider from it, so that the agent fires its jobs again.")
    if "disarm" in failed:
        warn("Some jobs could not be disarmed; see 'crontab -l' and 'systemctl list-timers'.")


def _succeeds(command: list[str]) -> bool:
    try:
        done = run(command, SYNC_TIMEOUT_S)
    except InstallError as error:
        warn(str(error))
        return False
    if done.returncode:
        warn(done.stderr.strip()[-500:])
    return done.returncode == 0


def _unlink(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)
