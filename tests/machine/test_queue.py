"""Runs in the queue, as systemd and its users see them."""

from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.machine.sites import Site, soon


@pytest.fixture
def blocker(site: Site) -> Iterator[str]:
    """The job that has the only turn; its unit is stopped at the end."""
    site.put(site.config, '[exec]\ncommand = ["cat"]\nmax_parallel = 1\n')
    job_id = site.create("sleep 300", schedule=soon(3))["id"]
    wait_for(lambda: job_id in site.api.get("/api/crons/status")["running"], 30)
    yield job_id
    site.systemctl(f"stop {unit(job_id)}")
    site.run_prompts()


def unit(job_id: str) -> str:
    return f"hermes-job@default:{job_id}.service"


def queue_job(site: Site) -> str:
    """Create a job whose run is queued soon; its id."""
    job_id = str(site.create("echo ran", schedule=soon(3))["id"])
    wait_for_queued(site, job_id)
    return job_id


def wait_for_queued(site: Site, job_id: str) -> None:
    wait_for(lambda: job_id in site.api.get("/api/crons/status").get("queued", {}), 30)


def test_a_queued_run_is_shown_by_systemctl_and_can_be_stopped_with_it(site: Site, blocker: str) -> None:
    job_id = queue_job(site)
    text = site.systemctl(f"show -P StatusText {unit(job_id)}")
    assert text.startswith("Queued since 20") and "at most 1 run at once ([exec] max_parallel)" in text
    site.systemctl(f"stop {unit(job_id)}")
    job = wait_for(lambda: (found := site.api.job(job_id))["last_status"] and found)
    assert job["last_error"] == "stopped by SIGTERM before it had begun: it was queued."
    assert site.outputs(job_id) == "" and job_id not in site.api.get("/api/crons/status")["running"]


def test_a_queued_run_whose_runner_is_killed_is_queued_again_and_runs(site: Site, blocker: str) -> None:
    job_id = queue_job(site)
    killed = site.runner(job_id)
    site.systemctl(f"kill -s KILL {unit(job_id)}")
    wait_for(lambda: site.runner(job_id) not in (None, killed), 30)
    wait_for_queued(site, job_id)
    site.systemctl(f"stop {unit(blocker)}")
    assert wait_for(lambda: site.api.job(job_id)["last_status"], 30) == "ok"
    assert "ran" in site.outputs(job_id)
