"""Values of a JSON text that Python cannot read: numbers of thousands of digits or beyond 1e308, and deep nesting.

A string stands for each of them while the others are used, and the value is back when the text is written.
"""

import hashlib
import math
import re
from contextlib import suppress

MAX_DEPTH = 64
"""Of lists and objects within each other; Python reads some hundreds, depending on who asks."""
TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]|-?[0-9][0-9.eE+-]*', re.S)
STAND_IN = re.compile(rb'"\(a value that cannot be read: [0-9a-f]{32}\)"')

_values: dict[bytes, bytes] = {}
"""What each string stands for."""


def replaced(text: str) -> str:
    """`text` with a string for each value that Python cannot read."""
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


def restored(text: bytes) -> bytes:
    """`text` with each value that Python cannot read in the place of its string."""
    return STAND_IN.sub(lambda match: _values.get(match[0], match[0]), text) if _values else text


def _is_readable(text: str) -> bool:
    """Whether Python has the number `text`; what is no number at all is the parser's to refuse."""
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
    encoded = value.encode("utf-8", "surrogatepass")
    name = f'"(a value that cannot be read: {hashlib.sha256(encoded).hexdigest()[:32]})"'
    _values[name.encode()] = encoded
    return name
