"""Find faults of this machine by which jobs are not fired, or changes not noticed, without any error: for doctor."""

import ctypes
import datetime
import errno
import os
import pwd
import re
import subprocess

from ..account import uses_privileged_helper
from ..config import Config
from ..hermes.home import Home, hermes_root
from ..install.manager import BOOTED
from ..install.target import own_layout
from ..runner.command import job_path
from ..runner.environment import NoExecutor
from ..schedulers.crontab.scheduler import Crontab
from ..schedulers.protocol import Scheduler
from ..schedulers.systemd.scheduler import Systemd
from ..schedulers.systemd.systemctl import Systemctl, own_systemctl
from .findings import PROBLEM, WARNING, Finding
from .late_mounts import late_mount, read_mounts

LINGER = "/var/lib/systemd/linger"
"""It has a file for each account whose manager runs from boot on (loginctl(1))."""
CONTAINER = "/run/systemd/container"
"""It exists in a container, whose clock is the host's (systemd, Container Interface)."""
WAIT_SYNC = "systemd-time-wait-sync.service"
MOUNTINFO = "/proc/self/mountinfo"
CHAGE_TIMEOUT_S = 10.0
EXPIRED = re.compile(r"^(Account|Password) expires\s*: (\w{3} \d{2}, \d{4}|password must be changed)$", re.M)
"""The lines of chage(1) that have a date."""
ADJTIMEX_BYTES = 512
"""More than the size of `struct timex` (adjtimex(2))."""
TIME_ERROR = 5
"""The answer of adjtimex(2) if the clock is not synchronized."""


def surroundings(scheduler: Scheduler) -> list[Finding]:
    """Return what is wrong with the machine around `scheduler`. Raises SchedulerError."""
    found: list[Finding | None] = []
    if scheduler.kind == Systemd.kind:
        systemctl = own_systemctl()
        found = [waits_for_clock(systemctl)] if not systemctl.user else [no_linger() or home_after_boot(), no_inotify()]
    if scheduler.kind == Crontab.kind or (scheduler.kind == Systemd.kind and not uses_privileged_helper()):
        found.append(expired_account(scheduler.kind, chage()))
    if scheduler.kind in (Systemd.kind, Crontab.kind):
        found.append(unsynchronized_clock())
    return [each for each in found if each]


def no_linger() -> Finding | None:
    """Return a finding if the user manager of this account runs only while the account is logged in."""
    name = pwd.getpwuid(os.getuid()).pw_name
    if os.path.exists(f"{LINGER}/{name}"):
        return None
    return Finding(WARNING, "linger", f"The jobs fire only while {name} is logged in, because its user manager ends "
                                      f"then. 'loginctl enable-linger {name}' changes that.")


def home_after_boot() -> Finding | None:
    """Return a finding if a folder of this account's own installation may be mounted after its user manager starts.

    Raises SchedulerError.
    """
    try:
        with open(MOUNTINFO, encoding="utf-8", errors="surrogateescape") as file:
            mounts = read_mounts(file.read())
    except OSError:  # /proc is not mounted
        return None
    places = own_layout(os.environ)
    return late_mount([places.units, places.prefix, hermes_root()], mounts, pwd.getpwuid(os.getuid()).pw_name,
                      os.getuid(), Systemctl(user=False), os.path.exists(CONTAINER))


def no_inotify() -> Finding | None:
    """Return a finding if this account has no inotify instance or watch left, which path units need (inotify(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    try:
        failed = fd < 0 or libc.inotify_add_watch(fd, b"/", 0x200) < 0  # IN_DELETE
        limit = {errno.EMFILE: "max_user_instances", errno.ENOSPC: "max_user_watches"}.get(ctypes.get_errno())
    finally:
        if fd >= 0:
            os.close(fd)
    if not failed or not limit:
        return None
    return Finding(WARNING, "inotify", f"This account has used up fs.inotify.{limit}, so a change of jobs.json by "
                                       f"another program may be armed only by the hourly sync. Raise the limit by "
                                       f"sysctl(8).")


def waits_for_clock(systemctl: Systemctl) -> Finding | None:
    """Return a finding if systemd starts no timer before the clock is synchronized. Raises SchedulerError."""
    if systemctl.properties([WAIT_SYNC], ["ActiveState"])[WAIT_SYNC].get("ActiveState") != "activating":
        return None
    return Finding(PROBLEM, WAIT_SYNC, f"No timer that was armed since boot fires, because {WAIT_SYNC} waits until the "
                                       f"clock is synchronized. 'timedatectl timesync-status' shows why it is not.")


def unsynchronized_clock() -> Finding | None:
    """Return a finding if no program keeps the clock of this machine; in a container it is the host's."""
    if os.path.exists(CONTAINER) or _clock_state() != TIME_ERROR:
        return None
    remedy = ("'timedatectl set-ntp true' synchronizes it." if os.path.isdir(BOOTED) else
              "A client of NTP, such as chrony, synchronizes it.")
    return Finding(WARNING, "clock", f"The clock of this machine is not synchronized, so jobs may fire early or late. "
                                     f"{remedy}")


def _clock_state() -> int:
    """Return the answer of adjtimex(2), which changes nothing here."""
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(ADJTIMEX_BYTES))
    return state


def chage() -> str:
    """Return what chage(1) prints of this account; "" if it cannot be started."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        told = subprocess.run(["chage", "-l", pwd.getpwuid(os.getuid()).pw_name], env=environment, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=CHAGE_TIMEOUT_S, check=False)
    except (OSError, KeyError, subprocess.SubprocessError):  # KeyError: the account has no name
        return ""
    return told.stdout


def expired_account(kind: str, shown: str) -> Finding | None:
    """Return a finding if the account or its password has expired by `shown`, the output of chage(1).

    PAM then refuses cron and user managers, which start without an error that anyone sees (pam_unix(8)).
    """
    now = datetime.datetime.now()
    for what, date in EXPIRED.findall(shown):
        if date.startswith("password") or datetime.datetime.strptime(date, "%b %d, %Y") <= now:
            name = pwd.getpwuid(os.getuid()).pw_name
            effect = ("so cron runs none of its jobs" if kind == Crontab.kind else
                      "so its user manager cannot start at the next boot")
            remedy = f"chage -E -1 {name}" if what == "Account" else f"passwd {name}"
            return Finding(PROBLEM if kind == Crontab.kind else WARNING, "account",
                           f"The {what.lower()} of {name} has expired, {effect}. As root: {remedy}")
    return None


def bad_path(home: Home, settings: Config) -> Finding | None:
    """Return a finding if the PATH that a file sets for the jobs of `home` has a folder that cannot be used."""
    try:
        path, source = job_path(home, settings)
    except NoExecutor:
        return None  # reported with the jobs
    if not source.endswith((".env", ".toml")):
        return None
    bad = [folder for folder in path.split(":") if not os.access(folder or ".", os.R_OK | os.X_OK)]
    if not bad:
        return None
    return Finding(WARNING, home.profile, f"{home.profile}: the PATH of {source} has {bad[0]}, which is not there or "
                                          f"closed to this account. Correct it there.")
