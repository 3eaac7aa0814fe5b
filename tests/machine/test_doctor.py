"""The output of doctor while jobs run and change, and after something was killed: no problem that solves itself."""

import json
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.sites import CrontabSite, Site

WELL = (0, "OK: no problems found.")
DAILY = "0 9 * * *"
TOO_MANY_DIGITS = {"id": "odd", "name": "odd", "prompt": "x",
                   "schedule": {"kind": "cron", "expr": f"0 9 * * 1#{'9' * 5000}", "display": "?"}}


def doctor_result(site: Site) -> tuple[int, str]:
    """Return the exit status of doctor, and its lines with WRONG or WARNING, or else the last one."""
    status, told = site.doctor()
    lines = told.splitlines()
    return status, "\n".join(line for line in lines if line.startswith(("WRONG", "WARNING"))) or lines[-1]


def add_records(site: Site, *records: Any) -> None:
    """Write `records` into jobs.json beside the jobs that are there, as an editor does."""
    path = f"{site.hermes}/cron/jobs.json"
    content = json.loads(site.run(f"cat {path}").stdout)
    content["jobs"] = [*records, *content["jobs"]]
    site.put(f"{path}.new", json.dumps(content))
    site.run(f"mv {path}.new {path}")


# While jobs run and change


def test_a_one_shot_is_not_a_problem_before_during_and_after_its_run(any_site: Site) -> None:
    site = any_site
    job_id = site.create("sleep 6", schedule=site.soon(6))["id"]
    looks = 0
    while site.armed(job_id) or site.api.job(job_id)["state"] != "completed":
        assert doctor_result(site) == WELL
        looks += 1
    assert looks > 4 and doctor_result(site) == WELL


def test_no_problem_is_reported_while_jobs_are_created_run_and_deleted(any_site: Site) -> None:
    """Half a minute of one-shots, minutely jobs and every command, during which doctor runs all the time."""
    site, dice, end = any_site, random.Random(3), time.monotonic() + 30
    for _ in range(3):
        site.create("sleep 1", schedule="* * * * *")
    site.create("sleep 2", schedule="every 7m")

    def client(_nth: int) -> None:
        made: list[str] = []
        while time.monotonic() < end:
            schedule = dice.choice((site.soon(dice.uniform(1, 4)), "* * * * *", "every 7h", DAILY))
            made.append(site.create(f"sleep {dice.choice((0, 1, 3))}", schedule=schedule)["id"])
            for _ in range(2):
                verb, fields = dice.choice((("pause", {}), ("resume", {}), ("run", {}), ("update", {"schedule": DAILY}),
                                            ("update", {"schedule": site.soon(2)})))
                site.api.call("POST", f"/api/crons/{verb}", {"job_id": dice.choice(made), **fields})
            if len(made) > 4:
                site.verb("delete", made.pop(dice.randrange(len(made))))
            time.sleep(dice.uniform(0, 1))

    with ThreadPoolExecutor(2) as clients:
        running = clients.map(client, range(2))
        while time.monotonic() < end:
            assert doctor_result(site) == WELL
        list(running)
    assert doctor_result(site) == WELL


def test_a_removed_timer_is_reported_while_other_jobs_run(any_site: Site) -> None:
    site = any_site
    job_id = site.create(schedule=DAILY)["id"]
    site.api.start_run(site.create("sleep 20", schedule=DAILY)["id"])
    with site.unwatched():
        site.disarm_by_hand(job_id)
        status, told = doctor_result(site)
        assert status == 2 and told.startswith(f"WRONG: default:{job_id}: ") and told.count("WRONG") == 1
        site.repair()
        assert doctor_result(site) == WELL


# After something was killed


def test_a_killed_server_is_not_a_problem(site: Site) -> None:
    site.create(schedule=DAILY)
    with site.unwatched():
        site.kill_server()
        wait_for(lambda: site.systemctl("is-failed hermes-oscron.service", check=False).strip() == "failed")
        assert doctor_result(site) == WELL
        site.oscron("sync")
        assert doctor_result(site) == WELL


