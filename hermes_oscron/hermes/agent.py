"""Where the Hermes agent is, and the command by which it runs a job of its own."""

import os
import re

from ..config import Config
from ..errors import OscronError
from .home import Home

FIRE_DUE_SCRIPT = f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}/in_agent/fire_due.py"
INTERPRETER = re.compile(rb"""^(?:\#!\s*|'''exec'\s+|exec\s+)["']?(/[^\s"']*python[0-9.]*)""", re.MULTILINE)
"""The Python that a script of pip's names: in its first line, or where that would be too long, after an exec."""
EXIT_UNSUPPORTED, EXIT_CLAIMED_ELSEWHERE = 69, 75
"""What the shim ends with when the agent cannot run a single job, and when another scheduler has it."""


class AgentNotFound(OscronError):
    """The agent that oscron.toml names is not one; the text says what it should name."""


def python_of(root: str, settings: Config) -> str | None:
    """The Python that the agent of the Hermes ROOT runs in; None where there is none. Raises AgentNotFound."""
    if settings.agent == "none":
        return None
    if settings.agent != "auto":
        python = _python(settings.agent)
        if python is None:
            raise AgentNotFound(f"{settings.agent}, the [exec] agent of {root}/oscron.toml, is not the agent's "
                                "`hermes`.")
        return python
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), f"{root}/hermes-agent/venv/bin",
               os.path.expanduser("~/.local/bin")]
    return next((python for folder in folders if folder and (python := _python(f"{folder}/hermes"))), None)


def fire_command(python: str, job_id: str, owner: Home) -> list[str]:
    """The command that runs JOB_ID, which OWNER keeps, in the agent's PYTHON.

    -P: the shim's folder is no place to import from (python(1)).
    """
    return [python, "-P", FIRE_DUE_SCRIPT, job_id, owner.path]


def _python(hermes: str) -> str | None:
    """The Python that the command HERMES runs in: beside it in its virtual environment, or the one it names."""
    path = os.path.realpath(hermes)
    if not os.access(path, os.X_OK) or os.path.isdir(path):
        return None
    folder = os.path.dirname(path)
    beside = f"{folder}/python3"
    if os.path.exists(f"{os.path.dirname(folder)}/pyvenv.cfg") and os.access(beside, os.X_OK):
        return beside
    try:
        with open(path, "rb") as file:
            named = INTERPRETER.search(file.read(4096))
    except OSError:
        return None
    return os.fsdecode(named[1]) if named and os.access(named[1], os.X_OK) else None
