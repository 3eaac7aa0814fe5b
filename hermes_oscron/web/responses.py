"""The answers to requests. Each answer to a GET has an ETag; to a client that has that content, 304 is answered."""

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import bottle

from ..json_text import to_json
from .request import has_copy

Answer = dict[str, Any]


class Encoded:
    """An answer as JSON, or of another `content_type`."""

    def __init__(self, body: bytes, content_type: str = "application/json") -> None:
        self.body = body
        self.content_type = content_type

    @functools.cached_property
    def etag(self) -> str:
        """The strong entity tag of `body` (RFC 9110, 8.8.3)."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'


Routes = dict[tuple[str, str], Callable[[], Answer | Encoded]]

INTERNAL_ERROR = "Internal server error; see 'journalctl -u hermes-oscron'."


def respond(status: int, answer: Answer | Encoded) -> bytes:
    """Set the status and the headers of the response, and return its body."""
    response = bottle.response
    response.status = status
    response.set_header("Cache-Control", "no-store")
    if status == 401:
        response.set_header("WWW-Authenticate", "Bearer")
    encoded = answer if isinstance(answer, Encoded) else Encoded(to_json(answer))
    response.content_type = encoded.content_type
    if status == 200 and bottle.request.method in ("GET", "HEAD"):
        response.set_header("ETag", encoded.etag)
        if has_copy(encoded.etag):
            response.status = 304
    return encoded.body
