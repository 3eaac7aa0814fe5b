"""The checks that the fields of a job and its policies share."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import OscronError

MAX_TEXT_CHARS = 4096
NO_NUL = "^[^\\u0000]*$"
"""A path, the environment and an argument cannot contain NUL."""


class ValidationError(OscronError):
    """A request asks for something impossible. The text names the field and what it takes."""

    status = 400


class Type(NamedTuple):
    """The values that a field takes.

    `check` gets the field's name and a value, and returns the value in its own type or raises ValidationError; `schema`
    describes the same for OpenAPI.
    """

    check: Callable[[str, Any], Any]
    schema: dict[str, Any]


def text(name: str, value: object, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return `value` if it is a text of at most `max_chars`. Raises ValidationError."""
    if not isinstance(value, str):
        raise ValidationError(f"'{name}' must be a text.")
    if len(value) > max_chars:
        raise ValidationError(f"'{name}' must have at most {max_chars} characters.")
    if "\0" in value:
        raise ValidationError(f"'{name}' must not contain the character NUL.")
    return value


def flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValidationError(f"'{name}' must be true or false.")
    return value
