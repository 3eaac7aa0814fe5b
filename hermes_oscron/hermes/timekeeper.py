"""The timekeeper: the machine that fires the jobs of a home which several machines share.

It has a lease, a file with its machine-id(5) and its name, which each command and sync renews. Another machine neither
arms nor fires these jobs, until the lease has expired, or a person gives it to that machine.
"""

import os
import time
from typing import NamedTuple

from ..files import StateFileError, make_private_dir, open_regular, write_atomic
from ..state import State

MACHINE_ID = "/etc/machine-id"
RENEW_S, LEASE_S = 600.0, 9000.0
"""A sync every hour renews the lease; one or two may be late. A machine without an id, as a container, has none."""
MAX_BYTES = 400


class OtherTimekeeper(StateFileError):
    """Another machine fires the jobs; the text names it."""


class Lease(NamedTuple):
    """The lease of the `machine` with the name `host`, renewed at a unix time."""

    machine: str
    host: str
    renewed_at: float


def other_timekeeper(root: str) -> Lease | None:
    """Return the lease of the other machine that fires the jobs of `root`; None if there is none."""
    lease = _read(root)
    if lease is None or not 0 <= time.time() - lease.renewed_at < LEASE_S:
        return None
    own = _own_id()
    return lease if own and lease.machine != own else None


def sentence_of(lease: Lease, root: str) -> str:
    """Return why this machine does not fire the jobs of `root`."""
    return (f"{lease.host} fires the jobs of {root}, which it shares with this machine; its lease was renewed "
            f"{time.strftime('%Y-%m-%d %H:%M:%S %Z', time.localtime(lease.renewed_at))}.")


def take_lease(root: str, by_force: bool = False) -> None:
    """Take or renew the lease of this machine. Raises OtherTimekeeper, unless `by_force`, and OSError.

    If the disk cannot be written, this machine goes on firing its jobs, but takes over no lease of another one. The
    caller holds the command lock.
    """
    if not by_force and (other := other_timekeeper(root)):
        raise OtherTimekeeper(sentence_of(other, root), "'hermes-oscron arm --take-over' makes this machine the one "
                              "that fires them.")
    own, host, lease = _own_id(), os.uname().nodename, _read(root)
    if own and (lease is None or lease[:2] != (own, host) or not 0 <= time.time() - lease.renewed_at < RENEW_S):
        try:
            make_private_dir(State(root).folder)
            write_atomic(State(root).timekeeper, f"{own} {host}\n".encode())
        except OSError:
            if lease is not None and lease.machine != own:
                raise


def _read(root: str) -> Lease | None:
    try:
        with open(State(root).timekeeper, encoding="utf-8", errors="replace", opener=open_regular) as file:
            machine, _, host = file.read(MAX_BYTES).strip().partition(" ")
            return Lease(machine, host, os.fstat(file.fileno()).st_mtime)
    except OSError:
        return None


def _own_id() -> str:
    """Return the machine-id(5) of this machine; empty if it has none."""
    try:
        with open(MACHINE_ID, encoding="ascii", errors="replace") as file:
            return file.read(100).strip()
    except OSError:
        return ""
