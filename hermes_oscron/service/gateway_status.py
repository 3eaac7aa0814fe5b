"""The answer to GET /api/gateway/status: do the jobs fire, in the form in which the WebUI describes a gateway."""

from typing import Any

from ..hermes import job_store
from ..hermes.home import Home
from ..schedulers.active import disarmed_since
from .selection import Selection


def gateway_status(selection: Selection, home: Home) -> dict[str, Any]:
    """Return the status; `last_active` is the end of the last run in `home`. Raises StateFileError.

    The WebUI's Tasks panel warns unless the gateway is both configured and running.
    """
    reason = selection.active.availability().reason
    if disarmed_since(home.root) is not None:
        reason = reason or "All jobs are disarmed; 'hermes-oscron arm' arms them."
    ended = [job.last_run_at for job in job_store.read(home) if job.last_run_at]
    return {
        "configured": True, "running": not reason, "platforms": [], "session_count": 0,
        "last_active": max(ended).isoformat() if ended else "",
        "health": {"state": "down" if reason else "alive", "reason": reason or None,
                   "gateway_state": "stopped" if reason else "running"},
    }
