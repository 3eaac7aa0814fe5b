"""What runs wrote: `<home>/cron/output/<job_id>/%Y-%m-%d_%H-%M-%S.md`, as the agent names them.

A job may put anything into its folder. What is read here is a plain file of that very folder: no link is followed, no
pipe is waited for, and of a file without end the beginning is enough.
"""

import contextlib
import datetime
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from ..errors import OscronError
from ..files import make_private_dir, write_atomic
from .home import SAFE_NAME, Home
from .output_page import MAX_HEADING_BYTES, usage, window

MAX_OUTPUTS = 50
"""How many outputs of a job stay, as in the agent."""
MAX_OUTPUT_BYTES = 16 * 1024 * 1024
"""Bytes that are read of one output; the runner writes 10.5 MiB at the most."""
MAX_ANSWER_CHARS = 16 * 1024 * 1024
"""Characters of several outputs together; where they are more, the older ones are left out."""


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
    """Save TEXT as the output of a run that ended at WHEN (in the Hermes zone); return its file name."""
    folder = _folder(home, job_id)
    make_private_dir(folder)
    stem = when.strftime("%Y-%m-%d_%H-%M-%S")
    name, again = f"{stem}.md", 0
    while os.path.exists(f"{folder}/{name}"):
        again += 1
        name = f"{stem}_{again}.md"
    write_atomic(f"{folder}/{name}", text.encode("utf-8", "replace"))
    for old in filenames(home, job_id)[MAX_OUTPUTS:]:
        with contextlib.suppress(OSError):  # the new one is saved
            os.unlink(f"{folder}/{old}")
    return name


def filenames(home: Home, job_id: str) -> list[str]:
    """The file names of JOB_ID's outputs, newest first."""
    try:
        with _open_folder(home, job_id) as folder, os.scandir(folder) as entries:
            found = [entry.name for entry in entries if _is_output_name(entry.name)
                     and entry.is_file(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(found, key=_sort_key, reverse=True)


def _is_output_name(name: str) -> bool:
    """Whether NAME may be an output's, and can be told in JSON."""
    return name.endswith(".md") and not name.startswith(".") and name.isprintable()


def _sort_key(name: str) -> tuple[str, int, str]:
    """Sorts by the second that NAME gives and, within one, by the number behind it."""
    second, again = name[:19], name[19:].removesuffix(".md").removeprefix("_")
    return second, int(again) if again.isdecimal() else 0, name


def job_ids(home: Home) -> set[str]:
    """The ids of the jobs that have outputs, or had."""
    try:
        return set(filter(SAFE_NAME.fullmatch, os.listdir(home.output_dir)))
    except OSError:
        return set()


def newest(home: Home, job_id: str, limit: int) -> list[tuple[str, str]]:
    """File name and windowed content of the newest LIMIT outputs of JOB_ID, newest first."""
    found, length = list[tuple[str, str]](), 0
    for name in filenames(home, job_id)[:limit]:
        with contextlib.suppress(RunNotFound):  # the runner's retention came between
            content = window(read(home, job_id, name))
            length += len(content)
            if found and length > MAX_ANSWER_CHARS:
                break
            found.append((name, content))
    return found


def history(home: Home, job_id: str, offset: int, limit: int) -> tuple[list[OutputInfo], int]:
    """LIMIT outputs of JOB_ID from OFFSET on, newest first, and how many there are in all."""
    all_names = filenames(home, job_id)
    pages = []
    for name in all_names[offset:offset + limit]:
        with contextlib.suppress(RunNotFound), _open_output(home, job_id, name) as file:
            status = os.fstat(file.fileno())
            pages.append(OutputInfo(name, status.st_size, status.st_mtime, usage(_text(file.read(MAX_HEADING_BYTES)))))
    return pages, len(all_names)


def read(home: Home, job_id: str, name: str) -> str:
    """The output NAME of JOB_ID; what is longer than LARGEST is cut, and says so. Raises RunNotFound."""
    with _open_output(home, job_id, name) as file:
        content = file.read(MAX_OUTPUT_BYTES)
        left = os.fstat(file.fileno()).st_size - len(content)
    return _text(content) + (f"\n[cut here: {left} bytes more]\n" if left > 0 else "")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


@contextlib.contextmanager
def _open_output(home: Home, job_id: str, name: str) -> Iterator[BinaryIO]:
    """The output NAME of JOB_ID, opened. Raises RunNotFound."""
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
            raise RunNotFound(f"'{name}' of {job_id} is no file.")
        yield file


@contextlib.contextmanager
def _open_folder(home: Home, job_id: str) -> Iterator[int]:
    """A descriptor of the folder of JOB_ID's outputs. Raises OSError."""
    fd = os.open(_folder(home, job_id), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def remove(home: Home, job_id: str) -> None:
    """Remove all outputs of JOB_ID."""
    import shutil  # 3 ms, which no other use of this module needs to pay

    shutil.rmtree(_folder(home, job_id), ignore_errors=True)


def _folder(home: Home, job_id: str) -> str:
    return f"{home.output_dir}/{job_id}"
