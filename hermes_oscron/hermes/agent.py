"""The Hermes agent's Python, and the command by which the agent runs one of its jobs."""

import os
import re

from .. import config
from ..errors import OscronError
from .home import Home

IN_AGENT = f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}/in_agent"
FIRE_DUE_SCRIPT, MAINTAIN_SCRIPT, CHECK_PROVIDER_SCRIPT, FACTS_SCRIPT, REDACT_SCRIPT, WORKER_SCRIPT = (
    f"{IN_AGENT}/{name}.py" for name in ("fire_due", "maintain", "check_provider", "facts", "redact", "worker"))
INTERPRETER = rb"""(?m)^(?:\#!\s*|'''exec'\s+|exec\s+)["']?(/[^\s"']*python[0-9.]*)"""
"""The Python that a script by pip runs in: named in its first line or, if that would be too long, after an `exec`."""
EXIT_UNSUPPORTED, EXIT_CLAIMED_ELSEWHERE = 69, 75
"""The shim's exit status if the agent cannot run a single job, and if another scheduler has claimed the job."""


class AgentNotFound(OscronError):
    """oscron.toml names a file that is not the agent's command `hermes`; the text gives the file and the setting."""


def python_of(root: str, settings: config.Config) -> str | None:
    """Return the Python of the agent of the Hermes `root`; None if there is no agent. Raises AgentNotFound."""
    if settings.agent == "none":
        return None
    if settings.agent != "auto":
        python = _python(settings.agent)
        if python is None:
            raise AgentNotFound(f"{settings.agent}, the [exec] agent of {root}/oscron.toml, is not the agent's "
                                "`hermes`. Correct it there.")
        return python
    path = settings.path or os.environ.get("PATH", os.defpath)
    folders = [*path.split(os.pathsep), f"{root}/hermes-agent/venv/bin",
               os.path.expanduser("~/.local/bin")]
    return next((python for folder in folders if folder and (python := _python(f"{folder}/hermes"))), None)


def fire_command(python: str, job_id: str, owner: Home, occurrence: str | None) -> list[str]:
    """Return the command that runs `job_id`, whose record is in `owner`, in the agent's `python`.

    `occurrence` is the `next_run_at` that is due; "" if it is unknown, and None for a manual run. -P: nothing must be
    imported from the shim's folder (python(1)).
    """
    return [python, "-P", FIRE_DUE_SCRIPT, job_id, owner.path, *([] if occurrence is None else [occurrence])]


def without_file(command: list[str]) -> list[str]:
    """Return the `command` of an agent on a machine that does not have this package, with the text of the shim."""
    with open(FIRE_DUE_SCRIPT, encoding="utf-8") as file:
        text = file.read()
    return [word for part in command for word in (["-c", text] if part == FIRE_DUE_SCRIPT else [part])]


def worker_command(python: str, home: Home, socket: str) -> list[str]:
    """Return the command of the agent worker of `home`, with the files whose change makes it stale.

    `socket` is the path of its socket, which it removes; "" if that is systemd's.
    """
    files = [f"{folder}/{name}" for folder in {home.path, home.root} for name in (".env", "config.yaml")]
    return [python, "-P", WORKER_SCRIPT, socket, config.path_of(home.root), *files]


def maintain_command(python: str, home: Home) -> list[str]:
    """Return the command that does the hourly maintenance of `home` in the agent's `python`."""
    return [python, "-P", MAINTAIN_SCRIPT, home.path]


def check_provider_command(python: str, home: Home, profiles: int) -> list[str]:
    """Return the command that checks, in the agent's `python`, that the gateway of `home` uses our plugin."""
    return [python, "-P", CHECK_PROVIDER_SCRIPT, home.path, str(profiles)]


def _python(hermes: str) -> str | None:
    """Return the Python of the command `hermes`: beside it in its virtual environment, or the one it names."""
    path = os.path.realpath(hermes)
    if not os.access(path, os.X_OK) or os.path.isdir(path):
        return None
    folder = os.path.dirname(path)
    beside = f"{folder}/python3"
    if os.path.exists(f"{os.path.dirname(folder)}/pyvenv.cfg") and os.access(beside, os.X_OK):
        return beside
    try:
        with open(path, "rb") as file:
            named = re.search(INTERPRETER, file.read(4096))
    except OSError:
        return None
    return os.fsdecode(named[1]) if named and os.access(named[1], os.X_OK) else None
