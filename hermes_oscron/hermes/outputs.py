"""What runs wrote: `<home>/cron/output/<job_id>/%Y-%m-%d_%H-%M-%S.md`, as the agent names them.

A job may put anything into its folder. What is read here is a plain file of that very folder: no link is followed, no
pipe is waited for, and of a file without end the beginning is enough.
"""

import contextlib
import datetime
import os
import re
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from .homes import NAME, Home
from .store import make_private_dir, replace_file

KEEP = 50
"""How many outputs of a job stay, as in the agent."""
WINDOW = 8000
HEAD = 200
RESPONSE = re.compile(r"^##? Response\b", re.M)
"""The heading; a prompt or an error may have the word elsewhere."""
SNIPPET = 600
LARGEST = 16 * 1024 * 1024
"""Bytes that are read of one output; the runner writes 10.5 MiB at the most."""
LARGEST_ANSWER = 16 * 1024 * 1024
"""Characters of several outputs together; where they are more, the older ones are left out."""
HEADING = 16 * 1024
"""Bytes in which the lines before the first section are."""


class NoSuchRun(LookupError):
    """There is no output of that name."""


class Page(NamedTuple):
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
    replace_file(f"{folder}/{name}", text.encode("utf-8", "replace"))
    for old in names(home, job_id)[KEEP:]:
        with contextlib.suppress(OSError):  # the new one is saved
            os.unlink(f"{folder}/{old}")
    return name


