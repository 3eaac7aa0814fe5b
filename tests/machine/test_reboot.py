"""Reboots and power cuts: all timers are back, missed jobs run once, and interrupted runs are recorded."""

import datetime
import time
from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.machine.box import Box
from tests.machine.policies import ended_row, rows
from tests.machine.sites import Site, soon

FAILS_ONCE = 'mark=$HERMES_HOME/failed-$HERMES_JOB_ID; [ -e "$mark" ] || { touch "$mark"; exit 3; }'


@pytest.fixture
def both(sites: dict[str, Site]) -> Iterator[list[Site]]:
    yield list(sites.values())
    for site in sites.values():
        site.clear()


def boot(box: Box) -> None:
    """Boot, and wait until both managers have armed their jobs."""
    box.boot()
    for user, manager in (("hermes", "--system"), ("ada", "--user")):
        wait_for(lambda user=user, manager=manager: box.run(
            f"systemctl {manager} show -P Result -P ExecMainExitTimestampMonotonic hermes-oscron-sync.service",
            user=user, check=False).stdout.split() not in ([], ["success", "0"]), 30)


def runs_of(site: Site, job_id: str) -> int:
    return len(site.api.get(f"/api/crons/output?job_id={job_id}&limit=500")["outputs"])


def test_after_a_reboot_all_jobs_are_armed_and_missed_ones_ran_once(machine: Box, both: list[Site]) -> None:
    """Also by their policies: a job whose times are moved, and retries that wait, or come due in that time."""
    kept, minutely, once, paused, far, retried, later = {}, {}, {}, {}, {}, {}, {}
    for site in both:
        kept[site] = [site.create(schedule=schedule)["id"]
                      for schedule in ("30 8 * * 1", "every 2h", "every 7h", "in 3h")]
        kept[site].append(site.create(schedule="0 9 * * *", policy={"jitter": "12h", "timezone": "Asia/Kolkata"})["id"])
        once[site] = site.create(schedule=soon(20))["id"]
        paused[site] = site.create(schedule="* * * * *", enabled=False)["id"]
        far[site] = site.create(schedule="0 0 1 1 *")["id"]
    if time.time() % 60 > 35:
        time.sleep(61 - time.time() % 60)
    for site in both:
        for jobs, delay in ((retried, "15s"), (later, "2h")):
            jobs[site] = site.create(FAILS_ONCE, schedule=soon(3), policy={"retries": 1, "retry_delay": delay})["id"]
    for site in both:
        for job_id in (retried[site], later[site]):
            assert ended_row(site, job_id, 20)["outcome"] == "error"
            wait_for(lambda site=site, job_id=job_id: site.api.job(job_id)["held"])
        minutely[site] = site.create(schedule="* * * * *")["id"]
    before = {site: {job["id"]: job["next_run_at"] for job in site.api.get("/api/crons")["jobs"]} for site in both}
    machine.power_off()
    time.sleep(max(62 - time.time() % 60, 21))
    boot(machine)
    for site in both:
        wait_for(lambda site=site: runs_of(site, once[site]) == 1, 20)
        wait_for(lambda site=site: site.api.job(minutely[site])["last_status"] == "ok", 20)
        assert runs_of(site, minutely[site]) == 1
        assert site.api.job(once[site])["state"] == "completed"
        assert site.api.job(paused[site])["last_run_at"] is None and not site.armed(paused[site])
        for job_id in [*kept[site], far[site]]:
            assert site.api.job(job_id)["next_run_at"] == before[site][job_id]
            assert site.next_fire(job_id) == datetime.datetime.fromisoformat(before[site][job_id])
            assert site.api.job(job_id)["last_run_at"] is None
        wait_for(lambda site=site: site.api.job(retried[site])["last_status"] == "ok", 20)
        assert [(row["outcome"], row["trigger"], row["attempt"]) for row in rows(site, retried[site])] == [
            ("error", "schedule", 1), ("ok", "retry", 2)]
        assert site.api.job(later[site])["next_run_at"] == before[site][later[site]]
        assert site.next_fire(later[site]) == datetime.datetime.fromisoformat(before[site][later[site]])
        assert len(rows(site, later[site])) == 1
        site.verb("delete", later[site])  # doctor warns of its failure
        assert "OK: no problems found." in site.oscron("doctor")
        assert site.audit() == ""


def test_a_power_cut_during_a_run_is_an_interrupted_run_that_is_not_run_again(machine: Box, both: list[Site]) -> None:
    jobs = {}
    for site in both:
        jobs[site] = site.create("echo begun; sleep 300", schedule=soon(2))["id"]
        wait_for(lambda site=site: site.api.get("/api/crons/status")["running"])
    machine.cut_power()
    boot(machine)
    for site in both:
        job = site.api.job(jobs[site])
        assert job["last_status"] == "error" and "interrupted" in job["last_error"]
        assert job["state"] == "completed"
        assert site.api.get("/api/crons/status")["running"] == {}
        [run] = site.api.get(f"/api/crons/runs?job_id={jobs[site]}")["runs"]
        assert (run["outcome"], run["due_at"][:19]) == ("interrupted", job["schedule"]["expression"][:19])
        assert site.audit() == ""


def test_a_boot_completes_while_missed_jobs_run(machine: Box, both: list[Site]) -> None:
    jobs = {site: site.create("sleep 60", schedule=soon(4))["id"] for site in both}
    machine.power_off()
    time.sleep(5)
    boot(machine)
    for site in both:
        wait_for(lambda site=site: list(site.api.running()) == [jobs[site]])
        assert site.systemctl("is-system-running", check=False).strip() in ("running", "degraded")
        assert not site.systemctl("list-jobs --no-legend").strip().replace("No jobs running.", "")
        assert f"({jobs[site]}): was due at " in site.journal_of("hermes-oscron-sync.service")
        site.systemctl(f"stop hermes-job@default:{jobs[site]}.service")