def test_after_a_killed_sync_only_the_unarmed_jobs_are_a_problem(site: Site) -> None:
    jobs = [site.create(schedule=f"{minute} 9 * * *")["id"] for minute in range(3)]
    with site.unwatched():
        for _ in range(5):
            site.systemctl("stop 'hermes-job@*.timer'")
            site.systemctl("start --no-block hermes-oscron-sync.service")
            time.sleep(random.uniform(0, 0.6))
            site.systemctl("kill -s KILL hermes-oscron-sync.service", check=False)
            told = doctor_result(site)
            unarmed = {job_id for job_id in jobs if not site.armed(job_id)}
            assert set(re.findall(r"^WRONG: default:(\w+): ", told[1], re.M)) == unarmed, told
            assert told == WELL or len(unarmed) == told[1].count("WRONG")
            site.oscron("sync")
            assert doctor_result(site) == WELL


def test_a_failed_sync_is_reported_until_one_succeeds(site: Site) -> None:
    job_id = site.create(schedule=DAILY)["id"]
    path = f"{site.hermes}/cron/jobs.json"
    with site.unwatched():
        whole = site.run(f"cat {path}").stdout
        site.put(path, whole[:-30])
        site.systemctl("start hermes-oscron-sync.service", check=False)
        site.put(path, whole)
        status, told = doctor_result(site)
        assert status == 1 and "hermes-oscron-sync.service" in told and "hermes-oscron sync" in told
        site.oscron("sync")
        assert doctor_result(site) == WELL
    assert site.armed(job_id)


def test_a_server_that_cannot_start_is_reported(site: Site) -> None:
    broken = f"{site.settings_dir}/hermes-oscron.service.d/broken.conf"
    site.stop_server()
    site.administer(f"mkdir -p $(dirname {broken}); "
                    f"printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' >{broken}")
    site.systemctl("daemon-reload")
    try:
        site.systemctl("start hermes-oscron.service", check=False)
        wait_for(lambda: site.systemctl("is-failed hermes-oscron.service", check=False).strip() == "failed")
        assert "hermes-oscron.service failed" in doctor_result(site)[1]
    finally:
        site.administer(f"rm {broken}")
        site.systemctl("daemon-reload")
        site.start_server()
    assert doctor_result(site) == WELL


def test_a_failed_socket_is_reported(site: Site) -> None:
    site.systemctl("stop hermes-oscron.socket hermes-oscron.service")
    unit = site.systemctl("show -P Listen hermes-oscron.socket").partition(" ")[0]
    port = unit.rpartition(":")[2]
    site.box.run(f"python3 -m http.server {port} --bind 127.0.0.1 >/dev/null 2>&1 & echo $! >/run/taken; sleep 1")
    try:
        site.systemctl("start hermes-oscron.socket", check=False)
        assert "hermes-oscron.socket failed" in doctor_result(site)[1]
    finally:
        site.box.run("kill $(cat /run/taken)")
        site.start_server()
    assert doctor_result(site) == WELL


# Compared with croniter and systemd


def verification(site: Site) -> tuple[int, list[str]]:
    """Return the exit status of `doctor --verify`, and its lines about differences and the last one."""
    told = site.run(f"{site.bin}/hermes-oscron doctor --verify", check=False)
    assert told.stderr == ""
    return told.returncode, [line for line in told.stdout.splitlines() if line.startswith(("DIFFERS", "Verified"))]


def test_verify_finds_every_job_armed_as_croniter_and_systemd_compute_it(any_site: Site) -> None:
    schedules = [DAILY, "* * * * *", "*/7 3-5 * * MON-FRI", "0 9 13 * 5#2", "0 0 15W * *", "30 2 L * *", "0 0 29 2 *",
                 "every 45m", "every 7d", "weekdays at 9:30", "2090-03-15 09:00"]
    jobs = [any_site.create(schedule=schedule)["id"] for schedule in schedules]
    any_site.verb("pause", jobs[0])
    status, told = verification(any_site)
    expected = ("8 jobs against croniter only, because the scheduler is crontab" if any_site.user == "cora" else
                r"11 jobs against croniter \(8\) and systemd \((9|10)\)")  # 9 while the minutely job runs
    assert status == 0 and re.fullmatch(f"Verified {expected}: no differences\\.", "\n".join(told)), told


