"""Values of a JSON text that Python cannot read: numbers of thousands of digits or beyond 1e308, and deep nesting.

A string stands in for each of them in memory, and is replaced by the value when the text is written.
"""

import hashlib
import math
import re
from contextlib import suppress

MAX_DEPTH = 64
"""The levels of lists and objects that are read. Python reads some hundreds, depending on the depth of the calls."""
TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]|-?[0-9][0-9.eE+-]*', re.S)
STAND_IN = re.compile(rb'"\(a value that cannot be read: [0-9a-f]{32}\)"')

_values: dict[bytes, bytes] = {}
"""The value for which each string stands in."""


def with_stand_ins(text: str) -> str:
    """Return `text` with a string for each value that Python cannot read."""
    parts, done, depth, begun = list[str](), 0, 0, 0
    for token in TOKEN.finditer(text):
        first = token[0][0]
        depth += (first in "[{") - (first in "]}")
        if first in "[{" and depth == MAX_DEPTH + 1:
            begun = token.start()
        elif first in "]}" and depth == MAX_DEPTH:
            parts += [text[done:begun], _stand_in(text[begun:token.end()])]
            done = token.end()
        elif depth <= MAX_DEPTH and first in "-0123456789" and not _is_readable(token[0]):
            parts += [text[done:token.start()], _stand_in(token[0])]
            done = token.end()
    return "".join([*parts, text[done:]])


def with_originals(text: bytes) -> bytes:
    """Return `text` with each value that Python cannot read in place of its string."""
    return STAND_IN.sub(lambda match: _values.get(match[0], match[0]), text) if _values else text


def _is_readable(text: str) -> bool:
    """Return True if Python can read the number `text`. The parser refuses what is not a number at all."""
    if not text.lstrip("-").isdigit():
        with suppress(ValueError):
            return math.isfinite(float(text))
        return True
    try:
        int(text)
    except ValueError:
        return False
    return True


def _stand_in(value: str) -> str:
    """Return the string for `value`, and store the value for `with_originals`."""
    encoded = value.encode("utf-8", "surrogatepass")
    name = f'"(a value that cannot be read: {hashlib.sha256(encoded).hexdigest()[:32]})"'
    _values[name.encode()] = encoded
    return name
