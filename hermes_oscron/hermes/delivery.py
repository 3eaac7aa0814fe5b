"""Where a run's output can go: nowhere, to where the job came from, and to what the agent is connected to."""

import json
import os
import subprocess
from functools import lru_cache

from . import agent
from .config import Config
from .homes import Home

PATIENCE = 20.0
"""Seconds; the agent takes two to answer."""
ALWAYS = {"local": "Local (save only)", "origin": "Where it was made"}
USUAL = {"telegram": "Telegram", "discord": "Discord", "slack": "Slack", "whatsapp": "WhatsApp", "signal": "Signal",
         "matrix": "Matrix", "mattermost": "Mattermost", "feishu": "Feishu", "dingtalk": "DingTalk", "wecom": "WeCom",
         "email": "Email", "sms": "SMS"}
"""What the agent knows how to deliver to; offered where there is none to ask."""
QUESTION = "import json; from cron.scheduler import cron_delivery_targets; print(json.dumps(cron_delivery_targets()))"


def options(home: Home, settings: Config) -> dict[str, str]:
    """What `deliver` of a job of HOME may say, and how to show it to people."""
    try:
        python = agent.python_of(home.root, settings)
    except agent.NoAgent:
        python = None
    if python is None:
        return {**ALWAYS, **USUAL}
    changes = tuple(_modified(f"{home.path}/{name}") for name in ("config.yaml", ".env"))
    return {**ALWAYS, **dict(_connected(python, home.path, changes))}


@lru_cache(maxsize=8)
def _connected(python: str, home: str, _changes: tuple[int | None, ...]) -> tuple[tuple[str, str], ...]:
    """What the agent of PYTHON says that it is connected to, asked once for each state of its configuration."""
    try:
        said = subprocess.run([python, "-P", "-c", QUESTION], env={**os.environ, "HERMES_HOME": home}, check=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        targets = json.loads(said.stdout.splitlines()[-1])
        return tuple((str(target["id"]), str(target["name"])) for target in targets)
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return tuple(USUAL.items())


def _modified(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None
