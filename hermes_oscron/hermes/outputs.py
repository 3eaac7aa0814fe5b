"""What runs wrote: `<home>/cron/output/<job_id>/%Y-%m-%d_%H-%M-%S.md`, as the agent names them."""

import datetime
import os
import stat

from .homes import Home
from .store import make_private_dir, replace_file

KEEP = 50
"""How many outputs of a job stay, as in the agent."""
LARGEST = 16 * 1024 * 1024
"""Bytes of an output that are read; runs write less."""
WINDOW = 8000
HEAD = 200
RESPONSE = "## Response"


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
        os.unlink(f"{folder}/{old}")
    return name


def names(home: Home, job_id: str) -> list[str]:
    """The file names of JOB_ID's outputs, newest first."""
    try:
        found = os.listdir(_folder(home, job_id))
    except FileNotFoundError:
        return []
    return sorted((name for name in found if name.endswith(".md") and not name.startswith(".")), key=_age, reverse=True)


def _age(name: str) -> tuple[str, int, str]:
    """Sorts by the second that NAME gives and, within one, by the number behind it."""
    second, again = name[:19], name[19:].removesuffix(".md").removeprefix("_")
    return second, int(again) if again.isdecimal() else 0, name


def newest(home: Home, job_id: str, limit: int) -> list[tuple[str, str]]:
    """File name and windowed content of the newest LIMIT outputs of JOB_ID, newest first."""
    found = []
    for name in names(home, job_id)[:limit]:
        try:
            found.append((name, window(read(home, job_id, name)[0])))
        except OSError:
            continue  # the runner's retention came between, or it is no file that a run wrote
    return found


def read(home: Home, job_id: str, name: str, most: int = LARGEST) -> tuple[str, os.stat_result]:
    """What is in the output NAME of JOB_ID, up to MOST bytes, and its status. Raises OSError.

    No link is followed and nothing but a file is read: whoever can write here need not be who reads it.
    """
    folder = os.open(_folder(home, job_id), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if "/" in name or not name.endswith(".md"):
            raise FileNotFoundError(name)
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(name)
        return file.read(most).decode("utf-8", "replace"), status


def window(content: str) -> str:
    """CONTENT if it is short, else its first 200 characters and all from the response on."""
    if len(content) <= WINDOW:
        return content
    at = content.find(RESPONSE)
    return f"{content[:HEAD]}\n...\n{content[at:]}" if at >= 0 else content[-WINDOW:]


def remove(home: Home, job_id: str) -> None:
    """Remove all outputs of JOB_ID."""
    import shutil  # 3 ms, which no other use of this module needs to pay

    shutil.rmtree(_folder(home, job_id), ignore_errors=True)


def _folder(home: Home, job_id: str) -> str:
    return f"{home.output_dir}/{job_id}"
