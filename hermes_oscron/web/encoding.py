"""Answers as JSON that every client reads."""

import json
import math
from typing import Any

MAX_DEPTH = 50
"""Of lists and objects within each other."""


def encoded(answer: Any) -> bytes:
    """`answer` as JSON; what not every client can read, which others may have stored, is null."""
    try:
        return json.dumps(answer, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # half of a surrogate pair goes as an escape alone
        return json.dumps(readable(answer), separators=(",", ":")).encode()


def readable(value: Any, depth: int = 0) -> Any:
    """`value` with null for what is nested too deep and for a number that JSON has no word for (RFC 8259, 6)."""
    if isinstance(value, dict | list) and depth > MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {key: readable(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [readable(each, depth + 1) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
