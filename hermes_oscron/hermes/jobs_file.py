"""`jobs.json`: Hermes's own file, in Hermes's format, under Hermes's lock.

Keys that we do not use are kept. The file is replaced as a whole or not at all, and one that cannot be read is never
overwritten.
"""

import datetime
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from ..errors import OscronError, cause
from ..files import (
    Signature,
    StateFileError,
    file_signature,
    locked,
    mtime_is_final,
    open_regular,
    write_atomic,
)
from ..jobs.record import Record
from .home import SAFE_NAME, Home


class JobNotFound(OscronError):
    """There is no job with that id."""

    status = 404


class NotAJobsFile(StateFileError):
    """jobs.json can be read, but does not contain jobs. That lasts until it is repaired."""


class _Document(NamedTuple):
    """A jobs.json in memory: its entries, the encoded line of each if it is known, and the place of each job."""

    entries: list[Any]
    encoded: list[bytes | None]
    places: dict[str, int]
    others: dict[str, Any]
    signature: "Signature | None"

    def text(self) -> bytes:
        """Return the content of the file: one job a line. Entries that are not encoded yet are encoded now, once."""
        for i, line in enumerate(self.encoded):
            if line is None:
                self.encoded[i] = _encode(self.entries[i])
        others = {**self.others, "updated_at": datetime.datetime.now().astimezone().isoformat()}
        lines: bytes = b",\n".join(self.encoded)  # type: ignore[arg-type]  # no None is left
        return b'{"jobs": [\n%s\n],\n%s\n' % (lines, _encode(others)[1:])


def _document_of(entries: list[Any], others: dict[str, Any], signature: "Signature | None") -> _Document:
    """Return the `entries` and `others` of a file as a document; of two jobs with one id the first counts."""
    places: dict[str, int] = {}
    for i, entry in enumerate(entries):
        if is_record(entry):
            places.setdefault(entry["id"], i)
    return _Document(entries, [None] * len(entries), places, others, signature)


_cache: dict[str, _Document] = {}


def is_record(entry: Any) -> bool:
    """Return True if `entry` of jobs.json is a job with a valid id."""
    return isinstance(entry, dict) and isinstance(entry.get("id"), str) and bool(SAFE_NAME.fullmatch(entry["id"]))


def read(home: Home) -> list[Record]:
    """Return the jobs of `home`, in the file's order; not to be changed. Raises StateFileError."""
    document = _load(home)
    return [document.entries[i] for i in document.places.values()]


def find(home: Home, job_id: str) -> Record:
    """Return the job `job_id`; not to be changed. Raises JobNotFound, StateFileError."""
    return _record_of(_load(home), home, job_id)


def add(home: Home, record: Record) -> None:
    """Append `record`. Raises StateFileError."""
    with _locked(home):
        document = _load(home)
        _save(home, document._replace(
            entries=[*document.entries, record],
            encoded=[*document.encoded, None],
            places={**document.places, record["id"]: len(document.entries)},
        ))


def change_each(home: Home, job_ids: Iterable[str], update: Callable[[Record], Record]) -> None:
    """Replace the record of each of `job_ids` by what `update` makes of it, and write the file once.

    `update` must not alter the record that it gets. Raises JobNotFound, StateFileError.
    """
    with _locked(home):
        document = _load(home)
        entries, encoded = list(document.entries), list(document.encoded)
        for job_id in job_ids:
            before = _record_of(document, home, job_id)
            after = update(before)
            if after != before:
                at = document.places[job_id]
                entries[at], encoded[at] = after, None
        if entries != document.entries:
            _save(home, document._replace(entries=entries, encoded=encoded))


def remove(home: Home, job_id: str) -> Record:
    """Remove every entry of the job `job_id`, and return the first. Raises JobNotFound, StateFileError."""
    with _locked(home):
        document = _load(home)
        record = _record_of(document, home, job_id)
        kept = [i for i, entry in enumerate(document.entries)
                if not (isinstance(entry, dict) and entry.get("id") == job_id)]
        entries, encoded = [document.entries[i] for i in kept], [document.encoded[i] for i in kept]
        _save(home, _document_of(entries, document.others, None)._replace(encoded=encoded))
        return record


def _record_of(document: _Document, home: Home, job_id: str) -> Record:
    """Return the job `job_id` in `document`, the file of `home`. Raises JobNotFound."""
    if job_id not in document.places:
        raise JobNotFound(f"There is no job '{job_id}' in profile {home.profile}.")
    entry: Record = document.entries[document.places[job_id]]
    return entry


def _locked(home: Home) -> AbstractContextManager[None]:
    """Hold the agent's own lock on the jobs of `home`. Raises StateFileError."""
    return locked(f"{home.cron_dir}/.jobs.lock")


def _load(home: Home) -> _Document:
    """Return the jobs.json of `home`, from memory while the file is unchanged."""
    path = home.jobs_file
    known = _cache.get(path)
    current = file_signature(path)
    if known and current and known.signature == current:
        return known
    if current is None:
        return _document_of([], {}, None)
    now = time.time_ns()
    try:
        with open(path, "rb", opener=open_regular) as file:
            status = os.fstat(file.fileno())
            read = file.read()
        found = Signature.of(status, None if mtime_is_final(status, now) else read)
        if known and known.signature and known.signature.content == read:
            _cache[path] = known._replace(signature=found)
            return _cache[path]
    except OSError as error:
        raise StateFileError(f"{path} cannot be read: {cause(error)}") from error
    _cache[path] = _parse(read, path, found)
    return _cache[path]


def parse_records(content: bytes, path: str) -> list[Record]:
    """Return the jobs in `content`, a jobs.json at `path`. Raises StateFileError."""
    document = _parse(content, path, None)
    return [document.entries[i] for i in document.places.values()]


def _parse(text: bytes, path: str, signature: "Signature | None") -> _Document:
    try:
        content = _decode(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise NotAJobsFile(f"{path} is not JSON ({error}).",
                           "Repair it or move it away; it was not changed.") from error
    if isinstance(content, list):  # the agent takes a bare list too
        content = {"jobs": content}
    if not isinstance(content, dict) or not isinstance(content.get("jobs", []), list):
        raise NotAJobsFile(f'{path} is not {{"jobs": [...]}}.', "Repair it or move it away; it was not changed.")
    others = {key: value for key, value in content.items() if key != "jobs"}
    return _document_of(content.get("jobs", []), others, signature)


def _decode(text: str) -> Any:
    """Parse the JSON `text`. Raises ValueError."""
    try:
        return json.loads(text, strict=False, parse_float=_finite)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError):
        from . import unreadable  # a fire need not pay for this import

        return json.loads(unreadable.with_stand_ins(text), strict=False)


def _finite(number: str) -> float:
    """Return the float `number`. Raises ValueError for one that Python would read as infinite."""
    value = float(number)
    if value in (float("inf"), -float("inf")):
        raise ValueError(f"{number:.20} is beyond the numbers that Python has")
    return value


def _encode(value: Any) -> bytes:
    """Return `value` as JSON."""
    encoded = json.dumps(value).encode()
    if f"{__package__}.unreadable" in sys.modules:
        from . import unreadable

        return unreadable.with_originals(encoded)
    return encoded


def _save(home: Home, document: _Document) -> None:
    """Replace the file by `document`. The lock must be held."""
    text = document.text()
    try:
        write_atomic(home.jobs_file, text)
        signature = Signature.of(os.stat(home.jobs_file), text)
    except OSError as error:
        raise StateFileError(f"{home.jobs_file} cannot be written: {cause(error)} It was not changed.") from error
    _cache[home.jobs_file] = document._replace(signature=signature)
