"""Which command runs a job: the agent, a script of the job's own, or the command that the configuration names."""

import os

from ..hermes import agent, config, homes
from ..hermes.homes import Home
from ..hermes.store import Record
from .execute import Command

LONGEST_NAME = 4096
"""Characters; a variable of 128 KiB would keep the job from being started (execve(2))."""


class NoCommand(Exception):
    """Nothing here can run this job; the text says what to install or set."""


def command_for(record: Record, home: Home, settings: config.Config) -> Command:
    """The command of RECORD's job, which HOME owns. Raises NoCommand.

    A script runs by itself, unless its output is to be delivered, which only the agent can; a prompt is the agent's,
    unless the configuration names another command for prompts.
    """
    place = _place_of_execution(record, home)
    environment = {
        **os.environ,
        "HERMES_HOME": place.path,
        "HERMES_JOB_ID": str(record["id"]),
        "HERMES_JOB_NAME": _for_environment(record.get("name")),
    }
    if _is_the_agent_s(record, settings) and (python := _agent(home, settings)):
        return Command(agent.argv(python, str(record["id"]), home), b"", place.path, environment, by_agent=True)
    if record.get("no_agent"):
        script = _script(place, str(record.get("script") or ""))
        return Command([_interpreter(script), script], b"", _directory(record, os.path.dirname(script)), environment)
    if not settings.command:
        raise NoCommand(
            f"Nothing here can run a prompt: the Hermes agent was not found. Install it, name its `hermes` with "
            f"'agent' under [exec] in {home.root}/oscron.toml, or set 'command' there, like "
            f"command = [\"claude\", \"-p\"]."
        )
    prompt = str(record.get("prompt") or "").encode("utf-8", "replace")
    return Command(list(settings.command), prompt, _directory(record, place.path), environment)


def stays_here(record: Record) -> bool:
    """Whether what RECORD's job says is delivered nowhere but to its own outputs."""
    return record.get("deliver") in (None, "", "local")


def _is_the_agent_s(record: Record, settings: config.Config) -> bool:
    return not stays_here(record) if record.get("no_agent") else not settings.command


def _agent(home: Home, settings: config.Config) -> str | None:
    try:
        return agent.python_of(home.root, settings)
    except agent.NoAgent as error:
        raise NoCommand(str(error)) from None


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
    return str(name or "")[:LONGEST_NAME].replace("\0", "").encode("utf-8", "replace").decode()
