"""What an account asks of root's helper, and what it hears: a line of JSON each, on a unix socket.

`sync` brings timers in line with jobs.json, `stop` takes timers away, `start` runs jobs now; INSTANCES are those that
are meant, and none given are all of them.
"""

import json
from typing import Any, NamedTuple

from ...hermes.homes import split_instance

SOCKET = "/run/hermes-oscron-root"
LARGEST = 4 * 1024 * 1024
"""Bytes of a question."""
SYNC, START, STOP = VERBS = ("sync", "start", "stop")


class Malformed(ValueError):
    """A question that is none; the text says why."""


class Request(NamedTuple):
    """One question. Those to LEAVE, a sync of all does not touch."""

    verb: str
    instances: list[str] | None = None
    leave: list[str] | None = None

    def line(self) -> bytes:
        """What is sent."""
        return json.dumps(self._asdict()).encode() + b"\n"


def parse(line: bytes) -> Request:
    """The question that LINE is. Raises Malformed."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise Malformed("That is no JSON.") from None
    if not isinstance(said, dict) or said.keys() - set(Request._fields) or said.get("verb") not in VERBS:
        raise Malformed(f"That is no request: a verb, one of {', '.join(VERBS)}, and instances.")
    request = Request(said["verb"], _instances(said.get("instances")), _instances(said.get("leave")))
    if request.verb == START and not request.instances:
        raise Malformed("'start' needs instances.")
    return request


def _instances(value: Any) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Malformed("Instances are a list of texts.")
    for each in value:
        try:
            split_instance(each)
        except ValueError as error:
            raise Malformed(f"{str(error)[:200]!a}") from None
    return value
