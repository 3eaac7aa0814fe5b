"""Homes that are mounted after the user manager has started at boot: doctor reports them, and its remedy helps."""

import contextlib
import re
from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.machine.box import Box
from tests.machine.sites import Site, add_account, free_port

FUSE = "--bind=/dev/fuse"
SLOW_MOUNTS = """\
printf '[Unit]\\nDefaultDependencies=no\\n[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sleep 8\\n' \
    >/etc/systemd/system/slow.service
mkdir -p /srv/homes /etc/systemd/system/autofs.service.d
printf '[Unit]\\nRequires=slow.service\\nAfter=slow.service\\n' >/etc/systemd/system/autofs.service.d/slow.conf
echo '/net/homes /etc/auto.homes' >>/etc/auto.master
echo '* -fstype=bind :/srv/homes/&' >/etc/auto.homes
for name in ada bob; do
    useradd --create-home --shell /bin/bash $name && mv /home/$name /srv/homes && mkdir /home/$name
done
usermod --home /net/homes/bob bob
echo '/srv/homes/ada /home/ada fuse.bindfs _netdev,nofail,subtype=sshfs,x-systemd.requires=slow.service' >>/etc/fstab
systemctl daemon-reload
systemctl restart autofs.service home-ada.mount
"""
"""`ada` has her home on what looks like sshfs, in /etc/fstab, and `bob` his on autofs(8); both come late at a boot."""


@pytest.fixture
def box() -> Iterator[Box]:
    with contextlib.closing(Box()) as box:
        box.boot(FUSE)
        box.run("apt-get install -y -q --no-install-recommends autofs bindfs")
        box.run(SLOW_MOUNTS)
        yield box


def is_listening(site: Site) -> bool:
    return bool(site.systemctl("is-active hermes-oscron.socket", check=False) == "active\n")


def reboot(box: Box) -> None:
    box.power_off()
    box.boot(FUSE)
    for home in ("/home/ada", "/net/homes/bob"):
        wait_for(lambda home=home: box.run(f"ls {home}/.hermes", check=False).returncode == 0, 30)


def test_a_home_that_is_mounted_after_the_manager_has_started_is_reported_until_it_waits(box: Box) -> None:
    for name in ("ada", "bob"):
        box.run(f"loginctl enable-linger {name}")
    add_account(box, "eve")
    ada, bob, eve = (Site(box, name, free_port()) for name in ("ada", "bob", "eve"))
    for site, settings in ((ada, 'RequiresMountsFor="/home/ada"'), (bob, "After=autofs.service")):
        said = site.administer(f"PORT={site.port} /opt/checkout/install.sh 2>&1").stdout
        for told in (said, site.doctor()[1]):
            assert re.search(rf"may be mounted only after the user manager of {site.user} has started at boot, .* with "
                             rf"the lines \[Unit\] and {re.escape(settings)}\n", told), told
        assert is_listening(site) and site.doctor()[0] == 1
    eve.install()
    assert eve.doctor()[0] == 0
    reboot(box)
    assert [is_listening(site) for site in (ada, bob, eve)] == [False, False, True]
    for site, settings in ((ada, 'RequiresMountsFor="/home/ada"'), (bob, "After=autofs.service")):
        folder = f"/etc/systemd/system/user@{box.run(f'id -u {site.user}').stdout.strip()}.service.d"
        box.put(f"{folder}/override.conf", f"[Unit]\n{settings}\n")
    reboot(box)
    for site in (ada, bob):
        wait_for(lambda site=site: is_listening(site), 30)
        assert site.doctor()[0] == 0, site.doctor()[1]
