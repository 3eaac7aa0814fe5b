"""An account's jobs, read as that account: no link is followed, nothing is waited for, and all has an end."""

import contextlib
import datetime
import os
import pwd
import stat
from collections.abc import Iterator
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ..hermes import homes, store
from ..hermes.homes import DEFAULT, NAME, Home
from ..schedule.errors import ScheduleError
from ..schedulers.plan import Plan, plan_of

LARGEST_JOBS = 16 * 1024 * 1024
LARGEST_CONFIG = 1024 * 1024
"""Bytes."""
MOST_PROFILES = 200
MOST_JOBS = 10_000
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Jobs(NamedTuple):
    """How jobs are to be armed, by instance, and what could not be taken, by profile or instance, and why."""

    plans: dict[str, Plan]
    refused: dict[str, str]


@contextlib.contextmanager
def as_account(account: pwd.struct_passwd) -> Iterator[None]:
    """Be ACCOUNT when files are opened; it can still send us no signal, since we are root by our real uid."""
    ours = os.getgroups()
    os.setgroups(os.getgrouplist(account.pw_name, account.pw_gid))
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(ours)


def profiles(root: str) -> list[str]:
    """The names of the profiles under ROOT."""
    names = []
    with contextlib.suppress(FileNotFoundError), _folder(root, "profiles") as folder, os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries
                       if NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False))
    return [DEFAULT, *(name for name in names if name != DEFAULT)][:MOST_PROFILES]


def of_profile(root: str, profile: str, now: datetime.datetime, only: frozenset[str] | None = None) -> Jobs:
    """How the jobs of PROFILE, or ONLY those of some ids, are to be armed at NOW. Raises OSError, StoreError."""
    folders = () if profile == DEFAULT else ("profiles", profile)
    path = "/".join((root, *folders))
    home = Home(profile, path, root)
    content = _content(root, *folders, "cron", "jobs.json", most=LARGEST_JOBS)
    zone = homes.zone_of(_content(root, *folders, "config.yaml", most=LARGEST_CONFIG).decode("utf-8", "replace"))
    jobs = Jobs({}, {})
    for record in store.records_in(content, home.jobs_file) if content else []:
        if only is None or record["id"] in only:
            _take(jobs, home, record, zone, now)
    return jobs


def _take(jobs: Jobs, home: Home, record: store.Record, zone: ZoneInfo, now: datetime.datetime) -> None:
    instance = homes.instance(home.profile, record["id"])
    try:
        plan = plan_of(home, record, zone, now)
    except ScheduleError:
        return  # no schedule: what clients are shown, and no timer
    except Exception as error:  # whatever a record can hold, the others are armed
        jobs.refused[instance] = f"Its record cannot be used: {type(error).__name__}."
        return
    if plan:
        jobs.plans[instance] = plan


def _content(root: str, *names: str, most: int) -> bytes:
    """What is in the file of NAMES under ROOT; nothing where there is none. Raises OSError."""
    *folders, name = names
    try:
        with _folder(root, *folders) as folder:
            fd = os.open(name, FILE, dir_fd=folder)
    except FileNotFoundError:
        return b""
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{name} is no file.")
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(f"{name} has more than {most} bytes.")
    return content


@contextlib.contextmanager
def _folder(root: str, *names: str) -> Iterator[int]:
    """The folder of NAMES under ROOT, opened. Raises OSError, also where one of NAMES is a link."""
    fd = os.open(root, FOLDER & ~os.O_NOFOLLOW)
    try:
        for name in names:
            inner = os.open(name, FOLDER, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)
