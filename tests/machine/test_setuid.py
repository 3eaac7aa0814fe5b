"""Setuid programs in jobs of an installation by root: none by default, and all with the drop-in docs/setuid.conf."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.machine.box import INSIDE, Box
from tests.machine.sites import SystemSite, free_port

SECRET = "only for daemon"
SCRIPT = "/opt/setuid-id -u; /opt/setuid-cat /opt/secret; echo end"


@pytest.fixture(scope="module")
def site() -> Iterator[SystemSite]:
    with contextlib.closing(Box()) as box:
        box.boot()
        site = SystemSite(box, "hermes", free_port())
        site.install()
        box.run("for name in id cat; do cp /usr/bin/$name /opt/setuid-$name; chmod 4755 /opt/setuid-$name; done")
        box.run(f"echo {SECRET} >/opt/secret; chown daemon /opt/secret; chmod 600 /opt/secret")
        yield site


def output(site: SystemSite, job_id: str) -> list[str]:
    """Run `job_id` and return the lines of its last output."""
    site.run(f"rm -rf {site.hermes}/cron/output/{job_id}")
    site.box.run(f"hermes-oscron run {job_id}")
    wait_for(lambda: "\nend\n" in site.outputs(job_id), 20)
    return site.outputs(job_id).partition("## Response")[2].split("\n")


def test_the_drop_in_opens_one_job(site: SystemSite) -> None:
    opened, other = (site.create(SCRIPT, schedule="every 2h")["id"] for _ in range(2))
    folder = f"/etc/systemd/system/hermes-job@default:{opened}.service.d"
    assert "0" not in output(site, opened) and SECRET not in output(site, opened)
    site.box.run(f"mkdir {folder}; printf '[Service]\\nNoNewPrivileges=no\\n' >{folder}/setuid.conf; "
                 f"systemctl daemon-reload")
    assert "0" not in output(site, opened), "it is implied by other settings"
    site.box.run(f"cp {INSIDE}/docs/setuid.conf {folder}/setuid.conf; systemctl daemon-reload")
    assert "0" in output(site, opened) and SECRET in output(site, opened)
    assert "0" not in output(site, other) and SECRET not in output(site, other)
    assert site.doctor()[0] == 0, site.doctor()[1]


def test_every_setting_that_implies_no_new_privileges_is_reset(site: SystemSite) -> None:
    drop_ins = site.box.run("cat /etc/systemd/system/hermes-job@.service.d/*.conf").stdout
    restricted = {line.partition("=")[0] for line in drop_ins.splitlines() if "=" in line and line[0] != "#"}
    reset = {line.partition("=")[0] for line in site.box.run(f"cat {INSIDE}/docs/setuid.conf").stdout.splitlines()
             if "=" in line and line[0] != "#"}
    assert restricted - reset == {"ProtectSystem", "ProtectProc", "ProtectControlGroups", "SystemCallErrorNumber"}
