"""The answers to requests."""

from collections.abc import Callable
from typing import Any

import bottle

from ..json_text import to_json

Answer = dict[str, Any]
Routes = dict[tuple[str, str], Callable[[], Answer | bytes]]

INTERNAL_ERROR = "Internal server error; see 'journalctl -u hermes-oscron'."


def respond(status: int, answer: Answer | bytes) -> bytes:
    """Set the status and the headers of the response, and return its body."""
    response = bottle.response
    response.status = status
    response.content_type = "application/json"
    response.set_header("Cache-Control", "no-store")
    if status == 401:
        response.set_header("WWW-Authenticate", "Bearer")
    return answer if isinstance(answer, bytes) else to_json(answer)
