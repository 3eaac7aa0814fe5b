"""Write TOML that tomllib reads as the same values. All of it can be printed."""

import json
import re
from collections.abc import Mapping
from typing import Any

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def table(values: Mapping[str, Any], path: str = "") -> str:
    """Return the lines of `values`, of which tables come last, with headings that begin with `path`."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = [f"{_key(key)} = {_value(value)}\n" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, dict):
            name = f"{path}.{_key(key)}" if path else _key(key)
            lines.append(f"\n[{name}]\n{table(value, name)}")
    return "".join(lines)


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(key)} = {_value(each)}' for key, each in value.items())} }}"
    text = str(value)
    return _lines(text) if "\n" in text else _text(text)


def _text(text: str) -> str:
    """Return `text` as a string on one line."""
    return f'"{"".join(map(_escaped, text))}"'


def _lines(text: str) -> str:
    """Return `text` as a string of several lines. It begins on a line of its own, which TOML leaves out."""
    return '"""\n' + "".join("\n" if character == "\n" else _escaped(character) for character in text) + '"""'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(
        character, f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}")
