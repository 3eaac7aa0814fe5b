"""What the verbs do to real timers."""

import datetime
import time

from tests.conftest import wait_for
from tests.machine.conftest import Site, soon


def test_pause_disarms_and_resume_arms_again(site: Site) -> None:
    job_id = site.create(schedule="every 1h")["id"]
    assert site.api.post("/api/crons/pause", {"job_id": job_id, "reason": "holidays"})["job"]["next_run_at"] is None
    assert not site.armed(job_id)
    resumed = site.api.post("/api/crons/resume", {"job_id": job_id})["job"]
    assert site.next_elapse(job_id) == datetime.datetime.fromisoformat(resumed["next_run_at"])


def test_resume_never_fires_what_was_missed(site: Site) -> None:
    job_id = site.create(schedule="* * * * *")["id"]
    site.api.post("/api/crons/pause", {"job_id": job_id})
    time.sleep(61 - time.time() % 60)
    site.api.post("/api/crons/resume", {"job_id": job_id})
    time.sleep(2)
    assert site.api.job(job_id)["last_run_at"] is None and site.armed(job_id)


def test_update_arms_the_new_schedule_and_no_old_one(site: Site) -> None:
    job_id = site.create(schedule="0 9 * * *", name="before")["id"]
    job = site.api.post("/api/crons/update", {"job_id": job_id, "schedule": "30 10 * * 1-5", "name": "after"})["job"]
    assert site.next_elapse(job_id) == datetime.datetime.fromisoformat(job["next_run_at"])
    assert site.timer(job_id, "Description") == "after (Hermes job)"
    assert "before" not in site.systemctl(f"cat hermes-job@default:{job_id}.timer")


def test_update_while_it_runs_lets_the_run_end_as_it_began(site: Site) -> None:
    job_id = site.create("sleep 3; echo as it began", schedule=soon(1))["id"]
    wait_for(lambda: site.api.get("/api/crons/status")["running"])
    job = site.api.post("/api/crons/update", {"job_id": job_id, "schedule": "0 9 * * *"})["job"]
    wait_for(lambda: site.api.job(job_id)["last_status"] == "ok")
    assert site.api.job(job_id)["state"] == "scheduled"
    assert site.next_elapse(job_id) == datetime.datetime.fromisoformat(job["next_run_at"])


def test_delete_leaves_no_timer_and_no_output(site: Site) -> None:
    job_id = site.create(schedule=soon(1))["id"]
    wait_for(lambda: site.api.job(job_id)["last_status"] == "ok")
    site.api.post("/api/crons/delete", {"job_id": job_id})
    assert not site.armed(job_id)
    assert not site.run(f"ls {site.unit_dir} {site.hermes}/cron/output | grep {job_id}", check=False).stdout


def test_delete_while_it_runs_lets_it_end_and_leaves_nothing(site: Site) -> None:
    job_id = site.create("sleep 2; exit 3", schedule=soon(1))["id"]
    wait_for(lambda: site.api.get("/api/crons/status")["running"])
    site.api.post("/api/crons/delete", {"job_id": job_id})
    wait_for(lambda: not site.api.get("/api/crons/status")["running"])
    time.sleep(0.5)
    assert not site.run(f"find {site.hermes}/cron | grep {job_id}", check=False).stdout
    assert job_id not in site.systemctl("list-units --failed --plain --no-legend")


def test_repeat_used_up_is_completed_and_disarmed(site: Site) -> None:
    job_id = site.create(schedule="every 1h", repeat=2)["id"]
    for completed in (1, 2):
        site.api.post("/api/crons/run", {"job_id": job_id})
        wait_for(lambda completed=completed: site.api.job(job_id)["repeat"]["completed"] == completed)
        wait_for(lambda: not site.api.get("/api/crons/status")["running"])
    assert site.api.job(job_id)["state"] == "completed"
    wait_for(lambda: not site.armed(job_id))


def test_a_job_runs_once_at_a_time_whoever_asks(site: Site) -> None:
    job_id = site.create("sleep 3", schedule="0 9 * * *")["id"]
    site.api.post("/api/crons/run", {"job_id": job_id})
    wait_for(lambda: site.api.get("/api/crons/status")["running"])
    status, answer = site.api.call("POST", "/api/crons/run", {"job_id": job_id})
    assert status == 200 and not answer["ok"] and answer["status"] == "already_running" and answer["elapsed"] >= 0
    assert "never runs twice" in site.run(f"{site.bin}/hermes-cron-exec default:{job_id} --trigger manual").stdout


def test_a_paused_job_runs_by_hand_and_stays_paused(site: Site) -> None:
    job_id = site.create(schedule="0 9 * * *", enabled=False)["id"]
    site.api.post("/api/crons/run", {"job_id": job_id})
    wait_for(lambda: site.api.job(job_id)["last_status"] == "ok")
    assert site.api.job(job_id)["state"] == "paused" and not site.armed(job_id)


def test_no_verb_reloads_the_manager(site: Site) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    begun = site.box.run("date +%s").stdout.strip()
    site.api.post("/api/crons/update", {"job_id": job_id, "schedule": "0 10 * * *"})
    site.api.post("/api/crons/pause", {"job_id": job_id})
    site.api.post("/api/crons/resume", {"job_id": job_id})
    site.api.post("/api/crons/delete", {"job_id": job_id})
    site.oscron("sync")
    assert "Reloading" not in site.box.run(f"journalctl --since @{begun} --no-pager").stdout


def test_what_systemd_refuses_changes_nothing(site: Site) -> None:
    job = site.create(schedule="0 9 * * *")
    stored = site.stored_jobs()
    template = site.systemctl("show -P FragmentPath hermes-job@any:any.service").strip()
    site.run(f"mv {template} {template}.away")
    site.systemctl("daemon-reload")
    try:
        status, answer = site.api.call("POST", "/api/crons/update", {"job_id": job["id"], "schedule": "0 10 * * *"})
        assert status == 503 and "systemd refused" in answer["error"]
        assert site.api.call("POST", "/api/crons/create", {"prompt": "x", "schedule": "0 9 * * *"})[0] == 503
        assert site.stored_jobs() == stored
    finally:
        site.run(f"mv {template}.away {template}")
        site.systemctl("daemon-reload")
        site.oscron("sync")
    assert site.armed(job["id"])
