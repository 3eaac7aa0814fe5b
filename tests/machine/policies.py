"""The policies of jobs: one suite for every scheduler, which test_policies_*.py run."""

import datetime
import re
import secrets
import shlex
import time
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from tests.conftest import wait_for
from tests.machine.sites import Site, nap


def rows(site: Site, job_id: str) -> list[dict[str, Any]]:
    """Return the rows of `job_id` in the ledger, oldest first."""
    found: list[dict[str, Any]] = site.api.get(f"/api/crons/runs?job_id={job_id}")["runs"]
    return found[::-1]


def ended_row(site: Site, job_id: str, seconds: float = 90) -> dict[str, Any]:
    """Return the first row of `job_id`, once it has an outcome."""
    return wait_for(lambda: [row for row in rows(site, job_id) if row["outcome"]], seconds)[0]  # type: ignore[no-any-return]


class Policies:
    """Check what every `site` does by the policy of a job."""

    def test_a_run_ends_at_its_timeout_and_is_killed_after_its_stop_timeout(self, site: Site) -> None:
        asleep = nap(0.1)
        script = f"trap 'echo asked' TERM; echo begun; while :; do {asleep}; done"
        job = site.create(script, schedule=site.soon(3), policy={"timeout": "3s", "stop_timeout": 2})
        assert job["policy"] == {"timeout": 3, "stop_timeout": 2}
        row = ended_row(site, job["id"])
        assert (row["outcome"], row["reason"]) == ("timeout", "timed out after 3 s.")
        wait_for(lambda: site.api.job(job["id"])["last_error"] == "timed out after 3 s.")
        assert 5 <= _seconds(row) < 7
        assert "asked" in site.outputs(job["id"])
        wait_for(lambda: not site.run(f"pgrep -f '^{asleep}'", check=False).stdout)

    def test_a_further_exit_code_is_a_success(self, site: Site) -> None:
        job_id = site.create("exit 75", schedule=site.soon(3), policy={"success_exit_codes": [75]})["id"]
        row = ended_row(site, job_id)
        assert (row["outcome"], row["exit_code"]) == ("ok", 75)
        wait_for(lambda: site.api.job(job_id)["last_status"] == "ok")

    def test_a_run_has_the_variables_of_its_policy(self, site: Site) -> None:
        site.put(f"{site.hermes}/job.env", "KEY='from the file'\n")
        policy = {"environment": {"GREETING": "good day"}, "environment_file": f"{site.hermes}/job.env"}
        job_id = site.create('echo "$GREETING, $KEY"', schedule=site.soon(3), policy=policy)["id"]
        assert ended_row(site, job_id)["outcome"] == "ok"
        assert "good day, from the file" in site.outputs(job_id)

    def test_a_run_is_nice_and_has_its_limit_of_memory(self, site: Site) -> None:
        script = "echo nice $(nice); python3 -c 'len(bytearray(400_000_000))' && echo too much"
        job_id = site.create(script, schedule=site.soon(3), policy={"nice": 5, "memory_max": "128M"})["id"]
        row = ended_row(site, job_id)
        assert row["outcome"] == "error"
        output = site.outputs(job_id)
        assert re.search(r"nice (5|19)$", output, re.M) and "too much" not in output

    def test_an_occurrence_that_comes_during_a_run_is_skipped_queued_or_replaces_it(self, site: Site) -> None:
        if time.time() % 60 > 50:
            time.sleep(11)
        jobs = {overlap: site.create("sleep 70", schedule="* * * * *", policy={"overlap": overlap})["id"]
                for overlap in ("skip", "queue", "replace")}
        first, second = {}, {}
        for overlap, job_id in jobs.items():
            wait_for(lambda job_id=job_id: len([row for row in rows(site, job_id) if row["started_at"]]) > 1, 250)
            first[overlap], second[overlap] = rows(site, job_id)[:2]
            assert _moment(second[overlap], "due_at") - _moment(first[overlap], "due_at") == 60
        assert (first["skip"]["outcome"], second["skip"]["outcome"]) == ("ok", "skipped")
        assert (first["queue"]["outcome"], first["replace"]["outcome"]) == ("ok", "stopped")
        assert "it was due again" in first["replace"]["reason"]
        assert 0 <= _moment(second["queue"], "started_at") - _moment(first["queue"], "ended_at") < 15
        assert 0 <= _moment(second["replace"], "started_at") - _moment(second["replace"], "due_at") < 15
        for job_id in jobs.values():
            site.verb("delete", job_id, stop=True)

    def test_occurrences_that_were_missed_run_by_the_policy(self, site: Site) -> None:
        if time.time() % 60 > 40:
            time.sleep(21)
        policies: dict[str, dict[str, Any]] = {
            "once": {}, "all": {"catch_up": "all", "catch_up_window": "1h"}, "late": {"start_deadline": "1m"}}
        jobs = {name: site.create("echo ran", schedule="* * * * *", policy=policy)["id"]
                for name, policy in policies.items()}
        first = datetime.datetime.fromisoformat(site.api.job(jobs["once"])["next_run_at"]).timestamp()
        with site.blackout():
            time.sleep(first + 140 - time.time())
        wait_for(lambda: all(len(rows(site, job_id)) >= 4 for job_id in jobs.values()), 150)
        outcomes = {name: [(round(_moment(row, "due_at") - first) // 60, row["outcome"], row["trigger"])
                           for row in rows(site, job_id)[:3]] for name, job_id in jobs.items()}
        assert [row[:2] for row in outcomes["once"]] == [(0, "ok"), (1, "missed"), (2, "missed")]
        assert [row[:2] for row in outcomes["all"]] == [(0, "ok"), (1, "ok"), (2, "ok")]
        assert [row[:2] for row in outcomes["late"]] == [(0, "missed"), (1, "missed"), (2, "ok")]
        assert outcomes["all"][0][2] == outcomes["once"][0][2] == "catch-up"
        started = [_moment(row, "started_at") for row in rows(site, jobs["all"])[:3]]
        assert started == sorted(started)
        assert not site.audit()

    def test_a_run_that_failed_is_tried_again_by_a_timer(self, site: Site) -> None:
        flags = [f"{site.hermes}/{secrets.token_hex(4)}" for _ in "12"]
        schedules = [site.soon(3), "0 9 * * *"]
        jobs = [site.create(f"[ -e '{flag}' ] || {{ touch '{flag}'; exit 3; }}", schedule=schedule,
                            policy={"retries": 2, "retry_delay": "2s", "retry_on": [3]})["id"]
                for flag, schedule in zip(flags, schedules, strict=True)]
        once, daily = jobs
        with site.unwatched():
            site.run(f"sed -i 's/\"next_run_at\": \"[^\"]*T09:00:00[^\"]*\"/\"next_run_at\": "
                     f"\"2026-01-01T09:00:00+00:00\"/' {site.hermes}/cron/jobs.json")
        site.repair()
        for job_id in jobs:
            wait_for(lambda job_id=job_id: len(rows(site, job_id)) > 1 and rows(site, job_id)[-1]["outcome"], 200)
            first, second = [row for row in rows(site, job_id) if row["started_at"]][-2:]
            assert (first["outcome"], first["exit_code"], first["attempt"]) == ("error", 3, 1)
            assert (second["outcome"], second["attempt"], second["trigger"]) == ("ok", 2, "retry")
            assert first["due_at"] == second["due_at"]
            assert _moment(second, "started_at") - _moment(first, "ended_at") >= 2
        wait_for(lambda: site.api.job(once)["state"] == "completed")
        wait_for(lambda: site.api.job(daily)["held"] is None and site.armed(daily))
        assert not site.audit()

    def test_a_schedule_in_a_zone_of_its_own_is_armed_and_fires(self, site: Site) -> None:
        zone = ZoneInfo("Asia/Kathmandu")
        due = datetime.datetime.now(zone) + datetime.timedelta(seconds=70)
        job = site.create("echo ran", schedule=f"CRON_TZ=Asia/Kathmandu {due.minute} {due.hour} * * *")
        assert site.next_fire(job["id"]) == datetime.datetime.fromisoformat(job["next_run_at"])
        assert job["next_run_at"] == due.replace(second=0, microsecond=0).isoformat()
        row = ended_row(site, job["id"], 120)
        assert (row["outcome"], _moment(row, "due_at")) == ("ok", due.replace(second=0, microsecond=0).timestamp())
        assert site.doctor()[0] == 0 and not site.audit()

    def test_a_job_is_skipped_on_an_excluded_day(self, site: Site) -> None:
        today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
        schedule = site.soon(3)
        jobs = [site.create("echo ran", schedule=schedule, policy=policy)["id"]
                for policy in ({"exclude": [today]}, {"not_before": "2199-01-01"}, {"not_after": "2020-01-01"})]
        for job_id, reason in zip(jobs, ("is excluded", "is before", "is after"), strict=True):
            row = ended_row(site, job_id)
            assert (row["outcome"], row["started_at"]) == ("skipped", None) and reason in row["reason"]
            wait_for(lambda job_id=job_id: site.api.job(job_id)["state"] == "completed")
            assert not site.outputs(job_id)

    def test_a_job_is_skipped_when_its_budget_is_exhausted(self, site: Site) -> None:
        job_id = site.create("echo ran", schedule="* * * * *", policy={"budget": "100 tokens per month"})["id"]
        assert ended_row(site, job_id)["outcome"] == "ok"
        code = (f"import sqlite3; books = sqlite3.connect('{site.hermes}/cron/oscron/runs.db', timeout=20); "
                "books.execute('UPDATE runs SET usage = json_object(?, 100)', ['total_tokens']); books.commit()")
        site.run(f"python3 -c {shlex.quote(code)}")
        skipped = wait_for(lambda: [row for row in rows(site, job_id) if row["outcome"] == "skipped"], 150)[0]
        assert skipped["started_at"] is None and "is exhausted: of 100 tokens per month" in skipped["reason"]
        assert site.armed(job_id) and not site.audit()
        assert site.api.run_to_end(job_id)["last_status"] == "ok"

    def test_jobs_with_jitter_run_at_the_time_that_they_show(self, site: Site) -> None:
        jobs = [site.create(schedule="*/3 * * * *", policy={"jitter": "10m"}) for _ in range(8)]
        assert len({_minute(job["next_run_at"]) % 3 for job in jobs}) > 1, "by chance once in 2,000 times"
        late = next(job for job in jobs if _minute(job["next_run_at"]) % 3)
        for job in jobs:
            assert job["schedule"]["expression"] == "*/3 * * * *"
            assert site.next_fire(job["id"]) == datetime.datetime.fromisoformat(job["next_run_at"])
        row = ended_row(site, late["id"], 240)
        assert (row["due_at"], row["outcome"]) == (late["next_run_at"], "ok")
        assert not site.audit()

    def test_a_job_that_fails_again_and_again_is_paused_and_disarmed(self, site: Site) -> None:
        job_id = site.create("exit 3", schedule="0 9 * * *", policy={"pause_after": 2})["id"]
        site.api.run_to_end(job_id)
        assert site.api.run_to_end(job_id)["state"] == "paused"
        wait_for(lambda: not site.armed(job_id))
        assert site.verb("resume", job_id)["job"]["state"] == "scheduled"
        wait_for(lambda: site.armed(job_id))

    def test_the_jobs_of_a_group_run_one_after_the_other(self, site: Site) -> None:
        schedule = site.soon(4)
        jobs = [site.create("sleep 2", schedule=schedule, policy={"group": "one-by-one"})["id"] for _ in "123"]
        runs = sorted((ended_row(site, job_id) for job_id in jobs), key=lambda row: row["started_at"])
        assert [row["outcome"] for row in runs] == ["ok"] * 3
        for before, after in pairwise(runs):
            assert _moment(after, "started_at") >= _moment(before, "ended_at") - 0.5
        assert sum(row["queued_at"] is not None for row in runs) >= 2

    def test_a_run_has_its_credentials(self, site: Site) -> None:
        site.put(f"{site.hermes}/job.key", "treasure")
        job_id = site.create('cat "$CREDENTIALS_DIRECTORY/key"', schedule=site.soon(3),
                             policy={"credentials": {"key": f"{site.hermes}/job.key"}})["id"]
        assert ended_row(site, job_id)["outcome"] == "ok" and "treasure" in site.outputs(job_id)
        assert not site.run(f"ls '{site.hermes}/cron/oscron/credentials'").stdout

    def test_a_policy_that_is_changed_holds_from_the_next_run_on(self, site: Site) -> None:
        job_id = site.create("sleep 4", schedule="0 9 * * *", policy={"timeout": 60})["id"]
        site.api.start_run(job_id)
        assert site.verb("update", job_id, policy={"timeout": 1})["job"]["policy"] == {"timeout": 1}
        wait_for(lambda: site.api.job(job_id)["last_status"] == "ok")
        wait_for(lambda: not site.api.running())
        assert site.api.run_to_end(job_id)["last_error"] == "timed out after 1 s."

    def test_a_default_in_the_configuration_holds_for_jobs_without_a_value(self, site: Site) -> None:
        before = site.run(f"cat {site.config}").stdout
        try:
            site.put(site.config, f"{before}\n[policy]\ntimeout = '1s'\n[profile.default.policy]\n"
                                  "stop_timeout = '3s'\n")
            plain, own = (site.create("sleep 3", schedule="0 9 * * *", policy=policy)
                          for policy in (None, {"timeout": 60}))
            assert plain["effective_policy"] == {"timeout": 1, "stop_timeout": 3}
            assert own["effective_policy"] == {"timeout": 60, "stop_timeout": 3}
            assert site.api.run_to_end(plain["id"])["last_error"] == "timed out after 1 s."
            assert site.api.run_to_end(own["id"])["last_status"] == "ok"
        finally:
            site.put(site.config, before)


def _minute(iso: str) -> int:
    return datetime.datetime.fromisoformat(iso).minute


def _seconds(row: dict[str, Any]) -> float:
    """Return for how long the run of `row` lasted."""
    return _moment(row, "ended_at") - _moment(row, "started_at")


def _moment(row: dict[str, Any], key: str) -> float:
    """Return the time `key` of `row` in unix seconds."""
    return datetime.datetime.fromisoformat(row[key]).timestamp()
