"""The place on a cluster that a policy names, and its size."""

from typing import NamedTuple

from .policy import LOCAL, Policy


class Placement(NamedTuple):
    """A place on a cluster. What is empty or 0 is left to the cluster."""

    partition: str
    constraint: str
    cpus: int
    memory_bytes: int
    gpus: int


def placement_of(policy: Policy) -> Placement | None:
    """Return where on a cluster a job with `policy` runs; None if it runs on this machine."""
    run_on = policy.get("run_on", LOCAL)
    if run_on == LOCAL:
        return None
    kind, _, name = run_on.partition(":")
    return Placement(name if kind == "partition" else "", name if kind == "constraint" else "",
                     policy.get("cpus", 0), policy.get("memory_max", 0), policy.get("gpus", 0))
