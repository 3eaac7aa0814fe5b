"""Store the alerts that a change of the ledgers calls for, have them sent, and show what became of them."""

import datetime
import logging
import time
from typing import NamedTuple

from .. import config
from ..errors import OscronError, describe
from ..files import StateFileError
from ..notify import outbox
from ..notify.collect import collect, settings_of
from ..notify.request import request
from .findings import WARNING, Finding

log = logging.getLogger(__name__)

UNSENT_S = 300.0
"""An alert that waits for longer, without an attempt, shows that nothing sends them."""


class Alerts(NamedTuple):
    """The receivers of alerts, by name, with what they have not accepted; and the last alerts, newest first.

    No receiver is shown by its whole URL or by its command, which may contain a password. `events` are those of which
    alerts are sent.
    """

    receivers: dict[str, outbox.Undelivered | None]
    events: tuple[str, ...]
    deliveries: list[outbox.Delivery]


def alerts(root: str, limit: int, receiver: str = "", before: int | None = None) -> Alerts:
    """Return the receivers of `root`, and at most `limit` alerts, of those to `receiver` and with ids below `before`.

    Raises OutboxError, OSError.
    """
    settings = settings_of(root)
    receivers: dict[str, outbox.Undelivered | None] = dict.fromkeys(outbox.targets_of(settings))
    if not outbox.exists(root):
        return Alerts(receivers, settings.on, [])
    with outbox.writing(root) as box:
        receivers |= {each.target: each for each in outbox.undelivered(box)}
        return Alerts(receivers, settings.on, outbox.latest(box, limit, receiver, before))


def announce(root: str) -> None:
    """Store the alerts of `root` that are due, and wake up their sender if one waits. An error is only logged.

    The sender writes the metrics too.
    """
    try:
        collect(root, settings_of(root), time.time())
        if _has_textfile(root) or _is_waiting(root):
            request(root)
    except (OscronError, OSError) as error:
        log.error("Alerts: %s", describe(error))


def _has_textfile(root: str) -> bool:
    try:
        return bool(config.load(root).textfile)
    except config.ConfigError:
        return False


def _is_waiting(root: str) -> bool:
    if not outbox.exists(root):
        return False
    with outbox.writing(root) as box:
        return bool(outbox.due(box))


def undelivered(root: str, now: float) -> list[Finding]:
    """Return a finding for each receiver that does not accept alerts, or for which they wait unsent at `now`."""
    if not outbox.exists(root):
        return []
    try:
        with outbox.writing(root) as box:
            receivers = outbox.undelivered(box)
    except (StateFileError, OSError) as error:
        return [Finding(WARNING, "alerts", f"Alerts are neither stored nor sent: {describe(error)}")]
    return [Finding(WARNING, "alerts", sentence) for each in receivers if (sentence := _sentence(each, now))]


def _sentence(each: outbox.Undelivered, now: float) -> str:
    waiting = f"{each.waiting} alert{'s' if each.waiting > 1 else ''}"
    if each.failing_since:
        return (f"{waiting} to {each.target} wait, which has not accepted any since {_time(each.failing_since)}: "
                f"{each.error} They are sent again; 'hermes-oscron notify test' tries it now.")
    if each.waiting and now - each.oldest > UNSENT_S:
        return (f"{waiting} to {each.target} wait since {_time(each.oldest)}, and nothing sends them. The journal of "
                f"hermes-oscron-notify has the reason; 'hermes-oscron sync' starts it again.")
    if each.given_up:
        return (f"{each.given_up} alert{'s' if each.given_up > 1 else ''} to {each.target} could not be sent in the "
                f"last week, and will not be: {each.error}")
    return ""


def _time(moment: float) -> str:
    return f"{datetime.datetime.fromtimestamp(moment).astimezone():%Y-%m-%d %H:%M:%S %Z}"
