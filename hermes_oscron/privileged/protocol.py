"""The requests of an account to root's helper, and the answers: a line of JSON each, on a unix socket.

`arm` arms the jobs `instances` as jobs.json defines them, and disarms those that should not fire. `disarm` removes the
timers of `instances`, or all timers if `instances` is missing. `start` starts runs. `watch` updates the path units that
notice changed jobs.
"""

import json
from typing import Any, NamedTuple

from ..hermes.home import split_instance

SOCKET_PATH = "/run/hermes-oscron-root"
MAX_REQUEST_BYTES = 4 * 1024 * 1024
IS_LINK = ("It is a link, which root's helper does not follow, so that no job can be armed. Move the file or folder "
           "itself there; only the whole Hermes home can be a link")
"""The reason of an error for a file that the helper reads as the account."""
ARM, DISARM, START, WATCH = COMMANDS = ("arm", "disarm", "start", "watch")


class ProtocolError(ValueError):
    """A malformed request. The text gives the reason."""


class Request(NamedTuple):
    """One request."""

    command: str
    instances: list[str] | None = None

    def line(self) -> bytes:
        """Return the request as a line of JSON."""
        return json.dumps(self._asdict()).encode() + b"\n"


def parse_request(line: bytes) -> Request:
    """Parse a request. Raises ProtocolError."""
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        raise ProtocolError("Request is not valid JSON.") from None
    if not isinstance(given, dict) or given.keys() - set(Request._fields) or given.get("command") not in COMMANDS:
        raise ProtocolError(f"Malformed request: expected a command, one of {', '.join(COMMANDS)}, and instances.")
    request = Request(given["command"], _instances(given.get("instances")))
    if request.command in (ARM, START) and not request.instances:
        raise ProtocolError(f"Malformed request: '{request.command}' needs instances.")
    return request


def _instances(value: Any) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ProtocolError("Malformed request: instances must be a list of texts.")
    for each in value:
        try:
            split_instance(each)
        except ValueError as error:
            raise ProtocolError(f"Malformed request: {str(error)[:200]!a}") from None
    return value
