"""Which command runs a job: its script, or the one of the configuration with the prompt on standard input."""

import os

from ..hermes import config, homes
from ..hermes.homes import Home
from ..hermes.store import Record
from .execute import Command


class NoCommand(Exception):
    """Nothing here can run this job; the text says what to install or set."""


def command_for(record: Record, home: Home, settings: config.Config) -> Command:
    """The command of RECORD's job, which HOME owns. Raises NoCommand."""
    place = _place_of_execution(record, home)
    environment = {
        **os.environ,
        "HERMES_HOME": place.path,
        "HERMES_JOB_ID": str(record["id"]),
        "HERMES_JOB_NAME": _for_environment(record.get("name")),
    }
    if record.get("no_agent"):
        script = _script(place, str(record.get("script") or ""))
        return Command([_interpreter(script), script], b"", _directory(record, os.path.dirname(script)), environment)
    if not settings.command:
        raise NoCommand(
            f"Nothing here can run a prompt: install the Hermes agent, or set 'command' under [exec] in "
            f"{home.root}/oscron.toml, like command = [\"claude\", \"-p\"]."
        )
    prompt = str(record.get("prompt") or "").encode("utf-8", "replace")
    return Command(list(settings.command), prompt, _directory(record, place.path), environment)


def _script(home: Home, name: str) -> str:
    try:
        path = homes.script_path(home, name)
    except homes.OutsideScripts as error:
        raise NoCommand(str(error)) from None
    if not os.path.isfile(path):
        raise NoCommand(f"There is no script {path}.")
    return path


def _place_of_execution(record: Record, home: Home) -> Home:
    """The home of the profile that RECORD names, or the one that owns it."""
    profile = record.get("profile")
    if not isinstance(profile, str) or profile == home.profile:
        return home
    try:
        return homes.home(home.root, profile)
    except homes.UnknownProfile as error:
        print(f"{error} The job runs in {home.profile}, which owns it.", flush=True)
        return home


def _interpreter(script: str) -> str:
    """As in the agent: bash for .sh and .bash, Python for all else, whatever the file's first line says."""
    return "bash" if script.lower().endswith((".sh", ".bash")) else "python3"


def _directory(record: Record, otherwise: str) -> str:
    workdir = record.get("workdir")
    return workdir if isinstance(workdir, str) and workdir else otherwise


def _for_environment(name: object) -> str:
    return str(name or "").replace("\0", "").encode("utf-8", "replace").decode()
