"""Answers, and JSON that every client can read."""

import json
import math
from collections.abc import Callable
from typing import Any

import bottle

Answer = dict[str, Any]
Routes = dict[tuple[str, str], Callable[[], Answer | bytes]]

MAX_DEPTH = 50
"""How deep lists and objects may be nested in an answer."""


def respond(status: int, answer: Answer | bytes) -> bytes:
    """Set the status and the headers of the response, and return its body."""
    response = bottle.response
    response.status = status
    response.content_type = "application/json"
    response.set_header("Cache-Control", "no-store")
    if status == 401:
        response.set_header("WWW-Authenticate", "Bearer")
    return answer if isinstance(answer, bytes) else to_json(answer)


def to_json(answer: Any) -> bytes:
    """Return `answer` as JSON. Values that some client cannot read become null."""
    try:
        return json.dumps(answer, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # half of a surrogate pair is sent as an escape
        return json.dumps(json_safe(answer), separators=(",", ":")).encode()


def json_safe(value: Any, depth: int = 0) -> Any:
    """Return `value` with null for what is nested too deep and for numbers that JSON lacks (RFC 8259, 6)."""
    if isinstance(value, dict | list) and depth > MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {key: json_safe(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [json_safe(each, depth + 1) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
