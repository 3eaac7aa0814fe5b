"""The fingerprint of an environment: of its source and of all files in it. An intact one is not built again."""

import hashlib
import os
import stat
import sys
from collections.abc import Iterator

from ..version import commit_of
from .ownership import SOURCES, is_roots

FILE = "fingerprint"
"""The file of an environment with the fingerprint that it had when it was built."""


def is_intact(folder: str, source: str, python: str) -> bool:
    """Return True if the environment in `folder` was built from `source` by `python`, and nothing in it has changed.

    Root trusts no environment whose fingerprint others can change.
    """
    try:
        with open(f"{folder}/{FILE}", encoding="ascii") as file:
            built = file.read()
        return built == fingerprint(folder, source, python) and (os.geteuid() != 0 or is_roots(f"{folder}/{FILE}"))
    except (OSError, ValueError):
        return False


def fingerprint(folder: str, source: str, python: str) -> str:
    """Return the SHA-256 of all that the environment in `folder` consists of, in hexadecimal digits. Raises OSError."""
    seen = hashlib.sha256()
    program = os.stat(python)  # an upgrade of Python changes it
    seen.update(repr((os.path.realpath(python), program.st_size, program.st_mtime_ns,
                      commit_of(f"{source}/hermes_oscron"))).encode())
    for name in SOURCES:
        for path, status in _files(f"{source}/{name}", without="__pycache__"):
            seen.update(repr((os.path.relpath(path, source), _content(path, status))).encode())
    owner = os.stat(folder).st_uid
    for path, status in _files(folder):
        if path != f"{folder}/{FILE}" and not _is_compiled_by_another_python(path):
            # Python ignores a compiled module whose source has another time
            seen.update(repr((os.path.relpath(path, folder), status.st_mode, status.st_uid == owner,
                              int(status.st_mtime), _content(path, status))).encode())
    return seen.hexdigest()


def _files(path: str, without: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files and links in the folder `path`, in a fixed order, or `path` itself. Raises OSError.

    Folders with the name `without` are left out, and may be private.
    """
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        yield path, status
        return
    for name in sorted(os.listdir(path)):
        if name != without:
            yield from _files(f"{path}/{name}", without)


def _content(path: str, status: os.stat_result) -> str:
    """Return the target of the link `path`, or the SHA-256 of the content of a file. Raises OSError."""
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for a writer
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_compiled_by_another_python(path: str) -> bool:
    """Return True if another Python, such as an agent's, has compiled the module `path` beside its source."""
    return path.endswith(".pyc") and f".{sys.implementation.cache_tag}." not in os.path.basename(path)
