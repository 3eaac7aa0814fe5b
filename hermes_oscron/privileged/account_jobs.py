"""Read an account's jobs as that account: follow no link, wait for nothing, and bound every size."""

import contextlib
import datetime
import errno
import os
import pwd
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ..barrier import use_each
from ..hermes import job_store
from ..hermes.home import DEFAULT_PROFILE, SAFE_NAME, Home
from ..hermes.timezone import choose_zone
from ..schedulers.plan import plan_of
from ..schedulers.protocol import Plan
from ..state import State
from .protocol import IS_LINK

MAX_JOBS_FILE_BYTES = 16 * 1024 * 1024
MAX_CONFIG_BYTES = 1024 * 1024
MAX_PROFILES = 200
MAX_JOBS = 10_000
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class PlannedJobs(NamedTuple):
    """The plans of the jobs to arm, and the reasons for those that cannot be planned, by instance."""

    plans: dict[str, Plan]
    unusable: dict[str, str]


@contextlib.contextmanager
def as_account(account: pwd.struct_passwd) -> Iterator[None]:
    """Open files as `account` within the block. The real uid stays root's, so the account can send no signal."""
    groups = os.getgroups()
    os.setgroups(os.getgrouplist(account.pw_name, account.pw_gid))
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def profile_names(root: str) -> list[str]:
    """Return the names of the profiles under `root`, `default` first."""
    names = []
    with (contextlib.suppress(FileNotFoundError), _open_folder(root, "profiles") as folder,
          os.scandir(folder) as entries):
        names = sorted(entry.name for entry in entries
                       if SAFE_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False))
    return [DEFAULT_PROFILE, *(name for name in names if name != DEFAULT_PROFILE)][:MAX_PROFILES]


def plan_profile(root: str, profile: str, now: datetime.datetime, job_ids: frozenset[str]) -> PlannedJobs:
    """Plan the jobs `job_ids` of `profile` at `now`, none while they are disarmed. Raises OSError, StateFileError."""
    if _exists(root, "cron", "oscron", os.path.basename(State(root).disarmed)):
        return PlannedJobs({}, {})
    folders = () if profile == DEFAULT_PROFILE else ("profiles", profile)
    home = Home(profile, "/".join((root, *folders)), root)
    content = _read_file(root, *folders, "cron", "jobs.json", max_bytes=MAX_JOBS_FILE_BYTES)
    config_yaml = _read_file(root, *folders, "config.yaml", max_bytes=MAX_CONFIG_BYTES)
    env_file = _read_file(root, *folders, ".env", max_bytes=MAX_CONFIG_BYTES)
    zone = choose_zone(env_file, config_yaml, home.path).zone
    jobs = {job.instance: job for job in job_store.parse(content, home, zone) if job.id in job_ids} if content else {}
    plans, unusable = use_each(jobs, lambda job: plan_of(job, now))
    return PlannedJobs({instance: plan for instance, plan in plans.items() if plan}, unusable)


def _exists(root: str, *names: str) -> bool:
    """Return True if there is a file, of any kind, at the path `names` under `root`. Raises OSError."""
    *folders, name = names
    try:
        with _open_folder(root, *folders) as folder:
            os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _read_file(root: str, *names: str, max_bytes: int) -> bytes:
    """Return the content of the file at the path `names` under `root`, empty if there is none. Raises OSError."""
    *folders, name = names
    try:
        with _open_folder(root, *folders) as folder:
            fd = _open(name, FILE_FLAGS, folder)
    except FileNotFoundError:
        return b""
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{name} is not a regular file.")
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(f"{name} has more than {max_bytes} bytes.")
    return content


def _open(name: str, flags: int, folder: int) -> int:
    """Open `name` in `folder`. Raises OSError, with IS_LINK as its reason for a link."""
    try:
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and stat.S_ISLNK(
                os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, IS_LINK, name) from None
        raise


@contextlib.contextmanager
def _open_folder(root: str, *names: str) -> Iterator[int]:
    """Open the folder at the path `names` under `root`. Raises OSError, also if one of `names` is a link."""
    fd = os.open(root, FOLDER_FLAGS & ~os.O_NOFOLLOW)
    try:
        for name in names:
            inner = _open(name, FOLDER_FLAGS, fd)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)
