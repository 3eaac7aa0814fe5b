"""The commands that crontab lines name. cron(8) gives a job almost no environment; they set the installation's."""

import os
import shlex
import shutil

from ... import installation
from ...files import make_private_dir, write_atomic
from ...state import State

INHERITED_ENV = ("PATH", "HOME", "HERMES_TIMEZONE", "TZ")
RUNNER, CLI = "hermes-cron-exec", "hermes-oscron"

CLI_SCRIPT = """\
if [ -S /dev/log ]; then
    {program} "$@" --quiet 2>&1 | logger -t {name}
else
    {program} "$@" >/dev/null 2>&1
fi
{check}"""
"""It is started only as `hermes-oscron sync`."""
RUNNER_SCRIPT = """\
{program} "$@" --crontab </dev/null >/dev/null 2>&1 && exit
status=$?
{check}exit $status
"""
CHECK = """\
if ! {program} --version >/dev/null 2>&1; then
    says={program}" cannot be run. Run ./install.sh of hermes-oscron again, which repairs it. Its jobs stay due."
    [ ! -S /dev/log ] || logger -p user.crit -t {name} "$says"
    echo "$says" >&2
fi
"""
"""A damaged program cannot report itself. cron(8) mails what is printed."""


def folder(root: str) -> str:
    """Return the folder of the commands for the Hermes `root`."""
    return State(root).launchers


def write(root: str) -> None:
    """Write the commands for `root` with the installation's environment, unless they are there.

    Without an installation the environment is that of this process, and commands that start this very program stay.
    Raises OSError.
    """
    installed = installation.read_settings()
    for name, body in ((RUNNER, RUNNER_SCRIPT), (CLI, CLI_SCRIPT)):
        program = shlex.quote(installation.program(name))
        inherited = {key: installed.get(key) or os.environ.get(key, "") for key in INHERITED_ENV}
        if not inherited["TZ"]:
            del inherited["TZ"]  # an empty TZ means UTC (tzset(3))
        environment = {**inherited, "HERMES_HOME": root}
        content = "".join([
            "#!/bin/sh\n# Started by cron. If it is removed, 'hermes-oscron sync' writes it again.\n",
            *(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items()),
            "umask 077\n", body.format(program=program, name=name, check=CHECK.format(program=program, name=name))])
        present = _content(f"{folder(root)}/{name}")
        if present != content and (installed or f"{program} " not in present):
            make_private_dir(folder(root))
            write_atomic(f"{folder(root)}/{name}", content.encode("utf-8", "surrogateescape"), 0o700)


def remove(root: str) -> None:
    """Remove the commands for `root`."""
    shutil.rmtree(folder(root), ignore_errors=True)


def problem(root: str) -> str | None:
    """Return the problem of the commands for `root`, in a sentence; None if there is none."""
    for name in (RUNNER, CLI):
        path = f"{folder(root)}/{name}"
        if not os.access(path, os.X_OK):
            return f"{path}, which the crontab names, is missing. 'hermes-oscron sync' writes it."
    return None


def _content(path: str) -> str:
    """Return the command at `path`; empty if it is missing or cannot be executed."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read() if os.access(path, os.X_OK) else ""
    except OSError:
        return ""
