"""The commands that crontab lines name. cron(8) gives a job almost no environment; they set the installation's."""

import os
import shlex
import shutil
import sys

from ...files import make_private_dir, write_atomic
from ...state import State

INHERITED_ENV = ("PATH", "HOME", "HERMES_TIMEZONE")
RUNNER, CLI = "hermes-cron-exec", "hermes-oscron"

CLI_SCRIPT = """\
if [ -S /dev/log ]; then
    {program} "$@" 2>&1 | logger -t {name}
else
    exec {program} "$@" >/dev/null 2>&1
fi
"""
RUNNER_SCRIPT = 'exec {program} "$@" --crontab </dev/null >/dev/null 2>&1\n'


def folder(root: str) -> str:
    """Return the folder of the commands for the Hermes `root`."""
    return State(root).launchers


def write(root: str) -> None:
    """Write the commands for `root` with this environment, unless the present ones start this very program.

    Raises OSError.
    """
    for name, body in ((RUNNER, RUNNER_SCRIPT), (CLI, CLI_SCRIPT)):
        program = shlex.quote(f"{sys.prefix}/bin/{name}")
        if not _starts(f"{folder(root)}/{name}", program):
            make_private_dir(folder(root))
            environment = {**{key: os.environ.get(key, "") for key in INHERITED_ENV}, "HERMES_HOME": root}
            content = "".join([
                "#!/bin/sh\n# Started by cron. If it is removed, 'hermes-oscron sync' writes it again.\n",
                *(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items()),
                "umask 077\n", body.format(program=program, name=name)])
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


def _starts(path: str, program: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return f" {program} " in file.read() and os.access(path, os.X_OK)
    except OSError:
        return False
