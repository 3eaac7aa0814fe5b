"""The Hermes homes on disk: the root, the profiles under it, and the folders of each.

`$HERMES_HOME`, else `~/.hermes`, is the profile `default`; the others are in `profiles/<name>/` under it. Paths are
strings here, because the runner is started at every fire and pathlib would cost it 8 ms.
"""

import os
import re
from typing import NamedTuple

from ..errors import OscronError, shortened
from ..files import open_regular
from ..installation import split_home
from ..state import State

DEFAULT_PROFILE = "default"
SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
"""Matches a job id or a profile's name. Such a name is safe in a path and in a unit file."""


class ProfileNotFound(OscronError):
    """There is no profile with that name."""


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
    def runtime_db(self) -> str:
        """The state of the jobs in versions of the agent that keep it apart from jobs.json."""
        return f"{self.path}/cron/runtime.db"

    @property
    def output_dir(self) -> str:
        return f"{self.path}/cron/output"

    @property
    def state(self) -> State:
        """Our own files in this home."""
        return State(self.path)

    @property
    def scripts_dir(self) -> str:
        return f"{self.path}/scripts"


def hermes_root() -> str:
    """Return the root of the Hermes installation: `$HERMES_HOME`, which may name a profile, else `~/.hermes`."""
    return _root_and_profile()[0]


def _root_and_profile() -> tuple[str, str | None]:
    return split_home(os.environ.get("HERMES_HOME") or "~/.hermes")


def profile_names(root: str) -> list[str]:
    """Return the names of all profiles, `default` first."""
    try:
        with os.scandir(f"{root}/profiles") as entries:
            names = sorted(entry.name for entry in entries if SAFE_NAME.fullmatch(entry.name) and entry.is_dir())
    except FileNotFoundError:
        names = []
    return [DEFAULT_PROFILE, *(name for name in names if name != DEFAULT_PROFILE)]


def active_profile(root: str) -> str:
    """Return the profile that `$HERMES_HOME` or the file `active_profile` names, else `default`."""
    pinned = _root_and_profile()[1]
    if pinned:
        return pinned
    try:
        with open(f"{root}/active_profile", encoding="utf-8", opener=open_regular) as file:
            name = file.read().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return DEFAULT_PROFILE
    return name if name in profile_names(root) else DEFAULT_PROFILE


def home_of(root: str, profile: str) -> Home:
    """Return the home of `profile`. Raises ProfileNotFound with a sentence."""
    if profile == DEFAULT_PROFILE:
        return Home(profile, root, root)
    path = f"{root}/profiles/{profile}"
    if not SAFE_NAME.fullmatch(profile) or not os.path.isdir(path):
        raise ProfileNotFound(f"There is no profile '{shortened(profile)}' under {root}/profiles.")
    return Home(profile, path, root)


def execution_home(home: Home, profile: object) -> Home:
    """Return the home in which a job of `home` runs: that of the `profile` in its record, if there is one."""
    try:
        return home_of(home.root, str(profile or home.profile))
    except ProfileNotFound:
        return home


def homes_of(root: str) -> list[Home]:
    """Return the homes of all profiles of `root`, that of `default` first."""
    return [home_of(root, profile) for profile in profile_names(root)]


class ScriptPathError(ValueError):
    """The script is not in its home's scripts folder; as in the agent, scripts run only from there."""


def script_path(home: Home, script: str) -> str:
    """Return the real path of `script`, which is absolute or from the scripts folder. Raises ScriptPathError."""
    folder = os.path.realpath(home.scripts_dir)
    try:
        path = os.path.realpath(os.path.join(folder, os.path.expanduser(script)))
        inside = os.path.commonpath([folder, path]) == folder != path
    except ValueError:  # a NUL, or a character that no file name can have
        inside = False
    if not inside:
        raise ScriptPathError(f"The script {script!a} is not in {home.scripts_dir}; scripts run from there alone.")
    return path


def instance_name(profile: str, job_id: str) -> str:
    """Return the name of a job outside of its home: `default:4f2a9c1d07be`."""
    return f"{profile}:{job_id}"


def split_instance(instance: str) -> tuple[str, str]:
    """Return the profile and job id of `instance`. Raises ValueError with a sentence."""
    profile, colon, job_id = instance.partition(":")
    if not colon or not SAFE_NAME.fullmatch(profile) or not SAFE_NAME.fullmatch(job_id):
        raise ValueError(f"'{instance}' is not PROFILE:JOB_ID, like default:4f2a9c1d07be.")
    return profile, job_id
