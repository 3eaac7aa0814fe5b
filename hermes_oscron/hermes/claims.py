"""The claims in a record: which process runs the job, so that no other program runs it too.

A claim is `{at, by}`, and `by` is `host:pid:token`, or `host:pid` in agents before 0.22. Every program honours a
`fire_claim`, and a one-shot's `run_claim`, while it is not older than MAX_AGE_S; its process renews it. A `fire_claim`
ends with its process too. A `run_claim` does not: the one-shot may have run. A `pending_slot` has the same form: the
agent's scheduler has taken that occurrence, and not yet claimed it.
"""

import datetime
import os
from typing import NamedTuple

from ..jobs.record import Record, instant

MAX_AGE_S = {"fire_claim": 300.0, "run_claim": 1800.0, "pending_slot": 300.0}
"""As in the agent (FIRE_CLAIM_TTL_SECONDS, ONESHOT_RUN_CLAIM_TTL_SECONDS)."""
CLAIMS = ("fire_claim", "run_claim")
RESERVED = "sync"
"""The token of a `run_claim` by a sync, which only keeps the agent from deleting a one-shot that is late."""
FORMER_HOST = "hermes-cron-exec"
"""Takes the place of the host in the claims of earlier versions of this program."""


class _Owner(NamedTuple):
    """The process that made a claim. `pid` is 0 if it is unknown or on another host."""

    pid: int
    token: str


def owner(started_at: float | str) -> str:
    """Return the `by` of claims of this process for the run that began at the unix time `started_at`."""
    return f"{os.uname().nodename}:{os.getpid()}:{started_at}"


def holder(record: Record, now: datetime.datetime, own: str = "") -> str | None:
    """Return which process claims the job of `record` at `now`; None if there is none, or only `own`."""
    for key in CLAIMS:
        claim = record.get(key)
        if not isinstance(claim, dict) or not _is_recent(claim, MAX_AGE_S[key], now):
            continue
        pid, token = _owner(claim)
        if key == "fire_claim" and pid and _is_gone(pid):
            continue
        if claim["by"] != own and token != RESERVED:
            return f"process {pid}" if pid else f"{claim['by']!s:.100}"
    return None


def ended_claims(record: Record, started_at: float, group: int) -> list[str]:
    """Return the names of the claims in `record` that are over.

    That are those of the run that began at `started_at`, with the process group `group`, which has ended, and those
    whose process is gone.
    """
    def is_over(claim: Record) -> bool:
        found = _owner(claim)
        return found.token == str(started_at) or (found.pid > 0 and (found.pid == group or _is_gone(found.pid)))

    return [key for key in CLAIMS if isinstance(record.get(key), dict) and is_over(record[key])]


def lost_slot(record: Record, now: datetime.datetime) -> str | None:
    """Return the occurrence that a scheduler has taken in `record` and will never claim; None if there is none."""
    slot = record.get("pending_slot")
    if not isinstance(slot, dict):
        return None
    pid = _owner(slot).pid
    if _is_recent(slot, MAX_AGE_S["pending_slot"], now) and not (pid and _is_gone(pid)):
        return None
    return str(slot["scheduled_at"]) if instant(slot.get("scheduled_at")) else None


def _is_recent(claim: Record, max_age_s: float, now: datetime.datetime) -> bool:
    """Return True if `claim` is valid at `now`. One of the future is not: it was made by a clock that was ahead."""
    at = instant(claim.get("at"))
    return "by" in claim and at is not None and 0 <= (now - at).total_seconds() < max_age_s


def _owner(claim: Record) -> _Owner:
    host, _, rest = str(claim.get("by")).partition(":")
    pid, _, token = rest.partition(":")
    is_here = host in (os.uname().nodename, FORMER_HOST) and pid.isdecimal() and len(pid) < 10
    return _Owner(int(pid) if is_here else 0, token)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
