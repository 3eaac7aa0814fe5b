"""`jobs.json`: Hermes's own file, in Hermes's format, under Hermes's lock.

Keys that we do not use are kept. The file is replaced as a whole or not at all, and one that cannot be read is never
overwritten.
"""

import operator
import os
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
    unfinished,
    write_atomic,
)
from ..jobs.record import Record
from . import in_sync
from .entries import entries_of, entry_name, is_record, why_unusable
from .home import Home
from .jobs_text import HEAD, SEPARATOR, TAIL, JobLine, decode, encode, is_rest, job_line, whole


class JobNotFound(OscronError):
    """There is no job with that id."""

    status = 404


class NotAJobsFile(StateFileError):
    """jobs.json can be read, but does not contain jobs, or not all of them. That lasts until a person acts."""


class SeparateState(NotAJobsFile):
    """The agent keeps the state of its jobs outside of jobs.json, in a form that this version does not support."""

    def __init__(self, home: Home) -> None:
        super().__init__(
            f"This Hermes agent keeps the state of its jobs (next run, last run, pauses, claims) in "
            f"{home.runtime_db}, and not in jobs.json. This version of hermes-oscron cannot read it, and would run "
            f"jobs twice or not at all, so it runs and changes none.",
            f"Upgrade hermes-oscron; until then turn the agent's own scheduler on: 'hermes-oscron plugin remove'. If "
            f"the agent at hand does not use {home.runtime_db}, move it away.")


class _Write(NamedTuple):
    """A write of the file: its identity before and after."""

    before: str | None
    after: str | None


class _Alone(NamedTuple):
    """The job of the last call, if no other job was parsed, and the identity of the file."""

    line: JobLine
    signature: "Signature"


class _Document(NamedTuple):
    """A jobs.json in memory: its entries, the encoded line of each if it is known, and the place of each job."""

    entries: list[Any]
    encoded: list[bytes | None]
    places: dict[str, int]
    others: dict[str, Any]
    signature: "Signature | None"
    is_repaired: bool = False
    """The file has the entries in another form."""

    def text(self) -> bytes:
        """Return the content of the file: one job a line. Entries that are not encoded yet are encoded now, once."""
        for i, line in enumerate(self.encoded):
            if line is None:
                self.encoded[i] = encode(self.entries[i])
        return whole(self.encoded, self.others)  # type: ignore[arg-type]  # no None is left


def _document_of(entries: list[Any], others: dict[str, Any], signature: "Signature | None") -> _Document:
    """Return the `entries` and `others` of a file as a document; of two jobs with one id the first counts."""
    places: dict[str, int] = {}
    for i, entry in enumerate(entries):
        if is_record(entry):
            places.setdefault(entry["id"], i)
    return _Document(entries, [None] * len(entries), places, others, signature)


_cache: dict[str, _Document] = {}
_alone: dict[str, _Alone] = {}
_last_write: dict[str, _Write] = {}


def read(home: Home) -> list[Record]:
    """Return the jobs of `home`, in the file's order; not to be changed. Raises StateFileError."""
    document = _load(home)
    return [document.entries[i] for i in document.places.values()]


def unusable(home: Home) -> list[str]:
    """Return a sentence for each entry of the file of `home` that is not used. Raises StateFileError."""
    document = _load(home)
    used = set(document.places.values())
    return [f"{home.jobs_file}, entry {i + 1}: {entry_name(entry)}{why_unusable(entry)}"
            for i, entry in enumerate(document.entries) if i not in used]


def repair(home: Home) -> None:
    """Write the file of `home` if it has entries in a form that was repaired, as ids are. Raises StateFileError.

    The agent finds a job by the id that is stored.
    """
    if _load(home).is_repaired:
        with _locked(home):
            document = _load(home)
            if document.is_repaired:
                _save(home, document)


def find(home: Home, job_id: str) -> Record:
    """Return the job `job_id`; not to be changed. Raises JobNotFound, StateFileError."""
    line = _line_of(home, job_id)
    return line.record if line else _record_of(_load(home), home, job_id)


