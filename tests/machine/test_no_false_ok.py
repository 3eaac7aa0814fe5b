"""Files that an account cannot read or write on a booted machine: clients get the reason, and doctor reports them."""

import contextlib
import shlex
import time
from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.machine.sites import Site

DAILY = "0 9 * * *"


@contextlib.contextmanager
def taken(site: Site, path: str) -> Iterator[None]:
    """`path` belongs to root within the block, and no other account can use it."""
    quoted = shlex.quote(f"{site.hermes}/{path}")
    before = site.box.run(f"stat -c '%u:%g %a' {quoted}").stdout.split()
    site.box.run(f"chown root:root {quoted}; chmod 700 {quoted}")
    try:
        yield
    finally:
        site.box.run(f"chown {before[0]} {quoted}; chmod {before[1]} {quoted}")


def test_an_unreadable_token_is_answered_with_the_reason_and_starts_no_loop(site: Site) -> None:
    token = f"{site.hermes}/cron/oscron/token"
    site.stop_server()
    with taken(site, "cron/oscron/token"):
        for path in ("/api/crons", "/health"):
            status, answer = site.api.call("GET", path)
            assert status == 503 and answer["error"].startswith(f"{token} cannot be read: Permission denied."), answer
        wait_for(lambda: site.systemctl("is-failed hermes-oscron.service", check=False) == "failed\n")
        ended = site.systemctl("show -P InvocationID hermes-oscron.service")
        time.sleep(5)
        assert site.systemctl("show -P InvocationID hermes-oscron.service") == ended
        status, told = site.doctor()
        assert status == 1 and f"WARNING: {token} cannot be read: Permission denied." in told
        refused = site.run(f"{site.bin}/hermes-oscron token", check=False)
        assert refused.returncode == 1 and refused.stderr.startswith(f"Error: {token} cannot be read: ")
    assert site.api.call("GET", "/api/crons")[0] == 200
    assert site.doctor()[0] == 0


@pytest.mark.parametrize(("path", "status"), [("cron/oscron", 2), ("cron/oscron/runs", 2), ("cron", 2),
                                              ("cron/output", 1), ("cron/output/{job}", 1)])
def test_a_folder_of_another_account_is_reported(site: Site, path: str, status: int) -> None:
    job = site.create(schedule=DAILY)
    site.api.run_to_end(job["id"])
    assert site.doctor()[0] == 0
    path = path.format(job=job["id"])
    with site.unwatched(), taken(site, path):
        found = site.run(f"{site.bin}/hermes-oscron doctor 2>&1", check=False)
        assert found.returncode == status and f"{site.hermes}/{path}" in found.stdout
        assert "Permission denied. Give it to" in found.stdout and "Traceback" not in found.stdout
    assert site.doctor()[0] == 0


def test_a_full_disk_is_reported(site: Site) -> None:
    job = site.create(schedule=DAILY)
    site.api.run_to_end(job["id"])
    with site.full_folder(f"{site.hermes}/cron/oscron/shared-queue"):
        status, told = site.doctor()
        found = "cron/oscron/shared-queue cannot be written: No space left on device. Make room"
        assert status == 2 and found in told, told
    assert site.doctor()[0] == 0


@pytest.mark.parametrize("path", ["scripts", "scripts/{script}", "work"])
def test_what_a_job_needs_and_the_account_cannot_use_is_reported(site: Site, path: str) -> None:
    site.run(f"mkdir -p {shlex.quote(site.hermes)}/work")
    job = site.create(schedule=DAILY, workdir=f"{site.hermes}/work")
    assert site.doctor()[0] == 0
    path = path.format(script=job["script"])
    with taken(site, path):
        status, told = site.doctor()
        assert status == 2 and f"WRONG: default:{job['id']}: The " in told and "Permission denied. Give it to" in told
        assert f"{site.hermes}/{path}" in told, told
    assert site.doctor()[0] == 0


def test_health_shows_that_the_jobs_cannot_be_read(site: Site) -> None:
    site.create(schedule=DAILY)
    assert site.api.get("/health")["status"] == "ok"
    with taken(site, "cron/jobs.json"):
        answer = site.api.with_token(None).get("/health")
        assert answer["status"] == "error" and answer["error"].startswith("The jobs of a profile cannot be read.")
    assert site.api.get("/health")["status"] == "ok"
