"""Runs that were cut off are recorded by the next sync or runner, once."""

import datetime
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hermes_oscron.files import locked
from hermes_oscron.hermes import job_store
from hermes_oscron.hermes.home import Home
from hermes_oscron.jobs.record import instant
from hermes_oscron.runner import begin
from hermes_oscron.runs import lock, model
from hermes_oscron.runs.interrupted import record_interrupted_runs, with_unrecorded_runs
from tests.conftest import wait_for
from tests.runner.jobs import (
    MANUAL,
    SLEEPER,
    backdate_interrupted_run,
    change_record,
    fire,
    firing,
    interrupt,
    kill,
    make_due,
    make_script,
    pages,
    pid_in,
    record,
    service,
)

UTC = datetime.UTC
pytestmark = pytest.mark.usefixtures("without_systemd_environment")


def test_a_killed_run_is_recorded_as_interrupted(root: Path, home: Home) -> None:
    job_id = make_script(root, SLEEPER)
    interrupt(root, job_id)
    ended = fire(job_id, "--settle")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    after = record(root, job_id)
    assert after["last_status"] == "error"
    assert re.fullmatch(r"interrupted: the run begun at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} never ended by "
                        r"itself; it was killed, or the machine went down\.", after["last_error"])
    assert (after["state"], after["repeat"]["completed"]) == ("scheduled", 1)
    assert datetime.datetime.fromisoformat(after["next_run_at"]) > datetime.datetime.now(UTC)
    assert os.listdir(home.state.runs) == []


def test_a_run_cut_off_just_after_it_was_recorded_counts_once(root: Path, home: Home) -> None:
    job_id = make_script(root, "echo fine\n")
    started = datetime.datetime.now(UTC)
    fire(job_id, *MANUAL)
    before = record(root, job_id)
    claim = lock.acquire(home, job_id)
    assert claim
    claim.write(model.Run(job_id, started.timestamp(), "schedule"))
    claim.close()
    assert fire(job_id, "--settle").returncode == 0
    assert record(root, job_id) == before and before["last_status"] == "ok"
    assert os.listdir(home.state.runs) == []


def test_a_cut_off_run_is_recorded_once(root: Path) -> None:
    job_id = make_script(root, SLEEPER)
    interrupt(root, job_id)
    fire(job_id, "--settle")
    before = record(root, job_id)
    assert fire(job_id, "--settle").returncode == 0
    assert record(root, job_id) == before


@pytest.mark.parametrize(("result", "status", "told"), [
    ("oom-kill", "9", "was cut off (oom-kill, 9)."), ("signal", "KILL", "was cut off (signal, KILL)."),
    ("timeout", "", "was cut off (timeout)."),
])
def test_the_end_that_systemd_reports_is_in_the_record(root: Path, result: str, status: str, told: str) -> None:
    job_id = make_script(root, SLEEPER)
    interrupt(root, job_id)
    fire(job_id, "--settle", SERVICE_RESULT=result, EXIT_STATUS=status)
    assert record(root, job_id)["last_error"].endswith(told)


def test_a_run_in_progress_is_not_recorded(root: Path, home: Home) -> None:
    job_id = make_script(root, SLEEPER)
    with firing(job_id, *MANUAL) as runner:
        pid_in(root / "started")
        assert fire(job_id, "--settle").returncode == 0
        assert record_interrupted_runs(home) == []
        assert record(root, job_id)["last_status"] is None
        assert list(lock.running(home)) == [job_id]
        runner.terminate()
        runner.wait(10)
    assert record(root, job_id)["last_error"] == "stopped by SIGTERM before it had ended."


