"""An upgrade from commit 63df6c5, whose installed files are in earlier.tar.xz, while jobs are armed and one runs."""

import contextlib
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.machine.box import INSIDE, Box
from tests.machine.sites import CrontabSite, Site, SystemSite, add_account, free_port

EARLIER = Path(__file__).with_name("earlier.tar.xz")
EARLIER_INSIDE = "/opt/earlier"


def put_earlier(box: Box) -> None:
    """Unpack the earlier version in `box`, at EARLIER_INSIDE."""
    with tarfile.open(EARLIER) as archive:
        archive.extractall(f"/proc/{box.leader}/root{EARLIER_INSIDE}", filter="data")
    box.run(f"chmod -R a+rX {EARLIER_INSIDE}")


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with contextlib.closing(Box()) as box:
        box.boot()
        put_earlier(box)
        for account in ("ada", "cora"):
            add_account(box, account)
        yield box


class Jobs:
    """The jobs of one installation of the earlier version, one of which is running."""

    def __init__(self, site: Site) -> None:
        self.site = site
        site.install(EARLIER_INSIDE)
        self.yearly = site.create(schedule="0 9 1 1 *", name="yearly")["id"]
        self.paused = site.create(schedule="every 2h", name="paused")["id"]
        site.verb("pause", self.paused)
        self.minutely = site.create(f"date +%s >>{site.home}/minutes", schedule="* * * * *")["id"]
        self.slow = site.create(
            f"echo begun >>{site.home}/slow; until [ -e {site.home}/end ]; do sleep 0.1; done; echo whole",
            schedule=site.soon())["id"]

    def minutes(self) -> list[int]:
        """Return the minutes in which `minutely` ran."""
        return [int(line) // 60 for line in self.site.run(f"cat {self.site.home}/minutes").stdout.split()]


def test_an_upgrade_with_a_job_running_loses_nothing_and_runs_nothing_twice(box: Box) -> None:
    kinds: list[tuple[type[Site], str]] = [(SystemSite, "hermes"), (Site, "ada"), (CrontabSite, "cora")]
    every = [Jobs(kind(box, account, free_port())) for kind, account in kinds]
    for jobs in every:
        wait_for(lambda site=jobs.site, slow=jobs.slow: site.runner(slow), 70)

    for jobs in every:
        upgrade(jobs)

    time.sleep(60 - time.time() % 60 + 60 + 3)  # one fire at least is the new version's
    for jobs in every:
        minutes = jobs.minutes()
        assert minutes == list(range(minutes[0], int(time.time()) // 60 + 1)), "each minute ran once"
        assert jobs.site.doctor()[0] == 0, jobs.site.doctor()[1]


@pytest.mark.parametrize("account", ["hermes", "ada"])
def test_an_upgrade_without_variables_keeps_the_settings(box: Box, account: str) -> None:
    """The test above has installed this version; so the earlier one is first removed, and installed again."""
    kind = SystemSite if account == "hermes" else Site
    home = box.run(f"getent passwd {account} | cut -d: -f6").stdout.strip()
    socket = "/run/hermes-api" if account == "hermes" else f"{home}/a b%c.socket"
    first = kind(box, account, free_port())
    for variables in ({"PORT": str(first.port)}, {"SOCKET": socket}):
        first.administer(f"{INSIDE}/install.sh --uninstall")
        exports = " ".join(f"'{name}={value}'" for name, value in variables.items())
        hermes = f"{home}/else where%/profiles/work"
        for place in (hermes, f"{home}/else where%"):
            first.put(f"{place}/scripts/s.sh", "echo done\n")
        first.administer(f"env {exports} 'HERMES_HOME={hermes}' HERMES_TIMEZONE=Asia/Tokyo {EARLIER_INSIDE}/install.sh")
        job_id = first.run(f"HERMES_HOME='{hermes}' {first.bin}/hermes-oscron create '0 9 * * *' --no-agent "
                           "--script s.sh").stdout.split()[1]
        for _ in range(2):
            first.administer(f"{INSIDE}/install.sh")
            assert job_id in first.oscron("list") and "+09:00" in first.oscron(f"show {job_id} --json")
            for unit in ("hermes-oscron.service", "hermes-job@a:b.service"):
                shown = first.systemctl(f"show -P Environment {unit}")
                assert "HERMES_TIMEZONE=Asia/Tokyo" in shown and f"HERMES_HOME={hermes}" in shown
            where = f"--unix-socket '{socket}'" if "SOCKET" in variables else ""
            assert '"ok"' in first.run(f"curl -s {where} http://localhost:{first.port}/health").stdout
            assert first.doctor()[0] == 0, first.doctor()[1]
    first.administer(f"{INSIDE}/install.sh --uninstall")


def upgrade(jobs: Jobs) -> None:
    """Install this version over the earlier one, and wait until the running job has ended."""
    site, slow = jobs.site, jobs.slow
    runner = site.runner(slow)
    before = {job["id"]: job for job in site.stored_jobs()}
    site.install()
    after = {job["id"]: job for job in site.stored_jobs()}
    assert site.runner(slow) == runner, "the run goes on"
    assert after.keys() == before.keys()
    assert (after[jobs.yearly], after[jobs.paused]) == (before[jobs.yearly], before[jobs.paused])
    assert [site.armed(job_id) for job_id in (jobs.yearly, jobs.minutely, jobs.paused)] == [True, True, False]
    site.run(f"touch {site.home}/end")
    wait_for(lambda: not site.runner(slow), 20)
    assert site.run(f"cat {site.home}/slow").stdout == "begun\n" and "whole" in site.outputs(slow)
    job = site.api.job(slow)
    assert (job["last_status"], job["state"]) == ("ok", "completed")
    if not isinstance(site, CrontabSite):
        service = f"hermes-job@default:{slow}.service"
        wait_for(lambda: site.systemctl(f"show -P ActiveState {service}").strip() == "inactive")
        assert site.systemctl(f"show -P Result {service}").strip() == "success"
        assert "Traceback" not in site.journal(slow)
