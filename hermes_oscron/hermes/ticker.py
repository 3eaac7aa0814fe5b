"""Whether the agent's own scheduler, a thread of its gateway, fires the jobs of a home."""

import os
import time

from .homes import Home

STALE = 200.0
"""Seconds: three of its ticks and some, after which the agent too takes it for dead (`hermes cron status`)."""


def is_alive(home: Home) -> bool:
    """Whether the ticker of HOME's gateway has looked for due jobs of late."""
    try:
        with open(f"{home.cron_dir}/ticker_heartbeat", encoding="ascii") as file:
            return 0 <= time.time() - float(file.read()) < STALE
    except (OSError, ValueError):
        return False


def forget(home: Home) -> None:
    """Take the last sign of its life away: a gateway that lives gives another within the minute."""
    try:
        os.unlink(f"{home.cron_dir}/ticker_heartbeat")
    except FileNotFoundError:
        pass
