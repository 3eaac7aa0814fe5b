"""The commands that crontab lines name. cron(8) gives a job almost no environment; they have the installation's."""

import os
import shlex
import shutil
import sys

from ...files import make_private_dir, write_atomic
from ...hermes.home import state_dir

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
    """Where the commands for the Hermes ROOT are."""
    return f"{state_dir(root)}/bin"


def write(root: str) -> None:
    """Write the commands for ROOT with this environment, unless those that are there start this very program.

    Raises OSError.
    """
    for name, body in ((RUNNER, RUNNER_SCRIPT), (CLI, CLI_SCRIPT)):
        program = shlex.quote(f"{sys.prefix}/bin/{name}")
        if not _starts(f"{folder(root)}/{name}", program):
            make_private_dir(folder(root))
            environment = {**{key: os.environ.get(key, "") for key in INHERITED_ENV}, "HERMES_HOME": root}
            content = "".join([
                "#!/bin/sh\n# What cron starts. Where it is removed, 'hermes-oscron sync' writes it anew.\n",
                *(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items()),
                "umask 077\n", body.format(program=program, name=name)])
            write_atomic(f"{folder(root)}/{name}", content.encode("utf-8", "surrogateescape"), 0o700)


def remove(root: str) -> None:
    """Take the commands for ROOT away."""
    shutil.rmtree(folder(root), ignore_errors=True)


def problem(root: str) -> str | None:
    """What is wrong with the commands for ROOT, in a sentence; None when nothing is."""
    for name in (RUNNER, CLI):
        path = f"{folder(root)}/{name}"
        if not os.access(path, os.X_OK):
            return f"{path}, which the crontab names, is not there. 'hermes-oscron sync' writes it."
    return None


def _starts(path: str, program: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return f" {program} " in file.read() and os.access(path, os.X_OK)
    except OSError:
        return False
