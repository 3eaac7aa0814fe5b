"""The command that runs a job: the agent, a script of the job's own, or the command in the configuration."""

import os

from .. import config
from ..hermes import agent
from ..hermes.home import Home, ProfileNotFound, ScriptPathError, home_of, script_path
from ..jobs.record import Record, is_delivered
from .process import Command

MAX_NAME_CHARS = 4096
"""The longest name that a job's process gets: a variable of 128 KiB would prevent its start (execve(2))."""


class NoExecutor(Exception):
    """No program on this machine can run the job; the text states what to install or set."""


def command_for(record: Record, home: Home, settings: config.Config) -> Command:
    """Return the command of the job of `record`, which `home` owns. Raises NoExecutor.

    A script runs by itself, unless its output must be delivered, which only the agent can do. A prompt runs in the
    agent, unless the configuration names another command for prompts.
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
            f"No program can run the prompt: the Hermes agent was not found. Install it, name its `hermes` with "
            f"'agent' under [exec] in {home.root}/oscron.toml, or set 'command' there, like "
            f"command = [\"claude\", \"-p\"]."
        )
    prompt = str(record.get("prompt") or "").encode("utf-8", "replace")
    return Command(list(settings.command), prompt, _directory(record, place.path), environment)


def _needs_agent(record: Record, settings: config.Config) -> bool:
    return is_delivered(record) if record.get("no_agent") else not settings.command


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
    """Return the home of the profile that `record` names, or the one that owns the job."""
    profile = record.get("profile")
    if not isinstance(profile, str) or profile == home.profile:
        return home
    try:
        return home_of(home.root, profile)
    except ProfileNotFound as error:
        print(f"{error} The job runs in {home.profile}, which owns it.", flush=True)
        return home


def _interpreter(script: str) -> str:
    """Return the interpreter as the agent does: bash for .sh and .bash, else Python, regardless of the first line."""
    return "bash" if script.lower().endswith((".sh", ".bash")) else "python3"


def _directory(record: Record, otherwise: str) -> str:
    workdir = record.get("workdir")
    return workdir if isinstance(workdir, str) and workdir else otherwise


def _for_environment(name: object) -> str:
    return str(name or "")[:MAX_NAME_CHARS].replace("\0", "").encode("utf-8", "replace").decode()
