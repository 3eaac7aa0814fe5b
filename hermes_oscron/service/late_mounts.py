"""Finds folders that are mounted only after the user manager of an account has started at boot: for doctor.

An account's own installation relies on that manager, which looks for its units once, when it starts.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..install.units import quoted
from ..schedulers.systemd.systemctl import Systemctl
from .findings import WARNING, Finding

NETWORK = ("afs", "ceph", "cifs", "davfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs",
           "sshfs")
"""File systems whose mounts systemd orders before remote-fs.target (its fstype_is_network())."""
ENCRYPTED = ("cryfs", "ecryptfs", "encfs", "gocryptfs")
USER_SESSIONS, REMOTE = "systemd-user-sessions.service", "remote-fs.target"
"""A user manager starts after the first, which starts after the second."""
AUTOFS = "autofs.service"


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo (proc_pid_mountinfo(5))."""

    point: str
    root: str
    type: str
    """Without the prefix `fuse.`."""
    source: str

    def has(self, path: str) -> bool:
        return path == self.point or path.startswith(f"{self.point.rstrip('/')}/")


def read_mounts(text: str) -> list[Mount]:
    """Return the mounts in `text`, the content of mountinfo."""
    found = []
    for line in text.splitlines():
        where, _, what = line.partition(" - ")
        root, point = (_unescaped(field) for field in where.split(" ")[3:5])
        kind, source = (_unescaped(field) for field in what.split(" ")[:2])
        found.append(Mount(point, root, kind.removeprefix("fuse."), source))
    return found


def late_mount(folders: Sequence[str], mounts: Sequence[Mount], name: str, uid: int, system: Systemctl,
               in_container: bool) -> Finding | None:
    """Return a finding about the first of `folders` that may be missing when the manager of the account `name` starts.

    `system` is the system's manager. In a container, a mount without a unit file is one of the container, made before
    it boots. Raises SchedulerError.
    """
    for folder in folders:
        way = [mount for mount in mounts if mount.has(os.path.realpath(folder)) and mount.point != "/"]
        if not way:
            continue
        mount = max(reversed(way), key=lambda each: len(each.point))  # of two on one point, the later one
        if (remedy := _remedy(mount, way, name, uid, system, in_container)) is not None:
            return Finding(WARNING, mount.point, f"{folder} is on {mount.source} ({mount.type}), which may be mounted "
                                                 f"only after the user manager of {name} has started at boot, and then "
                                                 f"no job fires. {remedy}")
    return None


def _remedy(mount: Mount, way: Sequence[Mount], name: str, uid: int, system: Systemctl, in_container: bool
            ) -> str | None:
    """Return what to do if `mount`, the last on `way`, may come too late; None if it does not."""
    if mount.type in ENCRYPTED or mount.source == f"/dev/mapper/home-{name}" or mount.root.endswith(f"/{name}.homedir"):
        # the last two are those of systemd-homed(8)
        return None if in_container else (
                f"A login opens it. Root can install for {name} in a folder that is there at boot, after this "
                f"installation is removed: HERMES_HOME=/srv/hermes ./install.sh --account {name}")
    automounts = [each.source for each in way if each.type == "autofs"]
    is_automounted = any(not source.startswith("systemd-") for source in automounts)
    if (automounts and not is_automounted) or not (is_automounted or mount.type in NETWORK):
        return None  # systemd's own automounts are there before any manager of an account
    manager, unit = f"user@{uid}.service", _mount_unit(mount.point)
    shown = system.properties([manager, unit], ["After", "Before", "FragmentPath", "RequiredBy", "WantedBy"])
    after, of_mount = shown[manager].get("After", "").split(), shown[unit]
    edit = f"As root: 'systemctl edit {manager}', with the lines [Unit] and"
    if is_automounted:
        return None if AUTOFS in after else f"{edit} After={AUTOFS}"
    if not of_mount.get("FragmentPath"):
        return None if in_container else f"Mount {mount.point} by /etc/fstab, without noauto and nofail."
    is_started = bool(of_mount.get("RequiredBy") or of_mount.get("WantedBy"))
    is_before = REMOTE in of_mount.get("Before", "").split() and bool({USER_SESSIONS, REMOTE} & set(after))
    if unit in after or (is_started and is_before):
        return None
    return f"{edit} RequiresMountsFor=\"{quoted(mount.point)}\""


def _mount_unit(point: str) -> str:
    """Return the name of the unit of the mount at `point` (systemd.unit(5), string escaping)."""
    escaped = re.sub(rb"^\.|[^A-Za-z0-9:_./]", lambda match: b"\\x%02x" % ord(match[0]),
                     os.fsencode(point.strip("/")))
    return f"{escaped.decode('ascii').replace('/', '-')}.mount"


def _unescaped(field: str) -> str:
    """Return `field` without the octal escapes of mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
