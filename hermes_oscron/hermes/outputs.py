"""What runs wrote: `<home>/cron/output/<job_id>/%Y-%m-%d_%H-%M-%S.md`, as the agent names them."""

import datetime
import os

from .homes import Home
from .store import make_private_dir, replace_file

KEEP = 50
"""How many outputs of a job stay, as in the agent."""
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
            with open(f"{_folder(home, job_id)}/{name}", encoding="utf-8", errors="replace") as file:
                found.append((name, window(file.read())))
        except FileNotFoundError:
            continue  # the runner's retention came between
    return found


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
