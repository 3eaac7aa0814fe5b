"""The place on a cluster that a policy names, and its size."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .checks import Type, ValidationError

LOCAL, CLUSTER = "local", "cluster"
PATTERN = rf"{LOCAL}|{CLUSTER}|partition:[A-Za-z0-9_.,-]{{1,200}}|constraint:[A-Za-z0-9_.,&|()*-]{{1,200}}"


class Placement(NamedTuple):
    """A place on a cluster. What is empty or 0 is left to the cluster."""

    partition: str
    constraint: str
    cpus: int
    memory_bytes: int
    gpus: int


def placement_of(policy: Mapping[str, Any]) -> Placement | None:
    """Return where on a cluster a job with `policy` runs; None if it runs on this machine."""
    run_on = policy.get("run_on", LOCAL)
    if run_on == LOCAL:
        return None
    kind, _, name = run_on.partition(":")
    return Placement(name if kind == "partition" else "", name if kind == "constraint" else "",
                     policy.get("cpus", 0), policy.get("memory_max", 0), policy.get("gpus", 0))


def _run_on(name: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(PATTERN, value):
        raise ValidationError(f"'{name}' must be \"{LOCAL}\", \"{CLUSTER}\", \"partition:NAME\" or "
                              f"\"constraint:FEATURES\".")
    return value


RUN_ON = Type(_run_on, {"type": ["string", "null"], "pattern": f"^({PATTERN})$"})
