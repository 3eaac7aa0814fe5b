"""The life of a job that systemd fires, by the system's manager and by a user's; and what concerns timers alone."""

import datetime

from tests.conftest import wait_for
from tests.machine.lifecycle import Lifecycle
from tests.machine.sites import Site, soon


class TestSystemd(Lifecycle):
    """Timers of the system manager and of a user manager."""


def test_a_completed_one_shot_leaves_no_timer_file(site: Site) -> None:
    job_id = site.create(schedule=soon(2))["id"]
    wait_for(lambda: site.api.job(job_id)["state"] == "completed")
    site.oscron("sync")
    assert not site.run(f"ls {site.unit_dir} | grep {job_id}", check=False).stdout


def test_an_update_of_name_and_schedule_is_one_timer(site: Site) -> None:
    job_id = site.create(schedule="0 9 * * *", name="before")["id"]
    job = site.verb("update", job_id, schedule="30 10 * * 1-5", name="after")["job"]
    assert site.next_fire(job_id) == datetime.datetime.fromisoformat(job["next_run_at"])
    assert site.timer(job_id, "Description") == f"default:{job_id} (Hermes job)", "a name is not the journal's business"


def test_a_job_deleted_while_it_runs_leaves_no_failed_unit(site: Site) -> None:
    job_id = site.create("sleep 2; exit 3", schedule="0 9 * * *")["id"]
    site.api.start_run(job_id)
    site.verb("delete", job_id)
    wait_for(lambda: not site.api.running())
    wait_for(lambda: not site.traces(job_id))
    assert job_id not in site.systemctl("list-units --failed --plain --no-legend")


def test_no_command_reloads_the_manager(site: Site) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    begun = site.box.run("date +%s").stdout.strip()
    site.verb("update", job_id, schedule="0 10 * * *")
    site.verb("pause", job_id)
    site.verb("resume", job_id)
    site.verb("delete", job_id)
    site.oscron("sync")
    assert "Reloading" not in site.box.run(f"journalctl --since @{begun} --no-pager").stdout


def test_a_change_that_systemd_refuses_changes_nothing(site: Site) -> None:
    job = site.create(schedule="0 9 * * *")
    stored = site.stored_jobs()
    template = site.systemctl("show -P FragmentPath hermes-job@any:any.service").strip()
    site.administer(f"mv {template} {template}.away")
    site.systemctl("daemon-reload")
    try:
        status, answer = site.api.call("POST", "/api/crons/update", {"job_id": job["id"], "schedule": "0 10 * * *"})
        assert status == 503 and "systemd refused" in answer["error"]
        assert site.api.call("POST", "/api/crons/create", {"prompt": "x", "schedule": "0 9 * * *"})[0] == 503
        assert site.stored_jobs() == stored
    finally:
        site.administer(f"mv {template}.away {template}")
        site.systemctl("daemon-reload")
        site.oscron("sync")
    assert site.armed(job["id"])
