"""`jobs.json`: Hermes's own file, in Hermes's format, under Hermes's lock.

Keys that are not ours survive. The file is replaced whole or not at all, and one that cannot be read is never
overwritten.
"""

import datetime
import fcntl
import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from ..errors import cause
from .homes import NAME, Home, regular

Record = dict[str, Any]

TICK, COARSE_TICK = 20_000_000, 2_000_000_000
"""Nanoseconds after which a change of a file has another time than the one before; the kernel's clock for files has
ticks of up to 10 ms (CONFIG_HZ, time(7)), and some file systems keep whole seconds."""
UNFINISHED = re.compile(r"\..+\.[0-9]+\.tmp")
"""What `replace_file` writes to first."""
ABANDONED = 3600.0
"""Seconds."""
LOCK_PATIENCE = 30.0
"""Seconds to wait for the lock, as the agent does; every holder needs milliseconds."""


class StoreError(Exception):
    """jobs.json could not be read or written; nothing was changed."""


class NotJobs(StoreError):
    """jobs.json holds something else than jobs, until somebody repairs it."""


class NoSuchJob(LookupError):
    """There is no job of that id."""


class _Document(NamedTuple):
    """A jobs.json in memory: its entries, each as it stands in the file once that is known, and where the jobs are."""

    entries: list[Any]
    encoded: list[bytes | None]
    places: dict[str, int]
    others: dict[str, Any]
    signature: "_Signature | None"

    def text(self) -> bytes:
        """The file: one job a line. What is not encoded yet is encoded now, once."""
        for i, line in enumerate(self.encoded):
            if line is None:
                self.encoded[i] = _encoded(self.entries[i])
        others = {**self.others, "updated_at": datetime.datetime.now().astimezone().isoformat()}
        lines: bytes = b",\n".join(self.encoded)  # type: ignore[arg-type]  # no None is left
        return b'{"jobs": [\n%s\n],\n%s\n' % (lines, _encoded(others)[1:])


def _document(entries: list[Any], others: dict[str, Any], signature: "_Signature | None") -> _Document:
    """What ENTRIES and OTHERS of a file are in memory; of two jobs with one id the first counts."""
    places: dict[str, int] = {}
    for i, entry in enumerate(entries):
        if is_record(entry):
            places.setdefault(entry["id"], i)
    return _Document(entries, [None] * len(entries), places, others, signature)


class _Signature(NamedTuple):
    """What changes whenever a file is replaced or rewritten.

    Two changes within one tick of the kernel's clock leave the same times, and the second may have the inode and the
    size of the first. So a file that has just changed is known by its content.
    """

    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int
    content: bytes | None

    @classmethod
    def of(cls, status: os.stat_result, content: bytes | None) -> "_Signature":
        return cls(status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, content)


_documents: dict[str, _Document] = {}


def is_settled(status: os.stat_result, now: int) -> bool:
    """Whether a change from NOW on, in nanoseconds, gives another time than the one that STATUS has."""
    tick = TICK if status.st_ctime_ns % 1_000_000_000 else COARSE_TICK
    return now - status.st_ctime_ns > tick


def is_record(entry: Any) -> bool:
    """Whether ENTRY of jobs.json is a job that can be named."""
    return isinstance(entry, dict) and isinstance(entry.get("id"), str) and bool(NAME.fullmatch(entry["id"]))


