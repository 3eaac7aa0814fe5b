"""Jobs that wait: for a time of the agent's, or for the end of `hermes pause`, under each scheduler."""

import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.sites import CrontabSite, Site, sleep_until

NEW_YEAR = "0 9 1 1 *"
LONG_AGO = "2026-01-01T09:00:00+00:00"


@pytest.fixture(params=["hermes", "ada", "crontab", "foreground"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """An installation with each scheduler in turn. Its jobs are deleted after the test."""
    fixtures = {"crontab": "crontab_site", "foreground": "foreground_site"}
    found = request.getfixturevalue(fixtures.get(request.param, "sites"))
    chosen = found[request.param] if request.param not in fixtures else found
    yield chosen
    chosen.run(f"rm -f {chosen.hermes}/ESTOP")
    chosen.clear()


def change_record(site: Site, job_id: str, **fields: Any) -> None:
    """Set `fields` in the record of `job_id`, as the agent does."""
    path = f"{site.hermes}/cron/jobs.json"
    content = json.loads(site.run(f"cat {path}").stdout)
    for job in content["jobs"]:
        if job["id"] == job_id:
            job.update(fields)
    site.put(path, json.dumps(content))


def hold(site: Site, job_id: str, until: str) -> None:
    change_record(site, job_id, next_run_at=until, quota_hold_until=until, quota_hold_cron_expr=NEW_YEAR)


def begun_at(site: Site, job_id: str) -> datetime.datetime:
    """Return the time that the script of `job_id` printed, once it has run."""
    printed = wait_for(lambda: site.run(f"cat {site.hermes}/cron/output/{job_id}/*.md | grep ^20", check=False).stdout)
    return datetime.datetime.fromisoformat(printed.strip())


def test_a_held_job_runs_at_the_end_of_the_hold_and_then_by_its_schedule(site: Site) -> None:
    job_id = site.create("date -u +%FT%T+00:00", schedule=NEW_YEAR)["id"]
    natural = site.next_fire(job_id)
    until = site.soon(15)
    held = datetime.datetime.fromisoformat(until)
    hold(site, job_id, until)
    site.oscron("sync")
    wait_for(lambda: site.next_fire(job_id) == held)
    assert next(job["next_run_at"] for job in site.stored_jobs()) == until, "a sync does not change it"
    shown = site.api.job(job_id)
    assert (shown["state"], shown["held"]) == ("scheduled", f"held until {held:%Y-%m-%d %H:%M} UTC: quota")
    for command in ("list", f"show {job_id}"):
        assert shown["held"] in site.oscron(command)
    assert site.doctor()[0] == 0
    sleep_until(until)
    late = (begun_at(site, job_id) - held).total_seconds()
    assert 0 <= late <= site.late + 2, late
    wait_for(lambda: site.next_fire(job_id) == natural, 20)
    assert site.api.job(job_id)["held"] is None


def test_a_held_job_can_be_run_by_hand(site: Site) -> None:
    job_id = site.create("date -u +%FT%T+00:00", schedule=NEW_YEAR)["id"]
    natural = site.next_fire(job_id)
    hold(site, job_id, "2027-06-01T17:30:00.500000+00:00")
    site.oscron("sync")
    assert f"Started {job_id}." in site.oscron(f"run {job_id}")
    begun_at(site, job_id)
    wait_for(lambda: site.next_fire(job_id) == natural, 20)


def test_no_job_starts_while_hermes_is_paused_and_resume_catches_up(site: Site) -> None:
    missed = site.create("date -u +%FT%T+00:00", schedule=NEW_YEAR)["id"]
    site.put(f"{site.hermes}/ESTOP", json.dumps({"reason": "moving house"}))
    schedule = site.soon(8)
    once = site.create("date -u +%FT%T+00:00", schedule=schedule)["id"]
    change_record(site, missed, next_run_at=LONG_AGO)
    sleep_until(schedule, later=site.late + 3)
    site.oscron("sync")
    assert not site.outputs(once) and not site.outputs(missed)
    for job_id, due in ((once, schedule), (missed, LONG_AGO)):
        assert datetime.datetime.fromisoformat(site.api.job(job_id)["next_run_at"]) == \
            datetime.datetime.fromisoformat(due)
    assert site.api.job(once)["last_status"] is None, "it is not late"
    listed = site.oscron("list")
    assert "due now" in listed and "NOTE: default: Hermes is paused (moving house) by " in listed
    status, said = site.doctor()
    assert status == 2 and "Hermes is paused (moving house)" in said and once not in said and missed not in said
    refused = site.run(f"{site.bin}/hermes-oscron run {missed}", check=False)
    assert refused.returncode == 1 and "Hermes is paused" in refused.stderr and "--force" in refused.stderr
    assert not site.outputs(missed)

    site.run(f"rm {site.hermes}/ESTOP")
    if isinstance(site, CrontabSite):  # cron watches no file; this is its hourly sync
        site.oscron("sync")
    for job_id in (once, missed):
        begun_at(site, job_id)
    wait_for(lambda: [site.api.job(job_id)["state"] for job_id in (once, missed)] == ["completed", "scheduled"])
    assert [len(site.api.outputs(job_id)) for job_id in (once, missed)] == [1, 1]


def test_a_forced_run_takes_place_while_hermes_is_paused(site: Site) -> None:
    job_id = site.create("date -u +%FT%T+00:00", schedule=NEW_YEAR)["id"]
    site.put(f"{site.hermes}/ESTOP", "")
    assert site.api.call("POST", "/api/crons/run", {"job_id": job_id})[0] == 409
    assert site.verb("run", job_id, force=True)["status"] == "running"
    begun_at(site, job_id)
