"""sync and doctor: what is armed against what should be."""

import datetime
import json
import time
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.schedule.model import interval
from hermes_oscron.schedulers.systemd.calendar import on_calendar
from tests.conftest import wait_for
from tests.machine.sites import Site, soon

DOCTOR_S = 40.0
"""Without a sync that is requested or in progress, doctor reports a problem before it has looked a minute for it."""


@pytest.mark.usefixtures("unwatched")
def test_a_timer_stopped_by_hand_is_reported_and_started_again(site: Site) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    site.systemctl(f"stop hermes-job@default:{job_id}.timer")
    told = site.run(f"{site.bin}/hermes-oscron doctor", check=False)
    assert told.returncode == 2 and job_id in told.stdout and "not running" in told.stdout
    assert f"Armed default:{job_id}" in site.oscron("sync")
    assert site.armed(job_id) and "OK: no problems found." in site.oscron("doctor")


@pytest.mark.usefixtures("unwatched")
def test_a_timer_changed_by_hand_is_reported_and_repaired(site: Site) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    site.administer(f"sed -i s/09:00/10:00/ {site.unit_dir}/hermes-job@default:{job_id}.timer")
    begun = time.monotonic()
    assert "differs from jobs.json" in site.doctor()[1]
    assert time.monotonic() - begun < DOCTOR_S
    site.oscron("sync")
    assert "09:00" in site.systemctl(f"cat hermes-job@default:{job_id}.timer")
    assert "OK: no problems found." in site.oscron("doctor")


@pytest.mark.usefixtures("unwatched")
def test_a_timer_without_a_job_is_removed(site: Site) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    site.administer(f"cd {site.unit_dir} && cp hermes-job@default:{job_id}.timer hermes-job@default:feedfeedfeed.timer")
    site.systemctl("start hermes-job@default:feedfeedfeed.timer")
    site.oscron("sync")
    assert not site.armed("feedfeedfeed") and site.armed(job_id)
    assert not site.run(f"ls {site.unit_dir} | grep feedfeed", check=False).stdout


def test_a_sync_with_nothing_to_do_touches_nothing(site: Site) -> None:
    job_id = site.create(schedule="every 7h")["id"]
    before = site.timer(job_id, "ActiveEnterTimestampMonotonic")
    assert site.oscron("sync") == ""
    assert site.timer(job_id, "ActiveEnterTimestampMonotonic") == before


def test_a_job_written_into_jobs_json_by_hand_is_armed(site: Site) -> None:
    path = f"{site.hermes}/cron/jobs.json"
    site.create(schedule="0 9 * * *")
    content = json.loads(site.run(f"cat {path}").stdout)
    content["jobs"].append({"id": "0123456789ab", "name": "by hand", "prompt": "x", "enabled": True,
                            "schedule": {"kind": "interval", "minutes": 90, "display": "every 90m"}})
    site.box.put(path, json.dumps(content), site.user)
    site.oscron("sync")
    assert site.armed("0123456789ab")
    assert site.api.job("0123456789ab")["schedule"]["expression"] == "every 90m"


def test_an_interval_without_a_calendar_expression_is_rearmed_by_its_run(site: Site) -> None:
    job_id = site.create(schedule="every 7h")["id"]
    path, due = f"{site.hermes}/cron/jobs.json", soon(3)
    content = json.loads(site.run(f"cat {path}").stdout)
    content["jobs"][-1]["next_run_at"] = due
    site.box.put(path, json.dumps(content), site.user)
    site.oscron("sync")
    wait_for(lambda: site.api.job(job_id)["last_status"] == "ok")
    following = datetime.datetime.fromisoformat(due) + datetime.timedelta(hours=7)
    utc = ZoneInfo("UTC")
    first, *_ = on_calendar(interval(7 * 60), utc, utc, following, following)
    wait_for(lambda: f"[Timer]\nOnCalendar={first}\n" in site.systemctl(f"cat hermes-job@default:{job_id}.timer"))
    wait_for(lambda: site.next_fire(job_id) == following)


def test_names_of_jobs_add_no_directives_to_a_unit(site: Site) -> None:
    names = ["x\nOnCalendar=*:*:*", "%n %H %%", "back\\", "\x01\x1b[31m", "]\n[Timer]\nUnit=reboot.target", "Ünï ☃",
             "\u2028OnBootSec=1", "\ud800"]
    for name in names:
        job = site.api.create(name=name, schedule="0 9 * * *")
        assert site.api.job(job["id"])["name"] == name.strip()  # as the agent lists it
        assert site.timer(job["id"], "Unit") == f"hermes-job@default:{job['id']}.service"
        assert site.timer(job["id"], "TimersCalendar").count("OnCalendar") == 1
        assert site.timer(job["id"], "TimersMonotonic") == ""
        assert site.timer(job["id"], "Description") == f"default:{job['id']} (Hermes job)"


def test_an_unreadable_jobs_json_is_refused_by_every_command_and_not_changed(site: Site) -> None:
    path = f"{site.hermes}/cron/jobs.json"
    job_id = site.create(schedule="0 9 * * *")["id"]
    whole = site.run(f"cat {path}").stdout
    site.box.put(path, whole[:-30], site.user)
    try:
        for verb, body in (("create", {"prompt": "x", "schedule": "every 1h"}), ("pause", {"job_id": job_id}),
                           ("delete", {"job_id": job_id}), ("update", {"job_id": job_id, "name": "n"})):
            status, answer = site.api.call("POST", f"/api/crons/{verb}", body)
            assert status == 503 and path in answer["error"]
        assert path in site.run(f"{site.bin}/hermes-oscron sync", check=False).stderr
        assert site.run(f"cat {path}").stdout == whole[:-30]
        assert site.armed(job_id)
    finally:
        site.box.put(path, whole, site.user)


@pytest.mark.usefixtures("unwatched")
def test_a_job_that_systemd_refuses_affects_no_other(site: Site) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    broken = site.create(schedule="0 10 * * *")["id"]
    site.systemctl("stop 'hermes-job@*.timer'")
    site.administer(f"rm {site.unit_dir}/hermes-job@*.timer")
    site.systemctl(f"mask --runtime hermes-job@default:{broken}.timer")
    try:
        told = site.run(f"{site.bin}/hermes-oscron sync", check=False)
        assert told.returncode == 1 and broken in told.stderr
        assert site.armed(job_id)
    finally:
        site.systemctl(f"unmask --runtime hermes-job@default:{broken}.timer")
        site.oscron("sync")
    assert site.armed(broken)


def test_a_job_rescheduled_just_after_its_completion_is_armed(site: Site) -> None:
    for _ in range(6):
        job_id = site.create(schedule=soon(1))["id"]
        wait_for(lambda job_id=job_id: site.api.job(job_id)["state"] == "completed")
        site.api.post("/api/crons/update", {"job_id": job_id, "schedule": "every 2h"})
    site.wait_for_syncs()
    assert len(site.armed_timers()) == 6
    assert "OK: no problems found." in site.oscron("doctor")