def add(home: Home, record: Record) -> None:
    """Append `record`. Raises StateFileError."""
    with _locked(home):
        document = _load(home)
        _save(home, document._replace(
            entries=[*document.entries, record],
            encoded=[*document.encoded, None],
            places={**document.places, record["id"]: len(document.entries)},
        ))


def change_each(home: Home, job_ids: Iterable[str], update: Callable[[Record], Record],
                fires_alike: Callable[[], bool] | None = None) -> None:
    """Replace the record of each of `job_ids` by what `update` makes of it, and write the file once.

    `update` must not alter the record that it gets. If `fires_alike` returns True after all updates, what is
    armed needs no change. Raises JobNotFound, StateFileError.
    """
    job_ids = list(job_ids)
    with _locked(home):
        line = _line_of(home, job_ids[0]) if len(job_ids) == 1 else None
        if line:
            after = update(line.record)
            is_changed = after != line.record
            if is_changed:
                _save_line(home, line.replaced_by(after), after)
        else:
            is_changed = _change_in_document(home, job_ids, update)
        if is_changed and fires_alike and fires_alike():
            note_armed(home)


def _change_in_document(home: Home, job_ids: Iterable[str], update: Callable[[Record], Record]) -> bool:
    """Do the part of `change_each` that changes and writes the file; return True if it was changed."""
    document = _load(home)
    entries, encoded = list(document.entries), list(document.encoded)
    for job_id in job_ids:
        before = _record_of(document, home, job_id)
        after = update(before)
        if after != before:
            at = document.places[job_id]
            entries[at], encoded[at] = after, None
    if entries == document.entries:
        return False
    _save(home, document._replace(entries=entries, encoded=encoded))
    return True


def replace(home: Home, content: bytes) -> None:
    """Replace the whole file by the jobs in `content`, which is like it. Raises StateFileError."""
    with _locked(home):
        _save(home, _parse(content, home.jobs_file, None))


def forget(home: Home) -> None:
    """Free the memory that the jobs of `home` take; the next call reads them again."""
    _cache.pop(home.jobs_file, None)
    _alone.pop(home.jobs_file, None)


def note_armed(home: Home) -> None:
    """Store that the armed jobs agree with the last write of this process, if they agreed with the file before it."""
    if write := _last_write.get(home.jobs_file):
        in_sync.follow(home, write.before, write.after)


def remove(home: Home, job_id: str) -> Record:
    """Remove every entry of the job `job_id`, and return the first. Raises JobNotFound, StateFileError."""
    with _locked(home):
        document = _load(home)
        record = _record_of(document, home, job_id)
        kept = [i for i, entry in enumerate(document.entries) if not (is_record(entry) and entry["id"] == job_id)]
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


def _line_of(home: Home, job_id: str) -> JobLine | None:
    """Return the job `job_id`, of which the line alone is parsed; None if it must be looked for among all jobs.

    That is so if all jobs are in memory already. They are read into memory if the job has no line of its own.
    """
    path = home.jobs_file
    if path in _cache or os.path.lexists(home.runtime_db):
        return None
    signature = file_signature(path)
    known = _alone.get(path)
    if known and known.signature == signature and known.line.record["id"] == job_id:
        return known.line
    if signature is None:
        return None
    text, signature = _read(path)
    line = job_line(text, job_id)
    if line:
        _alone[path] = _Alone(line, signature)
    else:
        _cache[path] = _parsed(text, path, None, signature)
    return line


def _load(home: Home) -> _Document:
    """Return the jobs.json of `home`, from memory while the file is unchanged."""
    path = home.jobs_file
    if os.path.lexists(home.runtime_db):
        raise SeparateState(home)
    known = _cache.get(path)
    current = file_signature(path)
    if known and current and known.signature == current:
        return known
    if current is None:
        return _document_of([], {}, None)
    text, found = _read(path)
    if known and known.signature and known.signature.content == text:
        _cache[path] = known._replace(signature=found)
    else:
        _cache[path] = _parsed(text, path, known, found)
    return _cache[path]


