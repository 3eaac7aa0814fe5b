"""The life of a job from creation to deletion: one suite for every scheduler, which test_lifecycle_*.py run."""

import datetime
import http.client
import random
import re
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import wait_for
from tests.machine.sites import Site, nap, sleep_until

DAILY = "0 9 * * *"


def instant(iso: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(iso)


def wait_until_quiet(site: Site) -> None:
    """Wait until nothing runs."""
    wait_for(lambda: not site.api.running(), 20)


class Lifecycle:
    """Check everything that must hold for every `site`."""

    # Create

    def test_a_one_shot_fires_once_at_its_time_and_is_completed(self, site: Site) -> None:
        schedule = site.soon(3)
        job_id = site.create("date +%s.%N; sleep 2; echo whole", schedule=schedule, name="once")["id"]
        due = site.api.job(job_id)["next_run_at"]
        assert site.armed(job_id) and site.next_fire(job_id) == instant(due) == instant(schedule)
        sleep_until(due)
        running = wait_for(site.api.running)
        assert list(running) == [job_id] and 0 <= running[job_id] < 2
        one = site.api.get(f"/api/crons/status?job_id={job_id}")
        assert one["running"] is True and one["elapsed"] >= 0
        wait_for(lambda: site.api.job(job_id)["state"] == "completed")
        done = site.api.job(job_id)
        assert (done["last_status"], done["next_run_at"], done["enabled"]) == ("ok", None, False)
        [content] = site.api.outputs(job_id)
        assert "## Response" in content and "whole" in content
        started = float(re.search(r"^\d+\.\d+$", content, re.M)[0])  # type: ignore[index]
        assert 0 <= started - instant(due).timestamp() < site.late
        wait_for(lambda: not site.armed(job_id))
        assert site.doctor()[0] == 0

    def test_every_kind_is_armed_for_its_next_run(self, site: Site) -> None:
        jobs = [site.create(schedule=schedule) for schedule in
                ("30 8 * * 1,3", "every 2h", "every 30m", "every 1d", "in 2h", "*/7 9-17 * * MON-FRI", "0 0 1 1 *")]
        for job in jobs:
            assert site.armed(job["id"]) and site.next_fire(job["id"]) == instant(job["next_run_at"])

    # Update, pause, resume, delete

    def test_update_arms_only_the_new_schedule(self, site: Site) -> None:
        job_id = site.create(schedule=DAILY, name="before")["id"]
        job = site.verb("update", job_id, schedule="30 10 * * 1-5", name="after")["job"]
        assert site.next_fire(job_id) == instant(job["next_run_at"])
        assert (job["name"], job["schedule"]["expression"]) == ("after", "30 10 * * 1-5")

    def test_pause_disarms_and_resume_arms_again(self, site: Site) -> None:
        job_id = site.create(schedule="every 1h")["id"]
        assert site.verb("pause", job_id, reason="holidays")["job"]["next_run_at"] is None
        assert not site.armed(job_id)
        assert site.next_fire(job_id) is None
        resumed = site.verb("resume", job_id)["job"]
        assert site.armed(job_id) and site.next_fire(job_id) == instant(resumed["next_run_at"])

    def test_a_command_before_the_fire_decides_whether_a_job_fires(self, site: Site) -> None:
        """Of seven jobs for the same time, three fire."""
        schedule, fired = site.soon(15), f"{site.hermes}/{secrets.token_hex(4)}"

        def create(what: str, **fields: object) -> str:
            job_id: str = site.create(f"echo {what} >>'{fired}'", **{"schedule": schedule, **fields})["id"]
            return job_id

        create("left alone")
        here, away = create("moved here", schedule=DAILY), create("moved away")
        paused, resumed = create("paused"), create("resumed", enabled=False)
        create("made paused", enabled=False)
        deleted = create("deleted")
        site.verb("update", here, schedule=schedule)
        site.verb("update", away, schedule=DAILY)
        site.verb("pause", paused)
        site.verb("resume", resumed)
        site.verb("delete", deleted)
        assert not site.traces(deleted)
        sleep_until(schedule, later=site.late + 1)
        wait_until_quiet(site)
        assert sorted(site.run(f"cat '{fired}'").stdout.splitlines()) == ["left alone", "moved here", "resumed"]
        assert site.api.job(away)["last_run_at"] is None
        assert site.next_fire(away) == instant(site.api.job(away)["next_run_at"])
        status, sentence = site.api.refused("/api/crons/resume", {"job_id": paused})
        assert status == 400 and "past" in sentence

    def test_occurrences_missed_while_paused_stay_missed_and_repeat_is_used_up(self, site: Site) -> None:
        """A minute passes for two jobs: one is paused, the other may run once."""
        if time.time() % 60 > 50:
            time.sleep(61 - time.time() % 60)
        paused, used_up = (site.create(schedule="* * * * *", repeat=repeat)["id"] for repeat in (None, 1))
        due = site.api.job(paused)["next_run_at"]
        site.verb("pause", paused)
        sleep_until(due)
        wait_for(lambda: site.api.job(used_up)["state"] == "completed")
        resumed = site.verb("resume", paused)["job"]
        assert site.next_fire(paused) == instant(resumed["next_run_at"]) > instant(due)
        time.sleep(2)
        assert site.api.job(paused)["last_run_at"] is None and not site.api.outputs(paused)
        assert len(site.api.outputs(used_up)) == 1
        wait_for(lambda: not site.armed(used_up))

    def test_a_run_in_progress_ends_normally_when_its_job_is_changed(self, site: Site) -> None:
        schedule = site.soon(4)
        updated, paused, deleted = (site.create("sleep 4; echo as it began", schedule=schedule)["id"] for _ in "123")
        sleep_until(schedule)
        wait_for(lambda: len(site.api.running()) == 3)
        time.sleep(1)  # until then a runner may still read the job
        job = site.verb("update", updated, schedule=DAILY)["job"]
        site.verb("pause", paused)
        site.verb("delete", deleted)
        wait_until_quiet(site)
        for job_id, state in ((updated, "scheduled"), (paused, "paused")):
            ended = site.api.job(job_id)
            assert (ended["last_status"], ended["state"]) == ("ok", state)
            [content] = site.api.outputs(job_id)
            assert "as it began" in content
        assert site.armed(updated) and site.next_fire(updated) == instant(job["next_run_at"])
        assert not site.armed(paused)
        wait_for(lambda: not site.traces(deleted))

    def test_delete_stops_a_run_in_progress_on_request(self, site: Site) -> None:
        """One is deleted over HTTP, the other from a terminal, which keeps the outputs."""
        asleep = nap(31)
        gone, kept = (site.create(f"echo begun; {asleep}", schedule=DAILY)["id"] for _ in "12")
        for job_id in (gone, kept):
            site.verb("run", job_id)
        assert site.verb("delete", gone, stop=True)["run"]["state"] == "stopped"
        assert "was stopped. Its outputs stay in" in site.oscron(f"delete --stop --keep-outputs {kept}")
        assert not site.api.running() and not site.run(f"pgrep -f '^{asleep}'", check=False).stdout
        wait_for(lambda: not site.traces(gone))
        assert "stopped by SIGTERM" in site.outputs(kept)
        assert site.doctor()[0] == 0
        site.run(f"rm -r '{site.hermes}/cron/output/{kept}'")

    def test_delete_removes_everything_of_the_job(self, site: Site) -> None:
        scheduled, paused = (site.create(schedule=DAILY, enabled=enabled)["id"] for enabled in (True, False))
        for job_id in (scheduled, paused):
            site.api.run_to_end(job_id)
            assert site.traces(job_id)
            site.verb("delete", job_id)
            wait_for(lambda job_id=job_id: not site.traces(job_id))
        assert site.doctor()[0] == 0

    # Run

    def test_run_returns_before_the_run_ends_and_a_paused_job_stays_paused(self, site: Site) -> None:
        job_id = site.create("sleep 3; echo by hand", schedule=DAILY, enabled=False)["id"]
        begun = time.monotonic()
        assert site.verb("run", job_id) == {"ok": True, "job_id": job_id, "status": "running"}
        assert time.monotonic() - begun < 1.5
        wait_for(lambda: site.api.job(job_id)["last_status"] == "ok")
        assert site.api.job(job_id)["state"] == "paused" and not site.armed(job_id)
        assert "by hand" in site.api.outputs(job_id)[0]

    def test_a_job_that_has_fired_runs_by_hand_over_http_and_from_a_terminal(self, site: Site) -> None:
        job_id = site.create(schedule="* * * * *")["id"]
        wait_for(lambda: site.api.job(job_id)["repeat"]["completed"] == 1, 70)
        wait_until_quiet(site)
        assert site.verb("run", job_id) == {"ok": True, "job_id": job_id, "status": "running"}
        wait_for(lambda: site.api.job(job_id)["repeat"]["completed"] == 2)
        wait_until_quiet(site)
        assert site.oscron(f"run {job_id}") == f"Started {job_id}.\n"
        wait_for(lambda: site.api.job(job_id)["repeat"]["completed"] == 3)
        job = site.api.job(job_id)
        assert job["state"] == "scheduled" and site.next_fire(job_id) == instant(job["next_run_at"])

    def test_a_one_shot_that_has_failed_or_completed_runs_again_by_hand(self, site: Site) -> None:
        schedule = site.soon(3)
        jobs = {site.create(f"exit {code}", schedule=schedule)["id"]: status
                for code, status in ((0, "ok"), (3, "error"))}
        sleep_until(schedule)
        for job_id, status in jobs.items():
            wait_for(lambda job_id=job_id: site.api.job(job_id)["state"] == "completed", 20)
            wait_until_quiet(site)
            assert site.verb("run", job_id)["status"] == "running"
            wait_for(lambda job_id=job_id: len(site.api.outputs(job_id)) == 2)
            wait_until_quiet(site)
            job = site.api.job(job_id)
            assert (job["state"], job["last_status"], job["next_run_at"]) == ("completed", status, None)

    def test_manual_runs_at_the_moment_of_a_fire_lose_no_run_and_never_overlap(self, site: Site) -> None:
        """Systemd merges two starts at the same moment into one run."""
        schedule = site.soon(6)
        due = instant(schedule).timestamp()
        place = f"{site.hermes}/{secrets.token_hex(4)}"
        site.run(f"mkdir '{place}'")
        jobs = [site.create(f"mkdir '{place}/{nth}' || echo {nth} >>'{place}/twice'; sleep 0.3; rmdir '{place}/{nth}'",
                            schedule=schedule)["id"] for nth in range(6)]

        def run(nth: int) -> str:
            time.sleep(max(0.0, due + (nth - 3) * 0.04 - time.time()))
            return str(site.verb("run", jobs[nth])["status"])

        with ThreadPoolExecutor(6) as callers:
            answers = list(callers.map(run, range(6)))
        sleep_until(schedule, later=site.late + 1)
        wait_until_quiet(site)
        assert site.run(f"ls '{place}'").stdout == ""
        for job_id, answer in zip(jobs, answers, strict=True):
            assert site.api.job(job_id)["state"] == "completed"
            assert len(site.api.outputs(job_id)) in (1, 2), answer

    def test_a_run_by_hand_does_not_move_the_next_fire(self, site: Site) -> None:
        job = site.create(schedule="every 2h")
        assert site.api.run_to_end(job["id"])["next_run_at"] == job["next_run_at"]
        assert site.next_fire(job["id"]) == instant(job["next_run_at"])

    def test_a_job_whose_repeat_is_used_up_by_hand_is_completed_and_disarmed(self, site: Site) -> None:
        job_id = site.create(schedule="every 1h", repeat=2)["id"]
        assert site.api.run_to_end(job_id)["state"] == "scheduled" and site.armed(job_id)
        assert site.api.run_to_end(job_id)["state"] == "completed"
        wait_for(lambda: not site.armed(job_id))

    def test_runs_of_one_job_never_overlap(self, site: Site) -> None:
        """Four callers, a terminal, and the clock."""
        schedule = site.soon(6)
        end = int(instant(schedule).timestamp() + site.late + 1)
        job_id = site.create(f"while [ $(date +%s) -lt {end} ]; do sleep 0.1; done", schedule=schedule)["id"]
        with ThreadPoolExecutor(4) as callers:
            list(callers.map(lambda _: site.verb("run", job_id), range(4)))
        wait_for(site.api.running)
        answer = site.verb("run", job_id)
        assert (answer["ok"], answer["status"]) == (False, "already_running") and answer["elapsed"] >= 0
        assert "never runs twice" in site.run(f"{site.bin}/hermes-cron-exec default:{job_id} --trigger manual").stdout
        sleep_until(schedule, later=site.late + 1)
        wait_until_quiet(site)
        job = site.api.job(job_id)
        assert (job["last_status"], job["state"], job["repeat"]["completed"]) == ("ok", "completed", 1)
        assert len(site.api.outputs(job_id)) == 1

    # Kill

    def test_a_killed_job_is_a_failed_run(self, site: Site) -> None:
        job_id = site.create("echo begun; kill -9 $$", schedule=DAILY)["id"]
        job = site.api.run_to_end(job_id)
        assert job["last_status"] == "error" and "SIGKILL" in job["last_error"] and site.armed(job_id)
        assert "begun" in site.api.outputs(job_id)[0]

    def test_a_killed_runner_is_an_interrupted_run_and_the_next_one_works(self, site: Site) -> None:
        flag = f"{site.hermes}/{secrets.token_hex(4)}"
        job_id = site.create(f"[ -e '{flag}' ] && exit; touch '{flag}'; exec sleep 20", schedule=DAILY)["id"]
        site.api.start_run(job_id)
        wait_for(lambda: site.run(f"ls '{flag}'", check=False).returncode == 0)
        site.run(f"kill -9 {site.runner(job_id)}")
        job = wait_for(lambda: _if_ended(site.api.job(job_id)))
        assert job["last_status"] == "error" and "interrupted" in job["last_error"]
        assert not site.api.running()
        assert job["state"] == "scheduled" and site.next_fire(job_id) == instant(job["next_run_at"])
        assert site.api.run_to_end(job_id)["last_status"] == "ok"

    def test_no_process_of_a_killed_run_survives_a_sync(self, site: Site) -> None:
        asleep = nap(31)
        job_id = site.create(f"exec {asleep}", schedule=DAILY)["id"]
        site.api.start_run(job_id)
        wait_for(lambda: site.run(f"pgrep -f '^{asleep}'", check=False).stdout)
        site.run(f"kill -9 {site.runner(job_id)}")
        site.repair()
        wait_for(lambda: not site.api.running() and not site.run(f"pgrep -f '^{asleep}'", check=False).stdout)

    def test_a_server_that_stops_ends_no_run(self, site: Site) -> None:
        for end in (site.stop_server, site.kill_server):
            job_id = site.create("sleep 3; echo whole", schedule=DAILY)["id"]
            site.api.start_run(job_id)
            end()
            wait_for(lambda job_id=job_id: "whole" in site.outputs(job_id))
            site.start_server()
            wait_until_quiet(site)
            assert site.api.job(job_id)["last_status"] == "ok"

    def test_one_sync_repairs_a_server_killed_at_any_point(self, site: Site) -> None:
        """Clients create and delete while the server is killed again and again."""
        ended = threading.Event()
        dice = random.Random(4)

        def client(_nth: int) -> None:
            made: list[str] = []
            while not ended.is_set():
                try:
                    if len(made) > 3:
                        site.verb("delete", made.pop(0))
                    else:
                        made.append(site.api.create(schedule=DAILY)["id"])
                except (OSError, http.client.HTTPException, AssertionError, ValueError):
                    continue

        with ThreadPoolExecutor(3) as clients:
            running = clients.map(client, range(3))
            for _ in range(12):
                time.sleep(dice.uniform(0.2, 0.9))
                site.kill_server()
                site.start_server()
            ended.set()
            list(running)
        site.oscron("sync")
        jobs = site.stored_jobs()
        assert jobs and all(site.armed(job["id"]) for job in jobs if job["state"] == "scheduled")
        assert site.doctor()[0] == 0

    # Keeping what fires in step

    def test_a_missed_job_runs_once_afterwards(self, site: Site) -> None:
        with site.unwatched():  # so that no sync of what is made here is to be waited for
            schedule = site.soon(12)
            missed = site.create("date +%s.%N", schedule=schedule)["id"]
            paused = site.create(schedule=schedule, enabled=False)["id"]
            with site.blackout():
                sleep_until(schedule, later=2)
                over = time.time()
        wait_for(lambda: site.api.job(missed)["state"] == "completed")
        started = float(re.search(r"^\d+\.\d+$", site.api.outputs(missed)[0], re.M)[0])  # type: ignore[index]
        assert started >= over and site.api.job(missed)["last_status"] == "ok"
        site.oscron("sync")
        time.sleep(1)
        assert len(site.api.outputs(missed)) == 1
        assert site.api.job(paused)["last_run_at"] is None

    @pytest.mark.usefixtures("unwatched")
    def test_a_job_disarmed_by_hand_is_reported_and_armed_again(self, site: Site) -> None:
        job = site.create(schedule=DAILY)
        site.disarm_by_hand(job["id"])
        assert not site.armed(job["id"])
        status, said = site.doctor()
        assert status == 2 and "WRONG: " in said
        site.repair()
        assert site.armed(job["id"]) and site.next_fire(job["id"]) == instant(job["next_run_at"])
        assert site.doctor()[0] == 0

    # The ledger

    def test_the_ledger_accounts_for_everything_above(self, site: Site) -> None:
        wait_until_quiet(site)
        assert site.audit() == ""
        assert site.api.get("/api/crons/runs?outcome=ok")["runs"]


def _if_ended(job: dict[str, object]) -> dict[str, object] | None:
    return job if job["last_status"] else None
