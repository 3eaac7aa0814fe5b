"""Find files and folders of a home that this account cannot use, and a disk that is full: for doctor.

Folders are tried by a file without a name, because a mode shows neither a quota nor a file system that is read-only.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping

from ..barrier import use_each
from ..errors import cause
from ..files import open_regular
from ..hermes.home import DEFAULT_PROFILE, Home
from ..jobs.model import Job
from ..runs.queue import LOCK
from .findings import PROBLEM, WARNING, Finding

NEEDED_BYTES = 64 * 1024
"""With less room than this, beside that for another jobs.json, the disk counts as full."""
MAX_TOKEN_BYTES = 1000
WITHOUT_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR)
"""The errors of open(2) if the file system, or the kernel, does not have O_TMPFILE."""
OF_FILE_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""The errors that all folders of a file system have together."""


def unusable_files(home: Home, jobs: Mapping[str, Job]) -> list[Finding]:
    """Return the files and folders of `home`, and of its `jobs`, that this account cannot read or write."""
    return [*_unwritable_folders(home), *_unusable_files(home), *_unwritable_outputs(home, jobs)]


def _unwritable_folders(home: Home) -> Iterator[Finding]:
    needed = NEEDED_BYTES
    with contextlib.suppress(OSError):  # it is missing, or reported already
        needed += os.stat(home.jobs_file).st_size
    reported = set[object]()
    for folder, severity, effect in (
            (home.cron_dir, PROBLEM, "Until then no job can be changed, and no run is recorded."),
            (home.state.folder, PROBLEM, "Until then no job starts."),
            (home.state.runs, PROBLEM, "Until then no job starts."),
            (home.state.requests, WARNING, "Until then no job can be run by hand."),
            *((queue, PROBLEM, "Until then no run starts that may have to wait for its turn.")
              for queue in (home.state.queue, home.state.shared_queue)),
            (home.output_dir, WARNING, "Until then no output is saved.")):
        while not os.path.lexists(folder):
            folder = os.path.dirname(folder)
        error = _why_unwritable(folder, needed)
        kind = (error.errno, os.stat(folder).st_dev) if error and error.errno in OF_FILE_SYSTEM else folder
        if error and kind not in reported:
            reported.add(kind)
            yield Finding(severity, home.profile,
                          f"{home.profile}: {folder} cannot be written: {cause(error)} {effect}")


def _unusable_files(home: Home) -> Iterator[Finding]:
    state, is_root = home.state, home.profile == DEFAULT_PROFILE
    locks = [f"{home.cron_dir}/.jobs.lock", f"{state.queue}/{LOCK}"] + [
        f"{state.shared_queue}/{LOCK}", state.command_lock, state.sessions_lock] * is_root
    for path in locks:
        if (error := _why_unopenable(path, os.O_RDWR)) and error.errno not in OF_FILE_SYSTEM:
            yield Finding(PROBLEM, home.profile, f"{path} cannot be opened: {_remedied(error)}")
    error = _why_unopenable(home.jobs_file, os.O_RDWR)
    if error and error.errno in (errno.EPERM, errno.EROFS) and not _why_unwritable(home.cron_dir):
        # it is immutable (chattr(1)), or mounted alone; any other file can be replaced, with any mode
        yield Finding(PROBLEM, home.profile, f"{home.jobs_file} cannot be written: {cause(error)}")
    for path, effect in [(f"{home.path}/.env", "Its variables, such as the time zone, are not used."),
                         (f"{home.path}/config.yaml", "Its settings, such as the time zone, are not used."),
                         *[(f"{home.root}/active_profile", "Commands and calls that name no profile fail."),
                           (state.token, "No client of the API is served. Once the file is removed, 'hermes-oscron "
                                         "token' makes a new token."),
                           (state.sessions, "Browsers cannot log in. It can be removed, which ends all logins.")
                           ] * is_root]:
        if error := _why_unopenable(path, os.O_RDONLY):
            yield Finding(WARNING, home.profile, f"{path} cannot be read: {_remedied(error)} {effect}")
    if is_root and (fault := _token_fault(state.token)):
        yield Finding(WARNING, home.profile, f"{state.token} {fault}. 'hermes-oscron token --rotate' makes a new one.")


def _token_fault(path: str) -> str | None:
    """Return the fault of the token at `path`, the predicate of a sentence; None if it has none or cannot be read."""
    try:
        with open(path, "rb", opener=open_regular) as file:
            content = file.read(MAX_TOKEN_BYTES).strip()
            mode = os.fstat(file.fileno()).st_mode
        if not content or not content.isascii():
            return "is not a token, so no client of the API is served"
        folders = [os.path.realpath(path)]
        while folders[-1] != "/":
            folders.append(os.path.dirname(folders[-1]))
        is_exposed = mode & stat.S_IROTH and all(os.stat(folder).st_mode & stat.S_IXOTH for folder in folders[1:])
        return "can be read by other accounts, which can then run code as this one" if is_exposed else None
    except OSError:
        return None


def _unwritable_outputs(home: Home, jobs: Mapping[str, Job]) -> Iterator[Finding]:
    def fault(job: Job) -> Finding | None:
        folder = f"{home.output_dir}/{job.id}"
        error = _why_unwritable(folder) if job.is_scheduled and os.path.lexists(folder) else None
        if not error or error.errno in OF_FILE_SYSTEM:  # those are reported with the folder of all outputs
            return None
        return Finding(WARNING, job.instance, f"{job.instance}: {folder} cannot be written: {cause(error)} Until then "
                                              f"no output of the job is saved.")

    found, _ = use_each(jobs, fault)  # doctor reports records that cannot be used
    yield from filter(None, found.values())


def _why_unwritable(folder: str, needed_bytes: int = 0) -> OSError | None:
    """Return why no file of `needed_bytes` can be made in `folder`; None if one can. Leaves nothing there."""
    try:
        fd = _nameless_file(folder)
        try:
            if needed_bytes:
                os.posix_fallocate(fd, 0, needed_bytes)
        finally:
            os.close(fd)
    except OSError as error:
        return error if error.errno != errno.EOPNOTSUPP else None  # posix_fallocate(3): a C library need not emulate it
    return None


def _nameless_file(folder: str) -> int:
    """Return the descriptor of a new file in `folder` that has no name, or no longer has one. Raises OSError."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in WITHOUT_TMPFILE:
            raise
    path = f"{folder}/.doctor.{os.getpid()}.tmp"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd


def _why_unopenable(path: str, flags: int) -> OSError | None:
    """Return why the file at `path` cannot be opened; None if it can, is missing, or is in a folder that is closed.

    Such a folder is reported itself.
    """
    try:
        os.close(open_regular(path, flags))
    except FileNotFoundError:
        return None
    except OSError as error:
        with contextlib.suppress(PermissionError):
            os.lstat(path)
            return error
    return None


def _remedied(error: OSError) -> str:
    """Return the cause of `error`, with a remedy also if a folder or a pipe is there instead of a file."""
    return f"{cause(error)} Move it away." if error.errno in (errno.EINVAL, errno.EISDIR) else cause(error)