def names(home: Home, job_id: str) -> list[str]:
    """The file names of JOB_ID's outputs, newest first."""
    try:
        with _opened_folder(home, job_id) as folder, os.scandir(folder) as entries:
            found = [entry.name for entry in entries if _is_page(entry.name) and entry.is_file(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(found, key=_age, reverse=True)


def _is_page(name: str) -> bool:
    """Whether NAME may be an output's, and can be told in JSON."""
    return name.endswith(".md") and not name.startswith(".") and name.isprintable()


def _age(name: str) -> tuple[str, int, str]:
    """Sorts by the second that NAME gives and, within one, by the number behind it."""
    second, again = name[:19], name[19:].removesuffix(".md").removeprefix("_")
    return second, int(again) if again.isdecimal() else 0, name


def jobs(home: Home) -> set[str]:
    """The ids of the jobs that have outputs, or had."""
    try:
        return set(filter(NAME.fullmatch, os.listdir(home.output_dir)))
    except OSError:
        return set()


def newest(home: Home, job_id: str, limit: int) -> list[tuple[str, str]]:
    """File name and windowed content of the newest LIMIT outputs of JOB_ID, newest first."""
    found, length = list[tuple[str, str]](), 0
    for name in names(home, job_id)[:limit]:
        with contextlib.suppress(NoSuchRun):  # the runner's retention came between
            content = window(read(home, job_id, name))
            length += len(content)
            if found and length > LARGEST_ANSWER:
                break
            found.append((name, content))
    return found


def history(home: Home, job_id: str, offset: int, limit: int) -> tuple[list[Page], int]:
    """LIMIT outputs of JOB_ID from OFFSET on, newest first, and how many there are in all."""
    all_names = names(home, job_id)
    pages = []
    for name in all_names[offset:offset + limit]:
        with contextlib.suppress(NoSuchRun), _opened(home, job_id, name) as file:
            status = os.fstat(file.fileno())
            pages.append(Page(name, status.st_size, status.st_mtime, usage(_text(file.read(HEADING)))))
    return pages, len(all_names)


def read(home: Home, job_id: str, name: str) -> str:
    """The output NAME of JOB_ID; what is longer than LARGEST is cut, and says so. Raises NoSuchRun."""
    with _opened(home, job_id, name) as file:
        content = file.read(LARGEST)
        left = os.fstat(file.fileno()).st_size - len(content)
    return _text(content) + (f"\n[cut here: {left} bytes more]\n" if left > 0 else "")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


@contextlib.contextmanager
def _opened(home: Home, job_id: str, name: str) -> Iterator[BinaryIO]:
    """The output NAME of JOB_ID, opened. Raises NoSuchRun."""
    try:
        if not _is_page(name) or "/" in name:
            raise FileNotFoundError
        with _opened_folder(home, job_id) as folder:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.fdopen(os.open(name, flags, dir_fd=folder), "rb")
    except OSError:
        raise NoSuchRun(f"There is no run '{name}' of {job_id}.") from None
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise NoSuchRun(f"'{name}' of {job_id} is no file.")
        yield file


@contextlib.contextmanager
def _opened_folder(home: Home, job_id: str) -> Iterator[int]:
    """A descriptor of the folder of JOB_ID's outputs. Raises OSError."""
    fd = os.open(_folder(home, job_id), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def heading(content: str) -> str:
    """The lines of CONTENT before its first section."""
    return re.split(r"^(?:## |---)", content[:HEADING], maxsplit=1, flags=re.M)[0]


def usage(content: str) -> dict[str, Any]:
    """What the run used, as far as the lines of CONTENT before its first section say: `**Tokens:** 12 in / 3 out`."""
    lines = re.findall(r"^\*\*([A-Za-z ]+):\*\* *(\S.*)$", heading(content), re.M)
    said = {name.lower(): value.strip() for name, value in reversed(lines)}
    tokens = said.get("tokens", "")
    counted_in, counted_out = _count(tokens, r"in(?:put)?"), _count(tokens, r"out(?:put)?")
    total = _count(tokens, r"(?:total|tokens)")
    if total is None and (counted_in is not None or counted_out is not None):
        total = (counted_in or 0) + (counted_out or 0)
    found = {
        "model": said.get("model"), "provider": said.get("provider"),
        "input_tokens": counted_in, "output_tokens": counted_out, "total_tokens": total,
        "estimated_cost_usd": _number(said.get("cost", "")), "duration_seconds": _seconds(said.get("duration", "")),
    }
    return {key: value for key, value in found.items() if value is not None}


def _count(text: str, what: str) -> int | None:
    """The number that stands before the word WHAT in TEXT."""
    match = re.search(rf"\b(\d[\d,]{{0,19}})\s*{what}\b", text, re.I)
    return int(match[1].replace(",", "")) if match else None


def _number(text: str) -> float | None:
    match = re.search(r"\d[\d,]{0,15}(?:\.\d{1,15})?|\.\d{1,15}", text)
    return float(match[0].replace(",", "")) if match else None


def _seconds(text: str) -> float | None:
    """The seconds of a duration: `12.5s`, `1h 2m 3s`, or a number alone; None for any other text."""
    number = r"(\d{1,9}(?:\.\d{1,9})?)\s*"
    parts = re.fullmatch(rf"(?:{number}h\s*)?(?:{number}m\s*)?(?:{number}s?)?", text.strip(), re.I)
    if not parts or not any(parts.groups()):
        return None
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds


def snippet(content: str) -> str:
    """The beginning of the response in CONTENT, or of all that there is where nothing is called so."""
    heading = RESPONSE.search(content)
    return content[heading.end() if heading else 0:].strip()[:SNIPPET] or "(empty)"


def window(content: str) -> str:
    """CONTENT if it is short, else its first 200 characters and all from the response on."""
    if len(content) <= WINDOW:
        return content
    heading = RESPONSE.search(content)
    return f"{content[:HEAD]}\n...\n{content[heading.start():]}" if heading else content[-WINDOW:]


def remove(home: Home, job_id: str) -> None:
    """Remove all outputs of JOB_ID."""
    import shutil  # 3 ms, which no other use of this module needs to pay

    shutil.rmtree(_folder(home, job_id), ignore_errors=True)


def _folder(home: Home, job_id: str) -> str:
    return f"{home.output_dir}/{job_id}"
