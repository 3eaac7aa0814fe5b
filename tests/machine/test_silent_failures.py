"""Jobs that are armed and do not run, on a booted machine: doctor finds them, and the reason."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.sites import CrontabSite, Site

EVERY_MINUTE = "* * * * *"


def report(site: Site) -> tuple[int, dict[str, Any]]:
    """Return the exit status of `doctor --json`, and what it prints."""
    told = site.run(f"{site.bin}/hermes-oscron doctor --json", check=False)
    return told.returncode, json.loads(told.stdout)


def sentences(site: Site) -> str:
    return "\n".join(each["sentence"] for each in report(site)[1]["findings"])


@pytest.fixture
def drop_in(site: Site) -> Iterator[str]:
    """The folder of drop-ins of the service of all jobs."""
    folder = f"{site.settings_dir}/hermes-job@.service.d"
    site.administer(f"mkdir -p {folder}")
    yield folder
    site.administer(f"rm -f {folder}/broken.conf")
    site.systemctl("daemon-reload")
    site.systemctl("reset-failed 'hermes-job@*'", check=False)


def test_a_service_that_cannot_start_is_reported_with_the_reason(site: Site, drop_in: str) -> None:
    """226 is that of an LXC container without nesting; a user manager has no such sandbox."""
    setting, reason = (("BindPaths=/not/there", "226/NAMESPACE") if site.user == "hermes" else
                       ("WorkingDirectory=/not/there", "200/CHDIR"))
    site.administer(f"printf '[Service]\\n{setting}\\n' >{drop_in}/broken.conf")
    site.systemctl("daemon-reload")
    job = site.create(schedule=site.soon(2))
    wait_for(lambda: site.systemctl(f"is-failed hermes-job@default:{job['id']}.service", check=False) == "failed\n", 20)
    _, told = wait_for(lambda: (told := report(site))[0] == 2 and told, 30)
    assert told["status"] == "problems"
    assert any(each["severity"] == "problem" and each["subject"] == f"default:{job['id']}"
               and f"systemd could not start its last run ({reason})" in each["sentence"]
               for each in told["findings"]), told
    site.administer(f"rm {drop_in}/broken.conf")
    site.systemctl("daemon-reload")
    site.oscron("sync")
    wait_for(lambda: "done" in site.outputs(job["id"]))
    assert (report(site)[0], sentences(site)) == (0, "")


def test_runs_that_are_not_recorded_are_reported(sites: dict[str, Site]) -> None:
    """A runner that does nothing for four minutes: nothing else shows, after a sync, that no run took place."""
    site = sites["ada"]
    job = site.create(schedule=EVERY_MINUTE)
    wait_for(lambda: "done" in site.outputs(job["id"]), 70)
    with site.before_each_runner("exit 0"):
        time.sleep(240)
        wait_for(lambda: "no run is recorded for " in sentences(site), 60)
        status, told = report(site)
        assert status == 2 and any(each["subject"] == f"default:{job['id']}" and each["severity"] == "problem"
                                   for each in told["findings"])
    site.oscron("sync")
    wait_for(lambda: report(site)[0] == 1, 200)
    found, = report(site)[1]["findings"]
    assert found["severity"] == "warning" and "no run is recorded for " in found["sentence"]
    site.clear()


def test_a_failed_run_is_a_warning_until_one_succeeds(any_site: Site) -> None:
    site = any_site
    job = site.create("[ -e ~/repaired ]", schedule="0 9 * * *")
    site.verb("run", job["id"])
    wait_for(lambda: site.api.job(job["id"])["last_status"] == "error")
    status, told = report(site)
    assert (status, told["status"]) == (1, "warnings")
    assert f"default:{job['id']}: its last run failed, at " in told["findings"][0]["sentence"]
    site.run("touch ~/repaired")
    site.verb("run", job["id"])
    wait_for(lambda: site.api.job(job["id"])["last_status"] == "ok")
    site.run("rm ~/repaired")
    assert report(site) == (0, {"status": "ok", "root": site.hermes, "findings": [], "verification": None,
                                "scheduler": "crontab" if site.user == "cora" else "systemd"})


def test_a_user_manager_without_linger_is_a_warning(sites: dict[str, Site]) -> None:
    ada = sites["ada"]
    ada.box.run("mv /var/lib/systemd/linger/ada /run/linger.ada")
    try:
        assert report(ada)[0] == 1 and "The jobs fire only while ada is logged in" in sentences(ada)
        assert sentences(sites["hermes"]) == ""  # the system's manager fires those
    finally:
        ada.box.run("mv /run/linger.ada /var/lib/systemd/linger/ada")
    assert report(ada)[0] == 0


def test_an_account_that_has_expired_is_reported(crontab_site: CrontabSite, sites: dict[str, Site]) -> None:
    box = crontab_site.box
    try:
        for site, severity in ((crontab_site, "problem"), (sites["ada"], "warning")):
            assert report(site)[0] == 0
            box.run(f"chage -E 2020-01-01 {site.user}")
            told = box.run(f"setpriv --reuid {site.user} --regid {site.user} --init-groups env HOME={site.home} "
                           f"XDG_RUNTIME_DIR=/run/user/$(id -u {site.user}) {site.bin}/hermes-oscron doctor --json",
                           check=False)  # no program of PAM starts anything for it
            found, = json.loads(told.stdout)["findings"]
            assert (found["severity"], told.returncode) == (severity, 2 if severity == "problem" else 1)
            assert f"The account of {site.user} has expired" in found["sentence"]
    finally:
        box.run("chage -E -1 cora; chage -E -1 ada")


def test_timers_that_wait_for_the_clock_are_reported(sites: dict[str, Site]) -> None:
    site = sites["hermes"]
    folder = "/etc/systemd/system/systemd-time-wait-sync.service.d"
    site.box.run(f"mkdir -p {folder}; printf '[Unit]\\nConditionVirtualization=\\n[Service]\\nExecStart=\\n"
                 f"ExecStart=/bin/sleep 600\\n' >{folder}/waits.conf; systemctl daemon-reload; "
                 f"systemctl start --no-block systemd-time-wait-sync.service")
    try:
        assert report(site)[0] == 2 and "systemd-time-wait-sync.service waits until the clock" in sentences(site)
    finally:
        site.box.run(f"systemctl stop systemd-time-wait-sync.service; rm -r {folder}; systemctl daemon-reload")
    assert sentences(site) == ""
