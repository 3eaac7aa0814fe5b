"""`hermes-oscron disarm`: no job fires until `arm`, also after a sync, an edit of jobs.json and an upgrade."""

from tests.conftest import wait_for
from tests.machine.sites import Site, sleep_until

DAILY = "0 9 * * *"


def test_nothing_fires_until_arm_and_then_missed_jobs_run_once(any_site: Site) -> None:
    site = any_site
    daily, due = site.create(schedule=DAILY)["id"], site.soon(12)
    missed = site.create("echo late", schedule=due)["id"]
    site.oscron("disarm")
    try:
        assert not site.armed(daily) and not site.armed(missed)
        site.oscron("sync")
        site.verb("update", daily, schedule="0 10 * * *")
        made = site.create(schedule=DAILY)["id"]
        site.install()
        sleep_until(due, later=site.late + 1)
        site.oscron("sync")
        assert not any(site.armed(job_id) for job_id in (daily, missed, made))
        assert site.api.job(missed)["last_run_at"] is None and site.api.job(missed)["last_status"] is None
        status, said = site.doctor()
        assert status == 2 and "disarmed since" in said
        assert site.api.get("/health")["armed"] is False and site.api.get("/api/crons")["armed"] is False
        site.api.run_to_end(daily)
        assert not site.armed(daily), "a run by hand arms nothing"
    finally:
        site.oscron("arm")
    wait_for(lambda: site.api.job(missed)["state"] == "completed", 30)
    assert len(site.api.outputs(missed)) == 1
    assert site.armed(daily) and site.armed(made)
    assert site.doctor()[0] == 0