def test_verify_reports_a_timer_changed_to_another_hour_by_hand(site: Site) -> None:
    site.create(schedule="30 10 * * *")
    job_id = site.create(schedule=DAILY)["id"]
    timer = f"hermes-job@default:{job_id}.timer"
    with site.unwatched():
        site.administer(f"sed -i 's/ 09:00:00/ 08:00:00/' {site.unit_dir}/{timer}")
        status, (difference, last) = verification(site)  # the file alone; systemd has not read it
        assert status == 2 and last == "Verified 2 jobs against croniter and systemd: 1 difference."
        assert re.fullmatch(rf"DIFFERS: default:{job_id}: it is due at \S+ 09:00:00 UTC, but the file of its timer, by "
                            r"systemd-analyze, elapses at \S+ 08:00:00 UTC\. 'hermes-oscron sync' .*", difference)
        site.systemctl(f"stop {timer}")
        site.systemctl(f"start {timer}")
        status, (difference, last) = verification(site)
        assert re.search(r" 09:00:00 UTC, but its timer elapses at \S+ 08:00:00 UTC\.", difference) and status == 2
        site.disarm_by_hand(job_id)
        status, (difference, last) = verification(site)
        assert "but its timer elapses never" in difference and status == 2
        site.oscron("sync")
        status, told = verification(site)
        assert (status, told) == (0, ["Verified 2 jobs against croniter and systemd: no differences."])


# Records that no job can be made of


def test_a_record_with_too_many_digits_affects_no_other(any_site: Site) -> None:
    site = any_site
    good = site.create("echo fired", schedule=site.soon(12))["id"]
    site.create(schedule=DAILY)
    add_records(site, TOO_MANY_DIGITS)
    site.oscron("sync")
    assert site.armed(good) and not site.armed("odd")
    status, told = doctor_result(site)
    assert status == 2 and told.startswith("WRONG: default:odd: the job can never fire: ")
    assert told.count("WRONG") == 1
    listed = {job["id"]: job["state"] for job in json.loads(site.oscron("list --json"))["jobs"]}
    assert listed["odd"] == "error" and listed[good] == "scheduled"
    assert site.api.job("odd")["state"] == "error" and "default:odd" in site.oscron("adopt --dry-run")
    wait_for(lambda: "fired" in site.outputs(good), 80)
    assert any(record["id"] == "odd" and record["schedule"] == TOO_MANY_DIGITS["schedule"]
               for record in site.stored_jobs())


@pytest.mark.parametrize(("account", "module", "function"), [
    ("ada", "hermes_oscron.schedulers.systemd.scheduler", "render"),
    ("cora", "hermes_oscron.schedulers.crontab.scheduler", "expression_of")])
def test_an_unexpected_exception_disarms_only_one_job(account: str, module: str, function: str,
                                                      sites: dict[str, Site], crontab_site: CrontabSite) -> None:
    site = {**sites, "cora": crontab_site}[account]
    good, bad = site.create(schedule=DAILY)["id"], site.create(schedule="23 5 * * *")["id"]
    verbs = (f"import sys, {module} as module; from hermes_oscron.cli import main; right = module.{function}; "
             f"module.{function} = lambda plan, *rest: 1 / 0 if '23 5' in str(plan) else right(plan, *rest); ")
    python = f"$(dirname \"$(readlink -f {site.bin}/hermes-oscron)\")/python"
    try:
        with site.unwatched():
            site.disarm_by_hand(good)
            told = site.run(f"{python} -c \"{verbs} main(['sync'])\"", check=False)
            assert told.returncode == 78 and f"Error: default:{bad}: " in told.stderr and "ZeroDivision" in told.stderr
            assert site.armed(good) and not site.armed(bad)
            told = site.run(f"{python} -c \"{verbs} main(['doctor'])\"", check=False)
            assert told.returncode == 2 and f"WRONG: default:{bad}: " in told.stdout
            assert good not in told.stdout and "Traceback" not in told.stdout + told.stderr
            site.oscron("sync")
            assert doctor_result(site) == WELL
    finally:
        site.clear()
