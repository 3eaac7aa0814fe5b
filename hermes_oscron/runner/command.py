"""Which command runs a job: the agent, a script of the job's own, or the command that the configuration names."""

import os

from .. import config
from ..hermes import agent
from ..hermes.home import Home, ProfileNotFound, ScriptPathError, home_of, script_path
from ..hermes.jobs_file import Record
from .process import Command

MAX_NAME_CHARS = 4096
"""Characters; a variable of 128 KiB would keep the job from being started (execve(2))."""


class NoExecutor(Exception):
    """Nothing here can run this job; the text says what to install or set."""


def command_for(record: Record, home: Home, settings: config.Config) -> Command:
    """The command of RECORD's job, which HOME owns. Raises NoExecutor.

    A script runs by itself, unless its output is to be delivered, which only the agent can; a prompt is the agent's,
    unless the configuration names another command for prompts.
    """
    place = _execution_home(record, home)
    environment = {
        **os.environ,
        "HERMES_HOME": place.path,
        "HERMES_JOB_ID": str(record["id"]),
        "HERMES_JOB_NAME": _for_environment(record.get("name")),
    }
    if _needs_agent(record, settings) and (python := _agent_python(home, settings)):
        return Command(agent.fire_command(python, str(record["id"]), home), b"", place.path, environment, by_agent=True)
    if record.get("no_agent"):
        script = _script(place, str(record.get("script") or ""))
        return Command([_interpreter(script), script], b"", _directory(record, os.path.dirname(script)), environment)
    if not settings.command:
        raise NoExecutor(
            f"Nothing here can run a prompt: the Hermes agent was not found. Install it, name its `hermes` with "
            f"'agent' under [exec] in {home.root}/oscron.toml, or set 'command' there, like "
            f"command = [\"claude\", \"-p\"]."
        )
    prompt = str(record.get("prompt") or "").encode("utf-8", "replace")
    return Command(list(settings.command), prompt, _directory(record, place.path), environment)


def is_local_only(record: Record) -> bool:
    """Whether what RECORD's job says is delivered nowhere but to its own outputs."""
    return record.get("deliver") in (None, "", "local")


def _needs_agent(record: Record, settings: config.Config) -> bool:
    return not is_local_only(record) if record.get("no_agent") else not settings.command


def _agent_python(home: Home, settings: config.Config) -> str | None:
    try:
        return agent.python_of(home.root, settings)
    except agent.AgentNotFound as error:
        raise NoExecutor(str(error)) from None


def _script(home: Home, name: str) -> str:
    try:
        path = script_path(home, name)
    except ScriptPathError as error:
        raise NoExecutor(str(error)) from None
    if not os.path.isfile(path):
        raise NoExecutor(f"There is no script {path}.")
    return path


def _execution_home(record: Record, home: Home) -> Home:
    """The home of the profile that RECORD names, or the one that owns it."""
    profile = record.get("profile")
    if not isinstance(profile, str) or profile == home.profile:
        return home
    try:
        return home_of(home.root, profile)
    except ProfileNotFound as error:
        print(f"{error} The job runs in {home.profile}, which owns it.", flush=True)
        return home


def _interpreter(script: str) -> str:
    """As in the agent: bash for .sh and .bash, Python for all else, whatever the file's first line says."""
    return "bash" if script.lower().endswith((".sh", ".bash")) else "python3"


def _directory(record: Record, otherwise: str) -> str:
    workdir = record.get("workdir")
    return workdir if isinstance(workdir, str) and workdir else otherwise


def _for_environment(name: object) -> str:
    return str(name or "")[:MAX_NAME_CHARS].replace("\0", "").encode("utf-8", "replace").decode()
