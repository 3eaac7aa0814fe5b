"""The output of a run in progress, as far as it has come: a file that readers follow and that ends with the run.

It is a copy. A run does not need it, so a full disk leaves it short and nothing else.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..files import make_private_dir
from ..hermes.home import Home

MAX_BYTES = 1024 * 1024
"""When the file is as long as this, it begins again: readers want the end of a long log."""
MAX_READ_BYTES = 256 * 1024


@contextlib.contextmanager
def live_output(home: Home, job_id: str) -> Iterator[Callable[[bytes], None]]:
    """Keep the file of a run of `job_id` during the block, and yield the function that appends to it."""
    path = path_of(home, job_id)
    try:
        make_private_dir(home.state.live)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield lambda chunk: None
        return

    def append(chunk: bytes) -> None:
        with contextlib.suppress(OSError):
            if os.fstat(fd).st_size + len(chunk) > MAX_BYTES:
                os.ftruncate(fd, 0)
            os.write(fd, chunk)

    try:
        yield append
    finally:
        os.close(fd)
        remove(home, job_id)


def remove(home: Home, job_id: str) -> None:
    """Remove the file of the run of `job_id`, which has ended, if it is there."""
    with contextlib.suppress(OSError):
        os.unlink(path_of(home, job_id))


class Part(NamedTuple):
    """The output from `offset` on, and the offset of the part after it. `is_new` if it does not follow the last one."""

    text: str
    next: int
    is_new: bool


def read(home: Home, job_id: str, offset: int) -> Part:
    """Return the output of the run of `job_id` from `offset` on; only its end if that is very long."""
    try:
        with open(path_of(home, job_id), "rb", opener=_open_own) as file:
            size = os.fstat(file.fileno()).st_size
            start = offset if 0 < offset <= size else 0
            start = max(start, size - MAX_READ_BYTES)
            file.seek(start)
            content = file.read(size - start)
    except OSError:
        return Part("", 0, offset != 0)
    whole = len(content) - _cut_character(content)
    return Part(content[:whole].decode("utf-8", "replace"), start + whole, start != offset)


def _open_own(path: str, flags: int) -> int:
    """Open `path`; a link is not followed, and a pipe is not waited for. Raises OSError."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _cut_character(content: bytes) -> int:
    """Return how many bytes at the end of `content` are the beginning of a character (UTF-8)."""
    for back in range(1, min(4, len(content) + 1)):
        byte = content[-back]
        if byte >= 0xC0:
            return back if back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) else 0
        if byte < 0x80:
            break
    return 0


def path_of(home: Home, job_id: str) -> str:
    return f"{home.state.live}/{job_id}"
