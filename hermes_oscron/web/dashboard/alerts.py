"""The page of alerts: what was sent to whom, and what could not be delivered."""

from typing import Any, NamedTuple

from ... import config
from ...errors import OscronError, describe
from ...notify.outbox import Delivery
from ...service.alerts import Alerts, alerts
from ...service.jobs import JobService
from .. import request
from .times import Clock

LISTED = 100
"""The number of alerts on one page."""


class AlertRow(NamedTuple):
    """An alert. `state` is sent, waiting, failed or expired; `at` is when it was sent or given up."""

    delivery: Delivery
    title: str
    text: str
    path: str
    state: str
    mark: str
    at: float | None


def alerts_page(service: JobService, clock: Clock, receiver: str, before: int | None) -> dict[str, Any]:
    """Return the values of the template; an error is among them."""
    problem = ""
    found = Alerts({}, (), [])
    try:
        found = alerts(service.root, LISTED + 1, receiver, before)
    except (OscronError, OSError) as error:
        problem = describe(error)
    rows = [_row(each) for each in found.deliveries[:LISTED]]
    return {"clock": clock, "receivers": found.receivers, "events": found.events, "rows": rows, "receiver": receiver,
            "before": before, "earlier": rows[-1].delivery.alert.id if len(found.deliveries) > LISTED else None,
            "problem": problem, "settings": config.path_of(service.root), "query": request.query, "logged_in": True}


def _row(each: Delivery) -> AlertRow:
    content = each.alert.content
    ping, job = content.get("ping"), content.get("job")
    title = f"{content['name']}: signal {ping}" if ping else content["title"]
    path = f"/jobs/{content['profile']}/{job}" if job else ""
    state, mark = ("sent", "ok") if each.sent else ("waiting", "queued") if not each.given_up else (
        ("failed", "error") if each.error else ("expired", "skipped"))
    return AlertRow(each, title, content["text"], path, state, mark, each.sent or each.given_up)
