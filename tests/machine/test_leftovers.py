"""The processes that a job leaves behind end with its run, the same under systemd and cron."""

import time

import pytest

from tests.conftest import wait_at_most, wait_for
from tests.machine.sites import Site

KINDS = ("child", "session", "daemon")
LEAVES_ALL = """cd "$HERMES_HOME"
rm -f child session daemon
(exec sleep 300 >/dev/null 2>&1) & echo $! >child
setsid sh -c 'echo $$ >session; sleep 300; true' >/dev/null 2>&1 &
(setsid sh -c 'echo $$ >daemon; exec sleep 300' >/dev/null 2>&1 &)
while ! [ -s child -a -s session -a -s daemon ]; do sleep 0.01; done
"""
DEAF = """cd "$HERMES_HOME"; rm -f deaf
setsid sh -c 'trap "" TERM; echo $$ >deaf; while :; do sleep 0.1; done' >/dev/null 2>&1 &
while ! [ -s deaf ]; do sleep 0.01; done
"""
OUTLIVES = """export XDG_RUNTIME_DIR=/run/user/$(id -u)
systemd-run --user --collect --unit=outlives sleep 300
systemd-run --user --collect --unit=scope --scope sleep 301 >/dev/null 2>&1 &
while ! systemctl --user is-active --quiet scope.scope; do sleep 0.05; done
"""


def alive(site: Site, *names: str) -> list[str]:
    """Return those of the processes with pids in the files `names` that run."""
    return [name for name in names if site.box.run(
        f"grep -q '^State:.[^Z]' /proc/$(cat {site.hermes}/{name})/status", check=False).returncode == 0]


def run_once(site: Site, script: str) -> tuple[str, str | None]:
    """Run `script` when its job is due; return the status and the error of the run."""
    job_id = site.create(script, schedule=site.soon(3))["id"]
    job = wait_for(lambda: (job := site.api.job(job_id))["last_status"] and job, 75)
    return job["last_status"], job["last_error"]


def test_what_a_job_leaves_behind_ends_with_the_run(any_site: Site) -> None:
    assert run_once(any_site, LEAVES_ALL) == ("ok", None)
    wait_at_most(lambda: not alive(any_site, *KINDS), 5)


def test_what_a_job_leaves_behind_ends_at_the_time_limit(any_site: Site) -> None:
    settings = any_site.run(f"cat {any_site.config}").stdout
    any_site.put(any_site.config, f"{settings}timeout = 2\n")
    try:
        assert run_once(any_site, f"{LEAVES_ALL}sleep 60\n") == ("error", "timed out after 2 s.")
    finally:
        any_site.put(any_site.config, settings)
    wait_at_most(lambda: not alive(any_site, *KINDS), 5)


def test_a_process_that_ignores_sigterm_is_killed_30_s_after_the_run(any_site: Site) -> None:
    assert run_once(any_site, DEAF) == ("ok", None)
    recorded = time.monotonic()
    time.sleep(20)
    assert alive(any_site, "deaf")
    wait_for(lambda: not alive(any_site, "deaf"), 15)
    assert time.monotonic() - recorded > 25


@pytest.mark.parametrize("any_site", ["ada", "cora"], indirect=True)
def test_what_systemd_run_has_started_outlives_the_run(any_site: Site) -> None:
    try:
        assert run_once(any_site, OUTLIVES) == ("ok", None)
        time.sleep(3)
        assert any_site.run("systemctl --user is-active outlives.service scope.scope").stdout.split() == ["active"] * 2
    finally:
        any_site.run("systemctl --user stop outlives.service scope.scope", check=False)
