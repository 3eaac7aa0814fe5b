"""The owners of files: root must neither run nor install a file that the account of the jobs can change."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator

from .processes import Account

SOURCES = ("install.sh", "pyproject.toml", "README.md", "LICENSE", "requirements.lock", "units", "hermes_oscron",
           "docs/man")
"""The files and folders of the source that the installer reads."""


def changeable_by(account: Account, source: str) -> str | None:
    """Return a file or folder of `source`, or a folder above it, that `account` can change; None if there is none."""
    groups = set(account.groups)

    def changes(status: os.stat_result) -> bool:
        return bool(status.st_uid == account.uid or status.st_mode & stat.S_IWOTH
                    or (status.st_mode & stat.S_IWGRP and status.st_gid in groups))

    for path in _files_of(source):
        status = os.lstat(path)
        if not stat.S_ISLNK(status.st_mode) and changes(status):
            return path
    folder = source
    while True:
        status = os.lstat(folder)
        # in a folder of root's with the sticky bit, like /tmp, an account cannot rename files of others
        if changes(status) and not (status.st_uid == 0 and status.st_mode & stat.S_ISVTX):
            return folder
        if folder == "/":
            return None
        folder = os.path.dirname(folder)


def is_roots(path: str) -> bool:
    """Return True if only root can change the target of `path`, and every folder and link on the way."""
    return part_of_others(path) is None


def part_of_others(path: str) -> str | None:
    """Return the first folder, link or file on the way to the target of `path` that others than root can change.

    A part that is missing can be created by root alone.
    """
    left, at, links = [part for part in path.split("/") if part], "/", 0
    while True:
        try:
            status = os.lstat(at)
        except FileNotFoundError:
            return None
        except OSError:
            return at
        is_link = stat.S_ISLNK(status.st_mode)
        if status.st_uid != 0 or (not is_link and _others_may_write(status)):
            return at
        if is_link:
            links += 1
            if links > 40:  # as path_resolution(7)
                return at
            target = os.readlink(at)
            left = [part for part in target.split("/") if part] + left
            at = "/" if target.startswith("/") else os.path.dirname(at)
        if not left:
            return None
        part = left.pop(0)
        at = os.path.dirname(at) if part == ".." else at if part == "." else os.path.join(at, part)


def _others_may_write(status: os.stat_result) -> bool:
    """Return True if `status` allows others than root to write.

    A group without members does not count: `/usr/local` of older Debian machines belongs to such a group, `staff`.
    """
    if status.st_mode & stat.S_IWOTH:
        return True
    if not status.st_mode & stat.S_IWGRP:
        return False
    try:
        members = {pwd.getpwnam(name).pw_uid for name in grp.getgrgid(status.st_gid).gr_mem}
    except KeyError:
        return True
    return bool((members | {entry.pw_uid for entry in pwd.getpwall() if entry.pw_gid == status.st_gid}) - {0})


def _files_of(source: str) -> Iterator[str]:
    for name in SOURCES:
        top = f"{source}/{name}"
        if os.path.lexists(top):
            yield top
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if name != "__pycache__"]
            yield from (f"{folder}/{name}" for name in [*folders, *files])
