"""Runs that end, or should begin, while jobs.json cannot be read or the disk is full: by each scheduler."""

import contextlib
import datetime
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.sites import ForegroundSite, Site, sleep_until

WHOLE = "sleep 6; echo whole; exit 3"
"""Its live output takes no room on a disk that is full from the begin on, and gives none back."""


@pytest.fixture(params=["hermes", "ada", "crontab", "foreground"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An installation for each scheduler in turn. Its jobs are deleted after the test."""
    if request.param == "foreground":
        chosen: Site = ForegroundSite(tmp_path_factory.mktemp("foreground"))
        chosen.start_server()
    elif request.param == "crontab":
        chosen = request.getfixturevalue("crontab_site")
    else:
        chosen = request.getfixturevalue("sites")[request.param]
    yield chosen
    chosen.clear()
    if request.param == "foreground":
        chosen.stop_server()


@contextlib.contextmanager
def broken(site: Site) -> Iterator[None]:
    """During the block jobs.json has only its first 30 bytes."""
    jobs = f"{site.hermes}/cron/jobs.json"
    site.run(f"cp {jobs} {site.hermes}/whole; truncate -s 30 {jobs}")
    try:
        yield
    finally:
        site.run(f"cat {site.hermes}/whole >{jobs}; rm {site.hermes}/whole")


@pytest.fixture
def small(site: Site) -> Iterator[None]:
    """The folder `cron` of `site` is on a disk of 400 KiB."""
    cron = f"{site.hermes}/cron"
    box = site.run if isinstance(site, ForegroundSite) else site.box.run
    with site.unwatched():  # a sync must not find the folder missing and create it
        site.stop_server()
        box(f"mkdir -p {cron}; mv {cron} {cron}.away; mkdir {cron}; mount -t tmpfs -o size=400k tmpfs {cron}; "
            f"cp -a {cron}.away/. {cron}; chown --reference={cron}.away {cron}; chmod 700 {cron}")
    site.start_server()
    site.oscron("sync")
    yield
    site.clear()
    with site.unwatched():
        site.stop_server()
        box(f"umount -l {cron}; rmdir {cron}; mv -T {cron}.away {cron}")
    site.start_server()
    site.oscron("sync")


@contextlib.contextmanager
def full(site: Site) -> Iterator[None]:
    """During the block no byte is free on that disk, also not what a process that is writing gives back at first."""
    ballast = f"{site.hermes}/cron/ballast"
    site.run(f"for i in $(seq 10); do cat /dev/zero >>{ballast}; sleep 0.1; done", check=False)
    try:
        yield
    finally:
        site.run(f"rm {ballast}")


def start_job(site: Site) -> tuple[str, datetime.datetime]:
    """Create a job that runs the script WHOLE and wait until it runs; return its id and the time."""
    job_id = str(site.create(WHOLE, schedule=site.soon(3))["id"])
    run = f"{site.hermes}/cron/oscron/runs/{job_id}"
    wait_for(lambda: site.run(f"grep -aq boot {run}", check=False).returncode == 0, 70)
    return job_id, datetime.datetime.now(datetime.UTC)


def has_result(site: Site, job_id: str) -> bool:
    return bool(site.run(f"grep -aq ended_at {site.hermes}/cron/oscron/runs/{job_id}", check=False).returncode == 0)


def assert_recorded(site: Site, job_id: str, began: datetime.datetime) -> None:
    """Assert that the run of WHOLE that began at `began` is recorded once, as it was."""
    job = wait_for(lambda: (job := site.api.job(job_id))["last_run_at"] and job)
    assert (job["last_status"], job["last_error"]) == ("error", "exited with code 3: whole") or (
        job["last_error"] == "exited with code 3.")
    assert job["repeat"]["completed"] == 1
    ended = datetime.datetime.fromisoformat(job["last_run_at"])
    assert datetime.timedelta(seconds=5) < ended - began < datetime.timedelta(seconds=9)
    site.oscron("sync")
    assert site.api.job(job_id)["repeat"]["completed"] == 1
    assert len(site.api.outputs(job_id)) == 1 and "whole" in site.api.outputs(job_id)[0]
    assert not site.api.running()


def test_a_run_that_ends_while_jobs_json_is_truncated_is_recorded_later(site: Site) -> None:
    job_id, began = start_job(site)
    time.sleep(1.5)
    with broken(site):
        wait_for(lambda: has_result(site, job_id))
        assert "whole" in site.outputs(job_id), "the output comes first"
        time.sleep(1)
    assert_recorded(site, job_id, began)


def test_a_runner_killed_before_it_records_its_run_loses_no_result(site: Site) -> None:
    job_id, began = start_job(site)
    time.sleep(1.5)
    with broken(site):
        wait_for(lambda: has_result(site, job_id))
        site.run(f"kill -9 {site.runner(job_id)}")
        time.sleep(1)
    site.run(f"{site.bin}/hermes-cron-exec default:{job_id} --settle")
    assert_recorded(site, job_id, began)


def test_after_the_wait_the_runner_leaves_the_result_for_the_next_sync(sites: dict[str, Site]) -> None:
    site = sites["hermes"]
    job_id, began = start_job(site)
    time.sleep(1.5)
    with broken(site):
        wait_for(lambda: "its result is in" in site.journal(job_id), 80)
        wait_for(lambda: site.systemctl(f"show -P ActiveState hermes-job@default:{job_id}").strip() == "failed")
    assert_recorded(site, job_id, began)
    site.clear()


@pytest.mark.usefixtures("small")
def test_a_run_that_ends_on_a_full_disk_is_recorded_when_there_is_room(site: Site) -> None:
    job_id, began = start_job(site)
    with full(site):
        wait_for(lambda: has_result(site, job_id))
        time.sleep(1.5)
        assert site.outputs(job_id) == ""
    assert_recorded(site, job_id, began)


@pytest.mark.usefixtures("small")
def test_a_run_that_could_not_start_on_a_full_disk_starts_at_the_next_sync(site: Site) -> None:
    if time.time() % 60 > 45:
        time.sleep(61 - time.time() % 60)
    job = site.create("echo ran", schedule="* * * * *")
    job_id, due = job["id"], job["next_run_at"]
    with full(site):
        sleep_until(due, later=site.late + 5)
        job = site.api.job(job_id)
        assert job["last_status"] == "error" and "has not started" in job["last_error"]
        late = f"default:{job_id}: It was due at"
        wait_for(lambda: (told := site.doctor())[0] == 2 and late in told[1], 30)  # not while the one retry starts
    site.oscron("sync")
    job = wait_for(lambda: (job := site.api.job(job_id))["last_status"] == "ok" and job)
    following = datetime.datetime.fromisoformat(due) + datetime.timedelta(minutes=1)
    assert datetime.datetime.fromisoformat(job["next_run_at"]) == following, "it ran before the next was due"
    assert job["repeat"]["completed"] == 1 and len(site.api.outputs(job_id)) == 1
    wait_for(lambda: site.doctor()[0] == 0)
    sleep_until(following.isoformat(), later=site.late)
    wait_for(lambda: site.api.job(job_id)["repeat"]["completed"] == 2)


@pytest.mark.usefixtures("small")
def test_a_run_that_cannot_start_logs_where_why_and_what_to_do(site: Site) -> None:
    job_id = site.create("echo ran", schedule=site.soon(4))["id"]
    with full(site):
        told = wait_for(lambda: log_of(site, job_id), 70)
        assert f"{site.hermes}/cron" in told and "[Errno" not in told
        assert "No space left on device. Make room on its file system. The job stays due" in told
    site.oscron("sync")
    wait_for(lambda: site.api.job(job_id)["last_status"] == "ok")


def log_of(site: Any, job_id: str) -> str:
    if isinstance(site, ForegroundSite):
        told = str(site.run("cat serve.log").stdout)
    else:
        told = str(site.syslog(job_id) if "crontab" in site.options else site.journal(job_id))
    return told if "hermes-cron-exec: " in told else ""
