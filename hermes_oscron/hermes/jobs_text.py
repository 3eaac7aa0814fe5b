"""The text of a jobs.json. If this program has written it, each job is a line, and can be read and replaced alone."""

import datetime
import json
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..jobs.record import Record
from .entries import is_record

HEAD, SEPARATOR, TAIL = b'{"jobs": [\n', b",\n", b"\n],\n"
"""The text around the lines."""


class JobLine(NamedTuple):
    """A job in such a text, the place of its line, and the end of the last line."""

    record: Record
    text: bytes
    start: int
    end: int
    jobs_end: int
    others: dict[str, Any]

    def replaced_by(self, record: Record) -> bytes:
        """Return the text with `record` in place of the job."""
        text = memoryview(self.text)  # which copies nothing
        return b"".join((text[:self.start], encode(record), text[self.end:self.jobs_end], TAIL, _rest(self.others)))


def job_line(text: bytes, job_id: str) -> JobLine | None:
    """Return the job `job_id` in `text`, of which no other job is parsed.

    Returns None unless the text is as this program writes it, and the job begins a line and is the only one of that id.
    """
    name = f'"id": "{job_id}"'.encode("utf-8", "replace")
    found, jobs_end = text.find(name), text.rfind(TAIL)
    start, end = found - 1, text.find(b"\n", found)
    if not (text.startswith(HEAD) and text[start - 1:found] == b"\n{" and end <= jobs_end and text.find(name, end) < 0):
        return None
    line, rest = text[start:end].removesuffix(b","), text[jobs_end + len(TAIL):]
    try:
        record, others = decode(line.decode()), decode("{" + rest.decode())
    except (ValueError, RecursionError):
        return None
    if not is_record(record) or record["id"] != job_id or not is_rest(others):
        return None
    return JobLine(record, text, start, start + len(line), jobs_end, others)


def whole(lines: Iterable[bytes], others: dict[str, Any]) -> bytes:
    """Return the text with the encoded jobs `lines`, and the `others` of the file's keys."""
    return HEAD + SEPARATOR.join(lines) + TAIL + _rest(others)


def is_rest(others: Any) -> bool:
    """Return True if `others` can be the keys beside the jobs."""
    return isinstance(others, dict) and bool(others) and "jobs" not in others


def decode(text: str) -> Any:
    """Parse the JSON `text`. Raises ValueError."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError):
        from . import unreadable  # a fire need not pay for this import

        return json.loads(unreadable.with_stand_ins(text), strict=False)


def encode(value: Any) -> bytes:
    """Return `value` as JSON."""
    encoded = json.dumps(value).encode()
    if f"{__package__}.unreadable" in sys.modules:
        from . import unreadable

        return unreadable.with_originals(encoded)
    return encoded


def _rest(others: dict[str, Any]) -> bytes:
    """Return the text after the last line, with the time of this write."""
    return encode({**others, "updated_at": datetime.datetime.now().astimezone().isoformat()})[1:] + b"\n"


def _finite(number: str) -> float:
    """Return the float `number`. Raises ValueError for one that Python would read as infinite."""
    value = float(number)
    if value in (float("inf"), -float("inf")):
        raise ValueError(f"{number:.20} is beyond the numbers that Python has")
    return value


_DECODER = json.JSONDecoder(strict=False, parse_float=_finite)