def signature(path: str) -> "_Signature | None":
    """Changes whenever the file at PATH does; None without one. Raises StoreError."""
    now = time.time_ns()
    try:
        status = os.stat(path)
        if is_settled(status, now) or not stat.S_ISREG(status.st_mode):
            return _Signature.of(status, None)
        with open(path, "rb", opener=regular) as file:
            return _Signature.of(status, file.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {cause(error)}") from error


def read(home: Home) -> list[Record]:
    """HOME's jobs, in the file's order; not to be changed. Raises StoreError."""
    document = _load(home)
    return [document.entries[i] for i in document.places.values()]


def find(home: Home, job_id: str) -> Record:
    """The job JOB_ID; not to be changed. Raises NoSuchJob, StoreError."""
    document = _load(home)
    if job_id not in document.places:
        raise NoSuchJob(f"There is no job '{job_id}' in profile {home.profile}.")
    entry: Record = document.entries[document.places[job_id]]
    return entry


def add(home: Home, record: Record) -> None:
    """Append RECORD. Raises StoreError."""
    with _locked(home):
        document = _load(home)
        _save(home, document._replace(
            entries=[*document.entries, record],
            encoded=[*document.encoded, None],
            places={**document.places, record["id"]: len(document.entries)},
        ))


def change(home: Home, job_id: str, update: Callable[[Record], None]) -> Record:
    """Let UPDATE alter a copy of the job JOB_ID, save it and return it. Raises NoSuchJob, StoreError."""
    return change_each(home, [job_id], update)[0]


def change_each(home: Home, job_ids: Iterable[str], update: Callable[[Record], None]) -> list[Record]:
    """Let UPDATE alter a copy of each of the jobs JOB_IDS, save all at once and return them.

    Raises NoSuchJob, StoreError.
    """
    with _locked(home):
        document = _load(home)
        entries, encoded = list(document.entries), list(document.encoded)
        changed = []
        for job_id in job_ids:
            before = find(home, job_id)
            record: Record = json.loads(json.dumps(before))
            update(record)
            changed.append(record)
            if record != before:
                at = document.places[job_id]
                entries[at], encoded[at] = record, None
        if entries != document.entries:
            _save(home, document._replace(entries=entries, encoded=encoded))
        return changed


def remove(home: Home, job_id: str) -> Record:
    """Take the job JOB_ID out, as often as it is there, and return it. Raises NoSuchJob, StoreError."""
    with _locked(home):
        record = find(home, job_id)
        document = _load(home)
        kept = [i for i, entry in enumerate(document.entries)
                if not (isinstance(entry, dict) and entry.get("id") == job_id)]
        entries, encoded = [document.entries[i] for i in kept], [document.encoded[i] for i in kept]
        _save(home, _document(entries, document.others, None)._replace(encoded=encoded))
        return record


def make_private_dir(path: str) -> None:
    """Make the folder PATH, and those above it that are missing, for its owner alone."""
    path, missing = os.path.abspath(path), list[str]()
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            continue


def touch(path: str) -> None:
    """Create the file `path` if there is none, and set its time to now. Raises OSError, also where it is a link."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))
    os.utime(path)


def replace_file(path: str, content: bytes, mode: int = 0o600) -> None:
    """Put CONTENT in PATH's place whole: a crash or a full disk at any instant leaves the old file or the new.

    Raises OSError, which names PATH.
    """
    try:
        _replace(os.path.realpath(path), content, mode)
    except OSError as error:  # that of write(2) names no file, and that of open(2) one that nobody knows
        raise OSError(error.errno, error.strerror, path) from error


def _replace(path: str, content: bytes, mode: int) -> None:
    folder, name = os.path.split(path)
    unfinished = f"{folder}/.{name}.{os.getpid()}.tmp"
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # now: no refusal after the rename
    try:
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, mode)  # whatever the umask is
                file.write(content)
                file.flush()
                os.fsync(fd)
            os.rename(unfinished, f"{folder}/{name}")
        except BaseException:
            os.unlink(unfinished)
            raise
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)


def sweep(folder: str, now: float) -> None:
    """Remove from FOLDER what a `replace_file` that was killed long before NOW, a unix time, has left there."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if UNFINISHED.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < now - ABANDONED:
                os.unlink(entry.path)


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    """Hold Hermes's own lock on HOME's jobs."""
    path = f"{home.cron_dir}/.jobs.lock"
    try:
        make_private_dir(home.cron_dir)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {cause(error)}") from error
    try:
        wait_for_lock(fd, path)
        yield
    finally:
        os.close(fd)


def wait_for_lock(fd: int, path: str, patience: float = LOCK_PATIENCE) -> None:
    """Lock FD, which is PATH opened, for us alone. Raises StoreError after PATIENCE seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreError(
                    f"{path} has been held by another process for {patience:.0f} s; "
                    f"'fuser {path}' names it."
                ) from None
            time.sleep(0.003)


def _load(home: Home) -> _Document:
    """HOME's jobs.json, from memory while the file is the same."""
    path = home.jobs_file
    known = _documents.get(path)
    current = signature(path)
    if known and current and known.signature == current:
        return known
    if current is None:
        return _document([], {}, None)
    now = time.time_ns()
    try:
        with open(path, "rb", opener=regular) as file:
            status = os.fstat(file.fileno())
            read = file.read()
        found = _Signature.of(status, None if is_settled(status, now) else read)
        if known and known.signature and known.signature.content == read:
            _documents[path] = known._replace(signature=found)
            return _documents[path]
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {cause(error)}") from error
    _documents[path] = _parse(read, path, found)
    return _documents[path]


def records_in(content: bytes, path: str) -> list[Record]:
    """The jobs in CONTENT, a jobs.json at PATH. Raises StoreError."""
    document = _parse(content, path, None)
    return [document.entries[i] for i in document.places.values()]


def _parse(text: bytes, path: str, signature: "_Signature | None") -> _Document:
    try:
        content = _decoded(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise NotJobs(f"{path} is not JSON ({error}). Repair it or move it away; it was left as it is.") from error
    if isinstance(content, list):  # the agent takes a bare list too
        content = {"jobs": content}
    if not isinstance(content, dict) or not isinstance(content.get("jobs", []), list):
        raise NotJobs(f'{path} is not {{"jobs": [...]}}. Repair it or move it away; it was left as it is.')
    others = {key: value for key, value in content.items() if key != "jobs"}
    return _document(content.get("jobs", []), others, signature)


def _decoded(text: str) -> Any:
    """What the JSON `text` says. Raises ValueError."""
    try:
        return json.loads(text, strict=False, parse_float=_finite)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError):
        from . import unreadable  # a fire need not pay for it

        return json.loads(unreadable.replaced(text), strict=False)


def _finite(number: str) -> float:
    """The float `number`. Raises ValueError for one that would come back as infinite."""
    value = float(number)
    if value in (float("inf"), -float("inf")):
        raise ValueError(f"{number:.20} is beyond the numbers that Python has")
    return value


def _encoded(value: Any) -> bytes:
    """`value` as JSON."""
    encoded = json.dumps(value).encode()
    if "hermes_oscron.hermes.unreadable" in sys.modules:
        from . import unreadable

        return unreadable.restored(encoded)
    return encoded


def _save(home: Home, document: _Document) -> None:
    """Write DOCUMENT in the place of the file. The lock is held."""
    text = document.text()
    try:
        replace_file(home.jobs_file, text)
        signature = _Signature.of(os.stat(home.jobs_file), text)
    except OSError as error:
        raise StoreError(f"{home.jobs_file} cannot be written: {cause(error)} It is as it was.") from error
    _documents[home.jobs_file] = document._replace(signature=signature)
