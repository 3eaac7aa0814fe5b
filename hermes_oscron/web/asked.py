"""What a request asks: its query and its body, checked for form alone."""

import json
from typing import Any

import bottle

from ..fields import Invalid

LARGEST_BODY = 1024 * 1024
TRUE = {"1", "true", "yes", "on"}


class BadBody(Exception):
    """A request body that is no JSON object; `status` is 400, 413 or 415."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def body(empty: bool = False) -> dict[str, Any]:
    """The request's body, a JSON object; or none at all where EMPTY allows that. Raises BadBody."""
    request = bottle.request
    if empty and request.content_length <= 0:
        return {}
    if request.content_length > LARGEST_BODY:
        raise BadBody(413, f"A body has at most {LARGEST_BODY} bytes.")
    kind = request.environ.get("CONTENT_TYPE", "")  # Bottle's own getter fails on what is no UTF-8
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise BadBody(415, "The body must be JSON, and say so: 'Content-Type: application/json'.")
    try:
        sent = request.environ["wsgi.input"].read(LARGEST_BODY)  # Bottle's own way leads over a file
        given = json.loads(sent.decode())  # UTF-8 alone (RFC 8259, 8.1)
    except (ValueError, RecursionError) as error:
        raise BadBody(400, f"The body is not JSON: {error}.") from None
    if not isinstance(given, dict):
        raise BadBody(400, "The body must be a JSON object, like {\"job_id\": \"4f2a9c1d07be\"}.")
    return given


def nothing_else(given: dict[str, Any]) -> None:
    """Raise Invalid when something is left in GIVEN; what is null is as if it were not there."""
    for key, value in given.items():
        if value is not None:
            raise Invalid(f"There is no field '{key[:80]}' here.")


def query(name: str) -> str | None:
    """The query's NAME, None where it is not given; what is no UTF-8 has a sign for that in it. Raises Invalid."""
    given = bottle.request.query
    if len(given.getall(name)) > 1:
        raise Invalid(f"'{name}' is given more than once.")
    return str(given.getunicode(name, default="\ufffd")) if name in given else None


def flag(name: str) -> bool:
    """Whether the query's NAME says yes."""
    return (query(name) or "").lower() in TRUE


def whole_number(name: str) -> int | None:
    """The query's NAME as a number; None where it is none, or not given."""
    text = (query(name) or "").strip()
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        return None
    sign = "-" if text.startswith("-") else ""
    return int(f"{sign}{digits.lstrip('0')[:15] or '0'}")  # more change nothing, and Python refuses thousands of them
