"""JSON that every client can read, for answers over HTTP and in a terminal."""

import json
import math
from typing import Any

MAX_DEPTH = 50
"""The depth of lists and objects in an answer."""


def to_json(answer: Any) -> bytes:
    """Return `answer` as JSON. Values that some client cannot read become null."""
    try:
        return json.dumps(answer, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # half of a surrogate pair is sent as an escape
        return json.dumps(json_safe(answer), separators=(",", ":")).encode()


def json_safe(value: Any, depth: int = 0) -> Any:
    """Return `value` with null for deeper nesting than MAX_DEPTH and for numbers that JSON lacks (RFC 8259, 6)."""
    if isinstance(value, dict | list) and depth > MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {key: json_safe(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [json_safe(each, depth + 1) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