def _read(path: str) -> "tuple[bytes, Signature]":
    """Return the content of the file at `path`, and its identity. Raises StateFileError."""
    now = time.time_ns()
    try:
        with open(path, "rb", opener=open_regular) as file:
            status = os.fstat(file.fileno())
            text = file.read()
    except OSError as error:
        raise StateFileError(f"{path} cannot be read: {cause(error)}") from error
    return text, Signature.of(status, None if mtime_is_final(status, now) else text)


def _parsed(text: bytes, path: str, known: _Document | None, signature: "Signature") -> _Document:
    """Return the document in `text`, the content of the file at `path`. Raises NotAJobsFile."""
    return _parse_lines(text, known, signature) or _parse(text, path, signature)


def _parse_lines(text: bytes, known: _Document | None, signature: "Signature") -> _Document | None:
    """Return the document in `text`, of which only the lines that `known` lacks are parsed, and none needs encoding.

    Returns None for a text that is not as `_Document.text` writes it, or whose entries need a repair.
    """
    if not text.startswith(HEAD) or TAIL not in text:
        return None
    jobs, rest = text[len(HEAD):].rsplit(TAIL, 1)
    lines = jobs.split(SEPARATOR)
    parsed = {line: entry for line, entry in zip(known.encoded, known.entries, strict=True)
              if line is not None} if known else {}
    try:
        entries = [parsed[line] if line in parsed else decode(line.decode()) for line in lines]
        others = decode("{" + rest.decode())
    except (ValueError, RecursionError):
        return None
    repaired = entries_of(entries)
    if not is_rest(others) or any(map(operator.is_not, repaired, entries)):
        return None
    return _document_of(entries, others, signature)._replace(encoded=list(lines))


def _parse(text: bytes, path: str, signature: "Signature | None") -> _Document:
    try:
        content = decode(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        whole = unfinished(path)
        remedy = (f"A write of it was cut off; {whole} has the whole content: copy it over {path}."
                  if os.path.exists(whole) else "Repair it or move it away; it was not changed.")
        raise NotAJobsFile(f"{path} is not JSON ({error}).", remedy) from error
    if isinstance(content, list):  # the agent takes a bare list too
        content = {"jobs": content}
    if not isinstance(content, dict):
        raise NotAJobsFile(f'{path} is not {{"jobs": [...]}}.', "Repair it or move it away; it was not changed.")
    others = {key: value for key, value in content.items() if key != "jobs"}
    jobs = content.get("jobs", [])
    entries = entries_of(jobs)
    is_repaired = not isinstance(jobs, list) or any(map(operator.is_not, entries, jobs))
    return _document_of(entries, others, signature)._replace(is_repaired=is_repaired)


def _save(home: Home, document: _Document) -> None:
    """Replace the file by `document`. The lock must be held."""
    text = document.text()
    signature = Signature.of(_write(home, text), text)
    _cache[home.jobs_file] = document._replace(signature=signature, is_repaired=False)


def _save_line(home: Home, text: bytes, record: Record) -> None:
    """Replace the content of the file by `text`, in which the line of `record` is new. The lock must be held."""
    signature = Signature.of(_write(home, text), text)
    line = job_line(text, record["id"])
    if line:
        _alone[home.jobs_file] = _Alone(line, signature)


def _write(home: Home, text: bytes) -> os.stat_result:
    """Replace the content of the file by `text`, and return its new status. The lock must be held.

    Raises StateFileError.
    """
    before = in_sync.identity(home.jobs_file)
    try:
        write_atomic(home.jobs_file, text)
        status = os.stat(home.jobs_file)
    except OSError as error:
        raise StateFileError(f"{home.jobs_file} cannot be written: {cause(error)} It was not changed.") from error
    _last_write[home.jobs_file] = _Write(before, in_sync.identity(home.jobs_file))
    return status
