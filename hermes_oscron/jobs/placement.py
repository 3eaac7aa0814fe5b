"""Where a job runs, and what it needs there: `run_on`, `cpus`, `memory_max` and `gpus` of its policy."""

import re
from typing import NamedTuple

from .record import Record

LOCAL, CLUSTER = "local", "cluster"
PARTITION, CONSTRAINT = "partition:", "constraint:"
RUN_ON = rf"{LOCAL}|{CLUSTER}|{PARTITION}[A-Za-z0-9_.,-]{{1,200}}|{CONSTRAINT}[A-Za-z0-9_.,&|()*\[\]-]{{1,200}}"
"""The values of `run_on`: this machine, the cluster, one of the partitions of the cluster, or nodes with features."""
RUN_ON_TAKES = f'"{LOCAL}", "{CLUSTER}", "{PARTITION}NAME" or "{CONSTRAINT}FEATURES"'


class PlacementError(ValueError):
    """The record has a placement that is not usable; the text names the key and what it takes."""


class Placement(NamedTuple):
    """A place on a cluster. What is empty or 0 is left to the cluster."""

    partition: str = ""
    constraint: str = ""
    cpus: int = 0
    memory_bytes: int = 0
    gpus: int = 0


def placement_of(record: Record) -> Placement | None:
    """Return where on a cluster the job of `record` runs; None if it runs on this machine. Raises PlacementError."""
    stored = record.get("policy")
    policy = stored if isinstance(stored, dict) else {}
    run_on = policy.get("run_on")
    if run_on in (None, LOCAL):
        return None
    if not isinstance(run_on, str) or not re.fullmatch(RUN_ON, run_on):
        raise PlacementError(f"'policy.run_on' must be {RUN_ON_TAKES}.")
    numbers = [policy.get(key) or 0 for key in ("cpus", "memory_max", "gpus")]
    for key, number in zip(("cpus", "memory_max", "gpus"), numbers, strict=True):
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise PlacementError(f"'policy.{key}' must be a whole number.")
    return Placement(run_on.removeprefix(PARTITION) if run_on.startswith(PARTITION) else "",
                     run_on.removeprefix(CONSTRAINT) if run_on.startswith(CONSTRAINT) else "", *numbers)
