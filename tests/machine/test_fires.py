"""Fires by a real timer and a real service: their names, the journal, the environment."""

import datetime
import json
import re
import shlex
from typing import Any

from tests.conftest import wait_for
from tests.machine.sites import Site, soon


def test_every_kind_is_listed_by_systemd_with_its_next_fire(site: Site) -> None:
    jobs = [site.create(schedule=schedule) for schedule in
            ("30 8 * * 1,3", "every 2h", "every 45m", "every 7h", "in 2h", "*/7 9-17 * * MON-FRI", "0 0 L * *")]
    listed = site.systemctl("list-timers --no-pager 'hermes-job@*'")
    for job in jobs:
        assert f"hermes-job@default:{job['id']}.timer" in listed
        assert site.next_fire(job["id"]) == datetime.datetime.fromisoformat(job["next_run_at"])
        assert site.timer(job["id"], "AccuracyUSec") == "1us"


def test_the_journal_has_only_the_start_the_output_and_the_end_of_a_run(site: Site) -> None:
    """A one-shot runs when it is due, and another job by hand. Its timer is started before and removed afterwards."""
    wait_for(lambda: not site.box.run("pgrep -f '[h]ermes-cron-exec'", check=False).stdout, 60)  # of other tests
    since = site.box.run("journalctl --no-pager -n 0 --show-cursor").stdout.rpartition("cursor: ")[2].strip()
    job_id = site.create("echo to the journal; echo '<7>and this'", schedule=soon(2), name="mail")["id"]
    by_hand = site.create("echo now", schedule="every 7h")["id"]
    wait_for(lambda: site.api.job(job_id)["last_status"])
    site.api.run_to_end(by_hand)
    site.wait_for_syncs()
    site.stop_server()
    entries = [json.loads(line) for line in site.box.run(
        f"journalctl --no-pager -o json --after-cursor={shlex.quote(since)}").stdout.splitlines()]
    said = [(entry["SYSLOG_IDENTIFIER"], entry["MESSAGE"]) for entry in entries
            if "hermes" in str(entry) and not re.search(r"hermes-job@\S+\.timer|Created slice", entry["MESSAGE"])]
    patterns = [rf"mail \({job_id}\): started, due \d\d:\d\d:\d\d", "to the journal", "<7>and this",
                rf"mail \({job_id}\): succeeded after \d+\.\d s",
                rf".* \({by_hand}\): started by hand", "now", rf".* \({by_hand}\): succeeded after \d+\.\d s"]
    assert len(said) == len(patterns), said
    for (identifier, message), pattern in zip(said, patterns, strict=True):
        assert identifier == "hermes-job" and re.fullmatch(pattern, message), said


def test_the_journal_has_the_failure_of_a_run(site: Site) -> None:
    job = site.create("echo to the journal; echo and this >&2; exit 3", schedule=soon(1))
    wait_for(lambda: site.api.job(job["id"])["last_status"])
    said = wait_for(lambda: _story(site, job["id"]))
    for part in ("to the journal", "and this", ": exited with code 3: and this", "status=1/FAILURE"):
        assert part in said
    assert site.systemctl(f"is-failed hermes-job@default:{job['id']}.service", check=False).strip() == "failed"


def _story(site: Site, job_id: str) -> str | None:
    text = site.journal(job_id)
    return text if "Failed with result" in text else None


def test_a_run_by_hand_is_the_same_unit(site: Site) -> None:
    job = site.create("cat /proc/self/cgroup", schedule="0 9 * * *")
    assert site.api.post("/api/crons/run", {"job_id": job["id"]})["status"] == "running"
    wait_for(lambda: site.api.job(job["id"])["last_status"] == "ok")
    content = site.api.get(f"/api/crons/output?job_id={job['id']}")["outputs"][0]["content"]
    assert f"hermes-job@default:{job['id']}.service" in content
    assert site.next_fire(job["id"]) == datetime.datetime.fromisoformat(job["next_run_at"])


def test_the_command_of_the_configuration_gets_the_prompt(site: Site) -> None:
    site.box.put(f"{site.hermes}/oscron.toml", '[exec]\ncommand = ["sh", "-c", "tr a-z A-Z; echo $HERMES_JOB_NAME"]\n',
                 site.user)
    try:
        job = site.api.create(prompt="summarise my mail", name="mail", schedule=soon(1))
        wait_for(lambda: site.api.job(job["id"])["last_status"] == "ok")
        content = site.api.get(f"/api/crons/output?job_id={job['id']}")["outputs"][0]["content"]
        assert "SUMMARISE MY MAIL" in content and "mail" in content
    finally:
        site.run_prompts()


def test_without_an_executor_the_run_fails_with_the_setting_to_change(site: Site) -> None:
    site.run(f"rm {site.config}")
    try:
        job = site.api.create(prompt="nobody is there", schedule=soon(1))
        wait_for(lambda: site.api.job(job["id"])["last_status"] == "error")
        assert "oscron.toml" in site.api.job(job["id"])["last_error"]
    finally:
        site.run_prompts()


def test_a_job_has_the_environment_and_umask_of_its_account(site: Site) -> None:
    job = site.create('echo "$HOME $USER $LOGNAME"; umask', schedule="0 9 * * *")
    site.api.post("/api/crons/run", {"job_id": job["id"]})
    wait_for(lambda: site.api.job(job["id"])["last_status"] == "ok")
    content = site.api.get(f"/api/crons/output?job_id={job['id']}")["outputs"][0]["content"]
    assert f"{site.home} {site.user} {site.user}\n0022" in content


def test_a_new_machine_time_zone_moves_wall_clock_times_and_no_instant(site: Site) -> None:
    daily, interval, once = (site.create(schedule=schedule)["id"] for schedule in ("0 9 * * *", "every 2h", "in 2h"))
    before = {job_id: site.next_fire(job_id) for job_id in (interval, once)}
    was = site.box.run("readlink /etc/localtime").stdout.strip()
    site.box.run("ln -sfn /usr/share/zoneinfo/Asia/Tokyo /etc/localtime.new && mv -T /etc/localtime.new /etc/localtime")
    try:
        job = wait_for(lambda: _if_at_nine_in_tokyo(site.api.job(daily)))
        shown = f"TZ=UTC systemctl {site.manager} show -P NextElapseUSecRealtime hermes-job@default:{{}}.timer"
        wait_for(lambda: site.run(shown.format(daily)).stdout.split()[1:3] == _utc(job["next_run_at"]))
        for job_id, elapse in before.items():
            assert elapse and site.run(shown.format(job_id)).stdout.split()[1:3] == _utc(elapse.isoformat())
    finally:
        site.wait_for_syncs()
        site.box.run(f"ln -sfn {was} /etc/localtime.new && mv -T /etc/localtime.new /etc/localtime")
        wait_for(lambda: "OK: no problems found." in site.run(f"{site.bin}/hermes-oscron doctor", check=False).stdout)


def _if_at_nine_in_tokyo(job: Any) -> Any:
    return job if job["next_run_at"].endswith("09:00:00+09:00") else None


def _utc(iso: str) -> list[str]:
    moment = datetime.datetime.fromisoformat(iso).astimezone(datetime.UTC)
    return [f"{moment:%Y-%m-%d}", f"{moment:%H:%M:%S}"]
