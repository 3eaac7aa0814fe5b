"""The outputs of runs: `<home>/cron/output/<job_id>/%Y-%m-%d_%H-%M-%S.md`, as the agent names them.

A job may put anything into its folder. Only plain files of that very folder are read: links are not followed, pipes are
not waited for, and only the beginning of a very long file is read.
"""

import contextlib
import datetime
import os
import stat
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from ..errors import OscronError
from ..files import make_private_dir, write_atomic
from . import agent_settings
from .home import SAFE_NAME, Home
from .output_page import MAX_HEADING_BYTES, usage, window
from .output_page import status as status_of_page

DEFAULT_MAX_OUTPUTS = 50
"""The number of outputs of a job that are kept, unless the agent's `cron.output_retention` names another."""
MAX_OUTPUT_BYTES = 16 * 1024 * 1024
"""The most that is read of one output; the runner writes at most 10.5 MiB."""
FUTURE_S = 60.0
"""An output that was written later than this from now is from the future; a file system's clock may differ a little."""
MAX_ANSWER_CHARS = 16 * 1024 * 1024
"""The most that several outputs have together; the oldest ones beyond are left out."""


_SortKey = tuple[bool, int, str, int, str]


class RunNotFound(OscronError):
    """There is no output with that name."""

    status = 404


class OutputInfo(NamedTuple):
    """One output: its file's name, its size in bytes, when it was written (unix seconds), and what its run used."""

    filename: str
    size: int
    modified: float
    usage: dict[str, Any]


def write(home: Home, job_id: str, when: datetime.datetime, text: str) -> str:
    """Save `text` as the output of a run that ended at `when` (in the Hermes zone); return its file name."""
    folder = _folder(home, job_id)
    make_private_dir(folder)
    stem = when.strftime("%Y-%m-%d_%H-%M-%S")
    name, again = f"{stem}.md", 0
    while os.path.exists(f"{folder}/{name}"):
        again += 1
        name = f"{stem}_{again}.md"
    write_atomic(f"{folder}/{name}", text.encode("utf-8", "replace"))
    limit = max_outputs(home)
    earlier = [other for other in filenames(home, job_id) if other != name]
    for old in earlier[limit - 1:] if limit > 0 else []:
        with contextlib.suppress(OSError):  # the new one is saved
            os.unlink(f"{folder}/{old}")
    return name


def max_outputs(home: Home) -> int:
    """Return the number of outputs of a job in `home` that are kept; as in the agent, 0 or less keeps all."""
    kept = agent_settings.number(home, agent_settings.OUTPUT_RETENTION)
    return DEFAULT_MAX_OUTPUTS if kept is None else int(kept)


def filenames(home: Home, job_id: str) -> list[str]:
    """Return the file names of the outputs of `job_id`, newest first, by the times at which they were written.

    The times in the names are local, so a change of the zone or of the clocks puts them out of order.
    """
    now, found = time.time(), list[_SortKey]()
    with contextlib.suppress(OSError), _open_folder(home, job_id) as folder, os.scandir(folder) as entries:
        for entry in entries:
            if _is_output_name(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):  # retention may have removed it in between
                    found.append(_sort_key(entry, now))
    return [key[-1] for key in sorted(found, reverse=True)]


def _is_output_name(name: str) -> bool:
    """Return True if `name` can be an output's, and can be sent as JSON."""
    return name.endswith(".md") and not name.startswith(".") and name.isprintable()


def _sort_key(entry: os.DirEntry[str], now: float) -> _SortKey:
    """Return a key that sorts by the time of `entry`; among outputs of one time, by the second and number in the name.

    An output from the future was written by a clock that was ahead, so it is older than all others.
    """
    status = entry.stat(follow_symlinks=False)
    second, again = entry.name[:19], entry.name[19:].removesuffix(".md").removeprefix("_")
    return (status.st_mtime <= now + FUTURE_S, status.st_mtime_ns, second,
            int(again) if again.isdecimal() else 0, entry.name)


def job_ids(home: Home) -> set[str]:
    """Return the ids of the jobs that have outputs, or had."""
    try:
        return set(filter(SAFE_NAME.fullmatch, os.listdir(home.output_dir)))
    except OSError:
        return set()


def newest(home: Home, job_id: str, limit: int) -> list[tuple[str, str]]:
    """Return file name and windowed content of the newest `limit` outputs of `job_id`, newest first."""
    found, length = list[tuple[str, str]](), 0
    for name in filenames(home, job_id)[:limit]:
        with contextlib.suppress(RunNotFound):  # retention may have removed it in between
            content = window(read(home, job_id, name))
            length += len(content)
            if found and length > MAX_ANSWER_CHARS:
                break
            found.append((name, content))
    return found


def history(home: Home, job_id: str, offset: int, limit: int) -> tuple[list[OutputInfo], int]:
    """Return `limit` outputs of `job_id` from `offset` on, newest first, and how many there are in all."""
    all_names = filenames(home, job_id)
    pages = []
    for name in all_names[offset:offset + limit]:
        with contextlib.suppress(RunNotFound), _open_output(home, job_id, name) as file:
            status = os.fstat(file.fileno())
            pages.append(OutputInfo(name, status.st_size, status.st_mtime, usage(_text(file.read(MAX_HEADING_BYTES)))))
    return pages, len(all_names)


def status(home: Home, job_id: str, name: str) -> str:
    """Return how the run of the output `name` of `job_id` ended; empty if it has been removed."""
    with contextlib.suppress(RunNotFound), _open_output(home, job_id, name) as file:
        return status_of_page(_text(file.read(MAX_HEADING_BYTES)))
    return ""


def usage_of(home: Home, job_id: str, name: str) -> dict[str, Any]:
    """Return what the run of the output `name` of `job_id` used; nothing if the output has been removed."""
    with contextlib.suppress(RunNotFound), _open_output(home, job_id, name) as file:
        return usage(_text(file.read(MAX_HEADING_BYTES)))
    return {}


def read(home: Home, job_id: str, name: str) -> str:
    """Return the output `name` of `job_id`; beyond MAX_OUTPUT_BYTES it is cut, with a note. Raises RunNotFound."""
    with _open_output(home, job_id, name) as file:
        content = file.read(MAX_OUTPUT_BYTES)
        left = os.fstat(file.fileno()).st_size - len(content)
    return _text(content) + (f"\n[cut here: {left} bytes more]\n" if left > 0 else "")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


@contextlib.contextmanager
def _open_output(home: Home, job_id: str, name: str) -> Iterator[BinaryIO]:
    """Open the output `name` of `job_id`. Raises RunNotFound."""
    try:
        if not _is_output_name(name) or "/" in name:
            raise FileNotFoundError
        with _open_folder(home, job_id) as folder:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.fdopen(os.open(name, flags, dir_fd=folder), "rb")
    except OSError:
        raise RunNotFound(f"There is no run '{name}' of {job_id}.") from None
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise RunNotFound(f"'{name}' of {job_id} is not a file.")
        yield file


@contextlib.contextmanager
def _open_folder(home: Home, job_id: str) -> Iterator[int]:
    """Yield a descriptor of the folder of the outputs of `job_id`. Raises OSError."""
    fd = os.open(_folder(home, job_id), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def remove(home: Home, job_id: str) -> None:
    """Remove all outputs of `job_id`."""
    import shutil  # 3 ms, which no other use of this module needs to pay

    shutil.rmtree(_folder(home, job_id), ignore_errors=True)


def _folder(home: Home, job_id: str) -> str:
    return f"{home.output_dir}/{job_id}"
