"""Where Hermes lives: the root, the profiles under it, and what each of them calls its own.

`$HERMES_HOME`, else `~/.hermes`, is the profile `default`; the others are in `profiles/<name>/` under it.
Paths are strings here, because the runner is started at every fire and pathlib would cost it 8 ms.
"""

import errno
import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

DEFAULT = "default"
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
"""What a job id or a profile's name looks like; no such name can leave a folder or a unit file."""


class UnknownProfile(LookupError):
    """There is no profile of that name."""


class Home(NamedTuple):
    """The home of one profile."""

    profile: str
    path: str
    root: str

    @property
    def cron_dir(self) -> str:
        return f"{self.path}/cron"

    @property
    def jobs_file(self) -> str:
        return f"{self.path}/cron/jobs.json"

    @property
    def output_dir(self) -> str:
        return f"{self.path}/cron/output"

    @property
    def runs_dir(self) -> str:
        """One file for each run under way, locked by its runner."""
        return f"{self.path}/cron/oscron/runs"

    @property
    def scripts_dir(self) -> str:
        return f"{self.path}/scripts"


def root() -> str:
    """The root of the Hermes installation: `$HERMES_HOME`, which may name a profile, else `~/.hermes`."""
    return _root_and_profile()[0]


def _root_and_profile() -> tuple[str, str | None]:
    path = os.path.abspath(os.path.expanduser(os.environ.get("HERMES_HOME") or "~/.hermes"))
    parent, name = os.path.split(path)
    if os.path.basename(parent) == "profiles":
        return os.path.dirname(parent), name
    return path, None


def state_dir(root: str) -> str:
    """What is ours and belongs to no profile: the token, locks."""
    return f"{root}/cron/oscron"


def profiles(root: str) -> list[str]:
    """The names of all profiles, `default` first."""
    try:
        with os.scandir(f"{root}/profiles") as entries:
            names = sorted(entry.name for entry in entries if NAME.fullmatch(entry.name) and entry.is_dir())
    except FileNotFoundError:
        names = []
    return [DEFAULT, *(name for name in names if name != DEFAULT)]


def active_profile(root: str) -> str:
    """The profile that `$HERMES_HOME` or the file `active_profile` names, else `default`."""
    pinned = _root_and_profile()[1]
    if pinned:
        return pinned
    try:
        with open(f"{root}/active_profile", encoding="utf-8", opener=regular) as file:
            name = file.read().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return DEFAULT
    return name if name in profiles(root) else DEFAULT


def home(root: str, profile: str) -> Home:
    """The home of PROFILE. Raises UnknownProfile with a sentence."""
    if profile == DEFAULT:
        return Home(profile, root, root)
    path = f"{root}/profiles/{profile}"
    if not NAME.fullmatch(profile) or not os.path.isdir(path):
        raise UnknownProfile(f"There is no profile '{profile}' under {root}/profiles.")
    return Home(profile, path, root)


class OutsideScripts(ValueError):
    """A script that is not in its home's scripts folder; scripts run from there alone, as in the agent."""


def script_path(home: Home, script: str) -> str:
    """The real path that SCRIPT, from the scripts folder or absolute, has. Raises OutsideScripts with a sentence."""
    folder = os.path.realpath(home.scripts_dir)
    try:
        path = os.path.realpath(os.path.join(folder, os.path.expanduser(script)))
        inside = os.path.commonpath([folder, path]) == folder != path
    except ValueError:  # a NUL, or what no file's name can hold
        inside = False
    if not inside:
        raise OutsideScripts(f"The script {script!a} is not in {home.scripts_dir}; scripts run from there alone.")
    return path


def instance(profile: str, job_id: str) -> str:
    """How a job is called outside: `default:4f2a9c1d07be`."""
    return f"{profile}:{job_id}"


def split_instance(instance: str) -> tuple[str, str]:
    """The profile and job id of INSTANCE. Raises ValueError with a sentence."""
    profile, colon, job_id = instance.partition(":")
    if not colon or not NAME.fullmatch(profile) or not NAME.fullmatch(job_id):
        raise ValueError(f"'{instance}' is not PROFILE:JOB_ID, like default:4f2a9c1d07be.")
    return profile, job_id


def regular(path: str, flags: int) -> int:
    """An opener for open() that takes regular files alone: a pipe has no end, nor has /dev/zero. Raises OSError."""
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no regular file", path)
    return fd


def timezone(home: Home) -> "ZoneInfo":
    """The zone of HOME's wall-clock times: `$HERMES_TIMEZONE`, else `timezone:` in config.yaml, else the machine's.

    As in the agent, a zone that does not exist counts as none.
    """
    try:
        with open(f"{home.path}/config.yaml", encoding="utf-8", errors="replace", opener=regular) as file:
            return zone_of(file.read())
    except OSError:
        return zone_of("")


def zone_of(configuration: str) -> "ZoneInfo":
    """The zone where CONFIGURATION is what config.yaml holds.

    Of that, one line at the top level is wanted, and a YAML parser costs a fire 40 ms.
    """
    match = re.search(r"""^timezone:[ \t]*(['"]?)([A-Za-z0-9_+/-]+)\1[ \t]*(?:#.*)?$""", configuration, re.M)
    for name in (os.environ.get("HERMES_TIMEZONE", "").strip(), match[2] if match else ""):
        if name and (zone := _zone(name)):
            return zone
    return machine_zone()


def machine_zone() -> "ZoneInfo":
    """The machine's zone, as localtime(5) has it: where the link /etc/localtime points, and UTC without one."""
    target = os.path.realpath("/etc/localtime")
    name = target.partition("/zoneinfo/")[2]
    if not name:
        try:
            with open("/etc/timezone", encoding="utf-8") as file:
                name = file.read().strip()
        except OSError:
            name = ""
    zone = _zone(name or "UTC") or _zone("UTC")
    assert zone
    return zone


def _zone(name: str) -> "ZoneInfo | None":
    from zoneinfo import ZoneInfo  # 4 ms that a fire need not pay before its job starts

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None
