"""The lifecycle of jobs that a foreground `hermes-oscron serve` fires, in place."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.machine.lifecycle import Lifecycle
from tests.machine.sites import ForegroundSite, sleep_until


@pytest.fixture
def site(foreground_site: ForegroundSite) -> Iterator[ForegroundSite]:
    yield foreground_site
    foreground_site.clear()


class TestForeground(Lifecycle):
    """`serve --scheduler foreground`."""


def test_after_a_crash_of_all_processes_the_ledger_accounts_for_everything(site: ForegroundSite) -> None:
    """As near to a power cut as this machine can be: server, runner and job are killed at once."""
    cut = site.create("sleep 300", schedule=site.soon(2))["id"]
    file = Path(site.hermes, "cron/oscron/runs", cut)

    def begun() -> dict[str, int] | None:
        run = json.loads(file.read_bytes()[:4096] or b"{}") if file.exists() else {}
        return run if run.get("group") else None

    run = wait_for(begun)
    schedule = site.soon(3)
    missed = site.create(schedule=schedule)["id"]
    site.kill_server()
    os.kill(run["pid"], signal.SIGKILL)
    os.killpg(run["group"], signal.SIGKILL)
    sleep_until(schedule, later=2)
    site.start_server()
    wait_for(lambda: site.api.job(missed)["last_status"] == "ok")
    assert site.audit() == ""
    runs = {run["job_id"]: run["outcome"] for run in site.api.get("/api/crons/runs")["runs"]}
    assert (runs[cut], runs[missed]) == ("interrupted", "ok")
