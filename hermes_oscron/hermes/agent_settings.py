"""The settings under `cron` in the agent's config.yaml that hold for our runs too."""

import math
from collections.abc import Mapping

from ..files import open_regular
from .home import Home

SCRIPT_TIMEOUT, OUTPUT_RETENTION = "script_timeout_seconds", "output_retention"
MAX_PARALLEL_JOBS = "max_parallel_jobs"
VARIABLES = {SCRIPT_TIMEOUT: "HERMES_CRON_SCRIPT_TIMEOUT", MAX_PARALLEL_JOBS: "HERMES_CRON_MAX_PARALLEL"}
"""The environment variables, also in the agent's `.env`, that go before the settings of config.yaml."""


def number(home: Home, name: str) -> float | None:
    """Return the number `cron.NAME` in the config.yaml of `home`; None if there is none."""
    return _finite(_setting(home, name))


def limit(home: Home, name: str, environment: Mapping[str, str]) -> int:
    """Return the limit `name` of a job with `environment`: its variable, else `cron.NAME`. 0 means none is set."""
    for value in (environment.get(VARIABLES[name]), _setting(home, name)):
        if (found := int(_finite(value) or 0)) > 0:
            return found
    return 0


def catches_up(home: Home) -> bool:
    """Return False if the agent in `home` skips occurrences that were missed (`cron.catch_up_missed: false`)."""
    return _setting(home, "catch_up_missed") is not False


def _finite(value: object) -> float | None:
    """Return `value`, of the file or the environment, as a number; None if it is not one."""
    try:
        number = float(value)  # type: ignore[arg-type]  # anything may be in the file
    except (ValueError, TypeError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _setting(home: Home, name: str) -> object:
    """Return `cron.NAME`; None if it is not set, or if the file cannot be read.

    The YAML is parsed only if the name occurs in it, because that costs a fire 40 ms.
    """
    try:
        with open(f"{home.path}/config.yaml", encoding="utf-8", errors="replace", opener=open_regular) as file:
            content = file.read()
    except OSError:
        return None
    if name not in content:
        return None
    import yaml

    try:
        return yaml.safe_load(content)["cron"][name]
    except (yaml.YAMLError, ValueError, TypeError, KeyError, RecursionError):
        return None
