"""Facts about the agent at hand, from its own functions: the way it runs scripts, and the fields of its jobs.

The answer of in_agent/facts.py takes the agent up to a second. It is kept in `cron/oscron/agent.json` until the agent,
its config.yaml or the environment changes, so a run only reads that file.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import OscronError
from ..files import make_private_dir, open_regular, write_atomic
from .agent import FACTS_SCRIPT, REDACT_SCRIPT
from .home import Home

ANSWER_TIMEOUT_S = 60.0


class AgentBroken(OscronError):
    """The agent's Python could not answer; the text gives the reason."""


class Facts(NamedTuple):
    """The way the agent runs scripts, and the names of the fields that its `create_job` takes.

    `python` starts a Python script, with the variables `python_environment`. Scripts do not get the variables
    `removed`, and get those in `changed`.
    """

    fields: frozenset[str]
    has_snapshots: bool
    python: tuple[str, ...]
    python_environment: Mapping[str, str]
    removed: frozenset[str]
    changed: Mapping[str, str]

    def script_environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return `environment` as the agent gives it to a script."""
        return {**{name: value for name, value in environment.items() if name not in self.removed}, **self.changed}


def facts(python: str, home: Home, environment: Mapping[str, str], any_environment: bool = False) -> Facts:
    """Return the facts of the agent with this `python` in `home`, for scripts in `environment`.

    With `any_environment`, those for another environment will do. Raises AgentBroken.
    """
    known = _known(home)
    is_known = known.get("agent_python") == python and (any_environment or _covers(known, environment))
    if not (is_known and known["signatures"] == _signatures(known["sources"], home)):
        try:
            known = _updated(python, home, environment)
        except AgentBroken:
            if not is_known:  # while the agent is upgraded, its last answer counts
                raise
    return Facts(frozenset(known["fields"]), known["has_snapshots"], tuple(known["python"]),
                 known["python_environment"], frozenset(known["removed"]), known["changed"])


def model_fields(python: str, home: Home, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that the agent's own create and update store for the provider and model in `given`.

    Raises AgentBroken.
    """
    return _ask([python, "-P", FACTS_SCRIPT, "model"], home, os.environ, json.dumps(given).encode())


def redaction_command(python: str) -> list[str]:
    """Return the command that removes secrets from texts; see in_agent/redact.py."""
    return [python, "-P", REDACT_SCRIPT]


def _known(home: Home) -> dict[str, Any]:
    try:
        with open(home.state.agent_facts, "rb", opener=open_regular) as file:
            known = json.load(file)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _updated(python: str, home: Home, environment: Mapping[str, str]) -> dict[str, Any]:
    """Ask the agent, and remember its answer. Raises AgentBroken."""
    known = {**_ask([python, "-P", FACTS_SCRIPT], home, environment, b""),
             "names": sorted(environment), "path": environment.get("PATH"), "agent_python": python}
    known["signatures"] = _signatures(known["sources"], home)
    with contextlib.suppress(OSError):  # then the next run asks again
        make_private_dir(home.state.folder)
        write_atomic(home.state.agent_facts, json.dumps(known).encode())
    return known


def _covers(known: Mapping[str, Any], environment: Mapping[str, str]) -> bool:
    return known["path"] == environment.get("PATH") and environment.keys() <= set(known["names"])


def _signatures(sources: Iterable[str], home: Home) -> list[list[int]]:
    """Return what changes with the agent and its configuration."""
    found = []
    for path in (*sources, f"{home.path}/config.yaml"):
        try:
            status = os.stat(path)
            found.append([status.st_ino, status.st_size, status.st_mtime_ns])
        except OSError:
            found.append([])
    return found


def _ask(command: list[str], home: Home, environment: Mapping[str, str], stdin: bytes) -> dict[str, Any]:
    """Return the answer of `command`, which runs in the agent's Python. Raises AgentBroken."""
    try:
        ended = subprocess.run(command, input=stdin, capture_output=True, timeout=ANSWER_TIMEOUT_S, check=False,
                               env={**environment, "HERMES_HOME": home.path})
        if ended.returncode == 0:
            answer: dict[str, Any] = json.loads(ended.stdout)
            return answer
        reason = ended.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2] or f"exit {ended.returncode}"
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    raise AgentBroken(f"The Hermes agent in {command[0]} does not work: {reason:.300}", "Repair or reinstall it.")
