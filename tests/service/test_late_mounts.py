"""A home that is mounted after the user manager of its account has started: where it is true, and where it is not."""

from collections.abc import Sequence

import pytest

from hermes_oscron.schedulers.systemd.systemctl import Systemctl
from hermes_oscron.service.findings import WARNING, Finding
from hermes_oscron.service.late_mounts import late_mount, read_mounts

ROOT = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
SESSIONS = "dbus.service systemd-user-sessions.service"
"""Units after which every user manager starts (systemd.exec(5), PAMName=)."""


class Shows(Systemctl):
    """The system's manager, which shows `manager` of a user manager and `mount` of a mount."""

    def __init__(self, manager: dict[str, str], mount: dict[str, str]) -> None:
        super().__init__(user=False)
        self._manager, self._mount = manager, mount
        self.asked: list[str] = []

    def properties(self, units: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, str]]:
        self.asked += units
        return {unit: self._mount if unit.endswith(".mount") else self._manager for unit in units}


def found(mounts: str, after: str = SESSIONS, folder: str = "/home/ada/.hermes", in_container: bool = False,
          **mount: str) -> Finding | None:
    return late_mount([folder], read_mounts(ROOT + mounts), "ada", 1001, Shows({"After": after}, mount),
                      in_container)


def line(kind: str, source: str = "server:/export", point: str = "/home/ada", root: str = "/") -> str:
    return f"636 27 0:106 {root} {point} rw,nosuid shared:230 - {kind} {source} rw,user_id=0\n"


FSTAB = {"FragmentPath": "/run/systemd/generator/home-ada.mount"}
NOFAIL = {**FSTAB, "WantedBy": "remote-fs.target", "Before": "umount.target"}
IN_TIME = {**FSTAB, "RequiredBy": "remote-fs.target", "Before": "remote-fs.target umount.target"}


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs", "ceph", "fuse.glusterfs"])
def test_a_network_home_that_no_target_waits_for_is_a_warning(kind: str) -> None:
    late = found(line(kind), **NOFAIL)
    assert late and late.severity == WARNING and late.subject == "/home/ada"
    assert late.sentence == (
        f"/home/ada/.hermes is on server:/export ({kind.removeprefix('fuse.')}), which may be mounted only after the "
        f"user manager of ada has started at boot, and then no job fires. As root: 'systemctl edit user@1001.service', "
        f"with the lines [Unit] and RequiresMountsFor=\"/home/ada\"")
    noauto = found(line(kind), **FSTAB, Before="remote-fs.target")
    assert noauto and "RequiresMountsFor=" in noauto.sentence
    by_hand = found(line(kind))
    assert by_hand and by_hand.sentence.endswith("Mount /home/ada by /etc/fstab, without noauto and nofail.")


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs"])
def test_a_network_home_that_is_mounted_before_user_managers_start_is_not_reported(kind: str) -> None:
    assert found(line(kind), **IN_TIME) is None
    assert found(line(kind), after=f"{SESSIONS} home-ada.mount", **NOFAIL) is None  # by RequiresMountsFor=
    assert found(line("autofs", "systemd-1") + line(kind), **FSTAB) is None  # x-systemd.automount
    assert found(line(kind, point="/home/adam"), **NOFAIL) is None
    assert found(line(kind, point="/"), **NOFAIL) is None


def test_a_home_of_autofs_is_a_warning_until_the_manager_waits_for_it() -> None:
    for mounts in (line("autofs", "/etc/auto.home", "/home"), line("autofs", "/etc/auto.home", "/home") + line("nfs4"),
                   line("autofs", "/etc/auto.home", "/home") + line("ext4", "/dev/vda")):
        late = found(mounts, **IN_TIME)
        assert late and late.sentence.endswith("'systemctl edit user@1001.service', with the lines [Unit] and "
                                               "After=autofs.service")
        assert found(mounts, after=f"{SESSIONS} autofs.service") is None


@pytest.mark.parametrize("mount", [
    line("ecryptfs", "/home/.ecryptfs/ada/.Private"), line("fuse.gocryptfs", "/srv/ada.enc"),
    line("fuse.encfs", "encfs"), line("ext4", "/dev/mapper/home-ada"),
    line("ext4", "/dev/vda", root="/home/ada.homedir"),
    line("btrfs", "/dev/vda", root="/@/home/ada.homedir")])
def test_a_home_that_a_login_opens_is_a_warning(mount: str) -> None:
    late = found(mount)
    assert late and late.sentence.endswith(
        "A login opens it. Root can install for ada in a folder that is there at boot, after this installation is "
        "removed: HERMES_HOME=/srv/hermes ./install.sh --account ada")


@pytest.mark.parametrize("mount", ["", line("ext4", "/dev/mapper/vg-home"), line("xfs", "/dev/vdb", "/home"),
                                   line("ext4", "/dev/mapper/home-adam"), line("nfs4", point="/home/eve"),
                                   line("ecryptfs") + line("ext4", "/dev/vdb")])
def test_a_home_on_a_disk_of_the_machine_is_not_reported(mount: str) -> None:
    assert found(mount) is None


def test_in_a_container_only_its_own_mounts_can_be_late() -> None:
    for kind in ("nfs4", "ecryptfs"):
        assert found(line(kind)) and found(line(kind), in_container=True) is None
    assert found(line("nfs4"), in_container=True, **NOFAIL)


def test_every_folder_is_checked_and_the_name_of_the_mount_is_escaped() -> None:
    mounts = read_mounts(ROOT + line("nfs4", point=r"/data/a\040b-c"))
    system = Shows({"After": SESSIONS}, NOFAIL)
    late = late_mount(["/home/ada/.config", "/data/a b-c/hermes"], mounts, "ada", 1001, system, False)
    assert late and late.subject == "/data/a b-c" and late.sentence.endswith('RequiresMountsFor="/data/a b-c"')
    assert system.asked == ["user@1001.service", r"data-a\x20b\x2dc.mount"]
