"""The targets for a run's output: none, the place the job came from, and those the agent is connected to."""

import json
import os
import subprocess
from functools import lru_cache

from ..config import Config
from . import agent
from .home import Home

AGENT_TIMEOUT_S = 20.0
"""The agent takes two seconds to answer."""
BUILTIN_TARGETS = {"local": "Local (save only)", "origin": "Where it was made"}
KNOWN_TARGETS = {"telegram": "Telegram", "discord": "Discord", "slack": "Slack", "whatsapp": "WhatsApp",
                 "signal": "Signal",
                 "matrix": "Matrix", "mattermost": "Mattermost", "feishu": "Feishu", "dingtalk": "DingTalk",
                 "wecom": "WeCom",
                 "email": "Email", "sms": "SMS"}
"""The targets that the agent supports; offered if there is no agent to ask."""
TARGETS_SNIPPET = ("import json; from cron.scheduler import cron_delivery_targets; "
                   "print(json.dumps(cron_delivery_targets()))")


def options(home: Home, settings: Config) -> dict[str, str]:
    """Return the values that `deliver` of a job of `home` may have, each with its label for people."""
    try:
        python = agent.python_of(home.root, settings)
    except agent.AgentNotFound:
        python = None
    if python is None:
        return {**BUILTIN_TARGETS, **KNOWN_TARGETS}
    changes = tuple(_mtime_ns(f"{home.path}/{name}") for name in ("config.yaml", ".env"))
    return {**BUILTIN_TARGETS, **dict(_connected_targets(python, home.path, changes))}


@lru_cache(maxsize=8)
def _connected_targets(python: str, home: str, _changes: tuple[int | None, ...]) -> tuple[tuple[str, str], ...]:
    """Return the targets that the agent of `python` is connected to; asked once for each state of its configuration."""
    try:
        said = subprocess.run([python, "-P", "-c", TARGETS_SNIPPET], env={**os.environ, "HERMES_HOME": home},
                              check=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=AGENT_TIMEOUT_S)
        targets = json.loads(said.stdout.splitlines()[-1])
        return tuple((str(target["id"]), str(target["name"])) for target in targets)
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return tuple(KNOWN_TARGETS.items())


def _mtime_ns(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None