def test_a_run_that_is_being_recorded_is_over_and_the_next_run_waits_for_the_record(root: Path, home: Home) -> None:
    job_id = make_script(root, SLEEPER)
    interrupt(root, job_id)
    run_file = root / "cron" / "oscron" / "runs" / job_id
    with ThreadPoolExecutor() as others:
        with locked(f"{home.cron_dir}/.jobs.lock"):  # as the agent holds it, or a slow disk
            recording = others.submit(record_interrupted_runs, home)
            wait_for(lambda: run_file.read_bytes()[lock.PART_BYTES - 1:lock.PART_BYTES] == lock.ENDED)
            assert lock.running(home) == {} and lock.find(home, job_id) is None
            next_run = others.submit(lock.acquire, home, job_id)
            time.sleep(3 * lock.LOCK_TIMEOUT_S)
            assert not recording.done() and not next_run.done()
        assert [job.id for job in recording.result()] == [job_id]
        claim = next_run.result()
    assert claim and claim.stale_run() is None and list(lock.running(home)) == [job_id]
    claim.release()


def test_a_job_that_never_ran_has_nothing_to_record(root: Path, home: Home) -> None:
    job_id = make_script(root, "true\n")
    before = record(root, job_id)
    assert fire(job_id, "--settle").returncode == 0
    assert fire("not-there", "--settle").returncode == 0
    assert record(root, job_id) == before


def test_the_runs_of_one_job_or_of_all_are_recorded(root: Path, home: Home) -> None:
    jobs = [make_script(root, SLEEPER) for _ in range(3)]
    for job_id in jobs:
        interrupt(root, job_id)
        (root / "started").unlink()
    assert [job.id for job in record_interrupted_runs(home, jobs[0])] == [jobs[0]]
    assert [record(root, job_id)["last_status"] for job_id in jobs] == ["error", None, None]
    assert sorted(job.id for job in record_interrupted_runs(home)) == sorted(jobs[1:])
    assert [record(root, job_id)["last_status"] for job_id in jobs] == ["error"] * 3


def test_a_one_shot_that_was_cut_off_is_completed(root: Path) -> None:
    job_id = make_script(root, SLEEPER, schedule="in 30m")
    interrupt(root, job_id)
    fire(job_id, "--settle")
    after = record(root, job_id)
    assert (after["state"], after["next_run_at"], after["last_status"]) == ("completed", None, "error")


def test_a_paused_job_that_was_cut_off_stays_paused(root: Path) -> None:
    job_id = make_script(root, SLEEPER)
    service(root).pause(job_id)
    interrupt(root, job_id)
    fire(job_id, "--settle")
    assert (record(root, job_id)["state"], record(root, job_id)["next_run_at"]) == ("paused", None)


def test_a_job_deleted_after_it_was_cut_off_leaves_nothing(root: Path, home: Home) -> None:
    job_id = make_script(root, SLEEPER)
    interrupt(root, job_id)
    service(root).delete(job_id)
    assert fire(job_id, "--settle").returncode == 0
    assert os.listdir(home.state.runs) == []
    assert service(root).list_jobs()["jobs"] == []


def test_a_claim_without_a_run_is_discarded(root: Path, home: Home) -> None:
    job_id = make_script(root, "echo ran\n")
    os.makedirs(home.state.runs)
    Path(home.state.runs, job_id).touch()
    assert record_interrupted_runs(home) == []
    assert os.listdir(home.state.runs) == []
    assert record(root, job_id)["last_status"] is None


@pytest.mark.parametrize("content", ["{", "[]", '{"started_at": "soon"}', "\0" * 100])
def test_a_run_with_an_unreadable_file_is_recorded_as_interrupted(root: Path, home: Home, content: str) -> None:
    job_id = make_script(root, "echo ran\n")
    os.makedirs(home.state.runs)
    Path(home.state.runs, job_id).write_text(content)
    assert [job.id for job in record_interrupted_runs(home)] == [job_id]
    assert record(root, job_id)["last_error"].startswith("interrupted: the run begun at ")
    assert fire(job_id, *MANUAL).stdout == "ran\n"


def test_status_and_show_report_a_cut_off_run(root: Path) -> None:
    job_id = make_script(root, SLEEPER)
    interrupt(root, job_id)
    assert service(root).status() == {}
    assert service(root).show(job_id)["last_status"] == "error"


