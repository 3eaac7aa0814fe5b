"""The environment of a run, and whether the agent runs it, which must be known before its turn."""

import os
from typing import TYPE_CHECKING

from .. import config
from ..errors import cause
from ..files import open_regular
from ..hermes import agent
from ..hermes.home import Home
from ..jobs.record import Record, is_delivered

if TYPE_CHECKING:
    from .process import Command

STATUS_SOCKET = "NOTIFY_SOCKET"
"""The variable with which systemd names the socket for the status of a unit (sd_notify(3)). It is the runner's."""
AGENT_ONLY = ("script", "monitor_script", "monitor_url")
"""Fields of a prompt's job that only the agent handles: what they find decides whether the prompt runs."""


class NoExecutor(Exception):
    """No program on this machine can run the job; the text states what to install or set."""


def runs_in_agent(record: Record, home: Home, settings: config.Config) -> bool:
    """Return True if the agent runs the job of `record`, which `home` owns. Raises NoExecutor."""
    return needs_agent(record, settings) and agent_python(home, settings) is not None


def needs_agent(record: Record, settings: config.Config) -> bool:
    """Return True if only the agent can do all that the job of `record` asks for."""
    if record.get("no_agent"):
        return is_delivered(record) or bool(record.get("failure_deliver"))
    return not settings.command or any(record.get(field) for field in AGENT_ONLY)


def agent_python(home: Home, settings: config.Config) -> str | None:
    """Return the Python of the agent; None if there is no agent. Raises NoExecutor."""
    try:
        return agent.python_of(home.root, settings)
    except agent.AgentNotFound as error:
        raise NoExecutor(str(error)) from None


def job_environment(settings: config.Config) -> dict[str, str]:
    """Return the environment of jobs without the `.env` of their home: that of this process, and [exec]'s."""
    path = {"PATH": settings.path} if settings.path else {}
    inherited = {name: value for name, value in os.environ.items() if name != STATUS_SOCKET}
    return {**inherited, **settings.environment, **path}


def home_environment(home: Home, settings: config.Config) -> dict[str, str]:
    """Return the environment of jobs that run in `home`, with its `.env`. Raises NoExecutor."""
    environment = {**job_environment(settings), "HERMES_HOME": home.path}
    return environment | env_file_variables(home, environment)


def env_file_variables(home: Home, environment: dict[str, str]) -> dict[str, str]:
    """Return the variables in the `.env` of `home`, which the agent puts over those of its `environment`."""
    path = f"{home.path}/.env"
    try:
        with open(path, "rb", opener=open_regular) as file:
            from ..hermes import env_file  # 3 ms, only if there is a file to read

            return env_file.parse(file.read(), environment)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise NoExecutor(f"{path} cannot be read: {cause(error)}") from None


def in_any_locale(command: "Command") -> "Command":
    """Return `command` with each text that the locale's encoding does not have, such as a job's name, in UTF-8."""

    def encodable(text: str) -> str:
        try:
            os.fsencode(text)
        except UnicodeEncodeError:
            return os.fsdecode(text.encode("utf-8", "surrogateescape"))
        return text

    return command._replace(argv=[encodable(text) for text in command.argv], directory=encodable(command.directory),
                            environment={encodable(name): encodable(value)
                                         for name, value in command.environment.items()})
