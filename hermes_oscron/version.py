"""The version of this program, and the commit of its source.

The installer writes the commit into the package. In a source that runs in place it is read from `.git`, file by file:
root may type `--version`, and git would run programs that the source's owner has configured.
"""

import os
import re

from . import __version__
from .files import open_regular

PACKAGE = os.path.dirname(os.path.abspath(__file__))
COMMIT_FILE = "commit.txt"
COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
"""The name of a commit, by SHA-1 or SHA-256 (gitformat-pack(5))."""
MAX_FILE_CHARS = 16 * 2**20


def version_text(program: str, package: str = PACKAGE) -> str:
    """Return the line that `program` prints for --version; the commit is omitted if it cannot be found."""
    commit = commit_of(package)
    return f"{program} {__version__}" + (f" (commit {commit[:7]})" if commit else "")


def commit_of(package: str) -> str | None:
    return _commit_in(_read(f"{package}/{COMMIT_FILE}")) or _head_of(f"{os.path.dirname(package)}/.git")


def _head_of(git: str) -> str | None:
    """Return the commit that is checked out, by the files of `git` (gitrepository-layout(5))."""
    if os.path.isfile(git):  # a worktree or a submodule
        git = os.path.join(os.path.dirname(git), _read(git).removeprefix("gitdir:").strip())
    head = _read(f"{git}/HEAD").strip()
    if not head.startswith("ref:"):
        return _commit_in(head)
    ref = head.removeprefix("ref:").strip()
    shared = os.path.join(git, _read(f"{git}/commondir").strip())
    for folder in (git, shared):
        if commit := _commit_in(_read(f"{folder}/{ref}")):
            return commit
    packed = (line.partition(" ") for line in _read(f"{shared}/packed-refs").splitlines())
    return next((_commit_in(commit) for commit, _, name in packed if name == ref), None)


def _commit_in(text: str) -> str | None:
    return text.strip() if COMMIT.fullmatch(text.strip()) else None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace", opener=open_regular) as file:
            return file.read(MAX_FILE_CHARS)
    except (OSError, ValueError):
        return ""
