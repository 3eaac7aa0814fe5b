"""Answers as JSON that every client reads."""

import json
import math
from typing import Any


def encoded(answer: Any) -> bytes:
    """ANSWER as JSON; a number that JSON has no word for (RFC 8259, 6), which others may have stored, is null."""
    try:
        return json.dumps(answer, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
    except ValueError:  # such a number, or half of a surrogate pair, which goes as an escape alone
        return json.dumps(_sayable(answer), separators=(",", ":")).encode()


def _sayable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sayable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_sayable(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