def test_an_interrupted_run_leaves_no_output(root: Path, home: Home) -> None:
    job_id = make_script(root, SLEEPER)
    with firing(job_id, *MANUAL) as runner:
        wait_for(lambda: os.path.exists(f"{home.state.live}/{job_id}"))
        runner.kill()
        runner.wait()
    kill(pid_in(root / "started"))
    fire(job_id, "--settle")
    assert pages(root, job_id) == [] and os.listdir(home.state.live) == []


def test_an_occurrence_after_the_cut_off_run_is_still_due(root: Path, home: Home) -> None:
    """The machine went down during a run, and was off for days: the job catches up once."""
    job_id = make_script(root, SLEEPER)
    interrupt(root, job_id)
    backdate_interrupted_run(root, job_id, 3)
    record_interrupted_runs(home)
    after = record(root, job_id)
    now = datetime.datetime.now(UTC)
    assert after["last_status"] == "error"
    due = instant(after["next_run_at"])
    assert due
    assert due <= now


def test_a_claimed_run_that_is_killed_is_recorded_once_and_its_claim_ends(root: Path) -> None:
    job_id = make_script(root, SLEEPER)
    make_due(root, job_id)
    with firing(job_id) as runner:
        job = pid_in(root / "started")
        claimed = record(root, job_id)
        runner.kill()
        runner.wait()
    kill(job)
    assert claimed["fire_claim"]["by"].split(":")[1] == str(runner.pid)
    assert instant(claimed["next_run_at"]) > datetime.datetime.now(UTC), "the agent does not find it due"
    again = fire(job_id)
    assert again.returncode == 0 and "Skipped" in again.stdout
    fire(job_id, "--settle")
    after = record(root, job_id)
    assert after["last_error"].startswith("interrupted: ") and after["repeat"]["completed"] == 1
    assert after["fire_claim"] is None and after["next_run_at"] == claimed["next_run_at"]


def test_the_occurrences_after_a_claimed_run_are_due_when_the_machine_was_off_for_days(root: Path, home: Home) -> None:
    job_id = make_script(root, SLEEPER)
    make_due(root, job_id)
    with firing(job_id) as runner:
        job = pid_in(root / "started")
        runner.kill()
        runner.wait()
    kill(job)
    claimed = record(root, job_id)
    backdate_interrupted_run(root, job_id, 3)
    change_record(root, job_id, next_run_at=claimed["next_run_at"])  # wherever the claim has moved it
    record_interrupted_runs(home)
    due = instant(record(root, job_id)["next_run_at"])
    assert due and due <= datetime.datetime.now(UTC)


def test_a_run_is_on_the_disk_before_it_is_claimed(root: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut in between must not lose the occurrence that the claim takes."""
    job_id = make_script(root, "true\n")
    make_due(root, job_id)
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    begun = begin.begin(home, job_id, model.SCHEDULE, requested=False, waits=list)
    names = [os.path.relpath(path, home.cron_dir) for path in synced]
    assert names[:2] == [f"oscron/runs/{job_id}", "oscron/runs"] and names[2].startswith(".jobs.json.")
    begun.run_lock.release()


def test_a_cut_off_run_is_not_repeated(root: Path) -> None:
    job_id = make_script(root, SLEEPER)
    make_due(root, job_id)
    interrupt(root, job_id)
    fire(job_id, "--settle")
    again = fire(job_id)
    assert again.stdout.startswith(f"Skipped: {job_id} is not due before ")


def test_an_empty_run_file_is_not_a_run_that_was_cut_off(root: Path, home: Home) -> None:
    """A runner creates the file before it locks it: who reads in between must not see a failed run."""
    job_id = make_script(root, "true\n")
    before = record(root, job_id)
    path = Path(home.state.runs, job_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    [job] = with_unrecorded_runs(home, job_store.read(home))
    assert job.record == before and lock.unrecorded(home) == []
    assert record_interrupted_runs(home) == [] and record(root, job_id) == before
    assert not path.exists()
