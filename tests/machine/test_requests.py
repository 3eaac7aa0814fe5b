"""Requests for a sync: none is lost, and a file that the account writes into its folders requests none."""

import contextlib
import json
import shlex
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.sites import Site

SERVICE = "hermes-oscron-sync.service"
RESTART_S = 10
"""A sync is repeated this long after its failure."""


def pipe_of(site: Site) -> str:
    return "/run/hermes-oscron-sync" if site.manager == "--system" else "$XDG_RUNTIME_DIR/hermes-oscron-sync"


def syncs(site: Site) -> int:
    """Return how many syncs systemd has started so far."""
    told = site.journal_fields[1]
    lines = site.box.run(f"journalctl --no-pager -o cat {told}={SERVICE} _UID=$(id -u {site.user}) + "
                         f"{told}={SERVICE} _UID=0", check=False).stdout.splitlines()
    return sum(line.startswith("Starting ") for line in lines)


def is_quiet(site: Site) -> bool:
    states = site.systemctl(f"show -P ActiveState {SERVICE} hermes-oscron-changed.service").split()
    return all(state in ("inactive", "failed") for state in states)


def records(count: int, name: str) -> list[dict[str, Any]]:
    return [{"id": f"{name}{n}", "name": name, "prompt": "x", "enabled": True,
             "schedule": {"kind": "cron", "expr": "0 9 * * *", "display": "x"}} for n in range(count)]


def write_jobs(site: Site, jobs: list[dict[str, Any]]) -> None:
    """Replace jobs.json as the agent does."""
    path = shlex.quote(f"{site.hermes}/cron/jobs.json")
    site.run(f"printf %s {shlex.quote(json.dumps({'jobs': jobs}))} >{path}.new && mv {path}.new {path}")


@contextlib.contextmanager
def held(site: Site) -> Iterator[None]:
    """Nothing can be armed: a sync waits for the lock, which the account holds."""
    lock = shlex.quote(f"{site.hermes}/cron/oscron/arming.lock")
    holding = threading.Thread(target=site.run, args=(
        f"flock {lock} sh -c 'touch ~/held; while [ -e ~/held ]; do sleep 0.1; done'",))
    holding.start()
    try:
        wait_for(lambda: site.run("ls ~/held", check=False).returncode == 0)
        yield
    finally:
        site.run("rm -f ~/held")
        holding.join()


@pytest.fixture
def quiet(site: Site) -> Iterator[Site]:
    """An installation in which no sync is running, nor started by the hour."""
    site.create(schedule="0 9 * * *")
    site.systemctl("stop hermes-oscron-sync.timer")
    site.wait_for_syncs()
    with site.starts_of_syncs_logged():
        yield site
    site.systemctl("start hermes-oscron-sync.timer")
    site.run(f"rm -rf {site.hermes}/cron/oscron/sync-wanted")


@pytest.mark.parametrize("made", ["mkdir", "touch", "mkfifo", "ln -s /root", "ln -s /dev/zero", "ln -s sync-wanted"])
def test_files_that_the_account_puts_into_its_folder_request_no_sync(quiet: Site, made: str) -> None:
    before = syncs(quiet)
    quiet.run(f"{made} {quiet.hermes}/cron/oscron/sync-wanted")
    time.sleep(3)
    assert syncs(quiet) == before


def test_another_account_cannot_request_a_sync(quiet: Site) -> None:
    pipe = quiet.run(f"echo {pipe_of(quiet)}").stdout.strip()
    before = syncs(quiet)
    assert quiet.box.run(f"echo >{pipe}", user="daemon", check=False).returncode != 0
    assert quiet.run(f"stat -c '%a %U %F' {pipe}").stdout == f"600 {quiet.user} fifo\n"
    quiet.run(f"echo >{pipe}")
    wait_for(lambda: syncs(quiet) > before)


def test_the_last_of_many_changes_is_armed_at_once(quiet: Site) -> None:
    for turn in range(15):
        for n in range(4):
            write_jobs(quiet, records(2, f"t{turn}n{n}x"))
            time.sleep(0.05 * (turn % 7))
        wait_for(lambda turn=turn: quiet.armed(f"t{turn}n3x0") and quiet.armed(f"t{turn}n3x1"))


def test_a_request_during_a_sync_is_another_sync(quiet: Site) -> None:
    """It does not matter what started the first sync: here it is started by hand, as the timer does."""
    with held(quiet):
        quiet.systemctl(f"start --no-block {SERVICE}")
        wait_for(lambda: quiet.systemctl(f"show -P ActiveState {SERVICE}").strip() == "activating")
        time.sleep(1)
        before = syncs(quiet)
        quiet.run(f"for _ in 1 2 3; do echo >{pipe_of(quiet)}; done")
        time.sleep(0.5)
        assert syncs(quiet) == before
    wait_for(lambda: syncs(quiet) == before + 1)
    time.sleep(1)
    assert syncs(quiet) == before + 1


def test_a_socket_restarted_during_a_sync_loses_no_request(quiet: Site) -> None:
    with held(quiet):
        quiet.run(f"echo >{pipe_of(quiet)}")
        wait_for(lambda: quiet.systemctl(f"show -P ActiveState {SERVICE}").strip() == "activating")
        time.sleep(1)
        write_jobs(quiet, records(1, "late"))
        time.sleep(0.5)
        quiet.systemctl("restart hermes-oscron-sync.socket")
    wait_for(lambda: quiet.armed("late0"))


def test_a_sync_that_cannot_start_is_not_retried_in_a_loop_and_runs_later(quiet: Site) -> None:
    drop_in = f"{quiet.settings_dir}/{SERVICE}.d"
    quiet.administer(f"mkdir -p {drop_in} && printf '[Service]\\nWorkingDirectory=/nowhere\\n' >{drop_in}/broken.conf")
    quiet.systemctl("daemon-reload")
    before = syncs(quiet)
    try:
        write_jobs(quiet, records(1, "broken"))
        time.sleep(5)
        assert 0 < syncs(quiet) - before < 3
    finally:
        quiet.administer(f"rm {drop_in}/broken.conf")
        quiet.systemctl("daemon-reload")
    assert quiet.systemctl("is-active hermes-oscron-sync.socket") == "active\n"
    wait_for(lambda: quiet.armed("broken0"), RESTART_S + 15)
    write_jobs(quiet, records(1, "mended"))
    wait_for(lambda: quiet.armed("mended0"))


def test_a_sync_killed_after_it_has_read_the_request_is_repeated(quiet: Site) -> None:
    with held(quiet):
        write_jobs(quiet, records(1, "killed"))
        wait_for(lambda: quiet.systemctl(f"show -P ActiveState {SERVICE}").strip() == "activating")
        time.sleep(1)
        quiet.systemctl(f"kill --kill-whom=main -s KILL {SERVICE}")
    wait_for(lambda: quiet.armed("killed0"), RESTART_S + 15)


def test_a_failed_socket_is_reported_and_works_after_the_next_regular_sync(quiet: Site) -> None:
    pipe = pipe_of(quiet)
    quiet.administer(f"systemctl {quiet.manager} stop hermes-oscron-sync.socket && mkdir {pipe}")
    try:
        quiet.systemctl("start hermes-oscron-sync.socket", check=False)
        code, told = quiet.doctor()
        assert code == 1 and "hermes-oscron-sync.socket failed when it was last started" in told
        write_jobs(quiet, records(1, "unheard"))
    finally:
        quiet.administer(f"rmdir {pipe}")
    quiet.systemctl(f"start {SERVICE}")
    assert quiet.armed("unheard0") and quiet.doctor()[0] == 0
    wait_for(lambda: quiet.systemctl("is-active hermes-oscron-changed.path") == "active\n" and is_quiet(quiet))
    write_jobs(quiet, records(1, "heard"))
    wait_for(lambda: quiet.armed("heard0"))


def test_a_flood_of_requests_ends_and_loses_no_request(quiet: Site) -> None:
    flood = ("import os, sys, time\npipe = os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)\nend = time.time() + 6\n"
             "while time.time() < end:\n  try: os.write(pipe, bytes(99))\n  except BlockingIOError: time.sleep(0.001)")
    before = syncs(quiet)
    flooding = threading.Thread(target=quiet.run, args=(f"python3 -c {shlex.quote(flood)} {pipe_of(quiet)}",))
    flooding.start()
    time.sleep(1)
    write_jobs(quiet, records(1, "flooded"))
    wait_for(lambda: quiet.armed("flooded0"))
    flooding.join()
    wait_for(lambda: is_quiet(quiet))
    assert syncs(quiet) - before < 70
    assert quiet.systemctl("is-active hermes-oscron-sync.socket") == "active\n"
    write_jobs(quiet, records(1, "after"))
    wait_for(lambda: quiet.armed("after0"))


def test_a_run_outside_a_session_can_request_a_sync(quiet: Site) -> None:
    job_id = quiet.create("true", schedule="every 7h")["id"]
    quiet.wait_for_syncs()
    before = syncs(quiet)
    ran = quiet.run(f"env -u XDG_RUNTIME_DIR {quiet.bin}/hermes-cron-exec default:{job_id} --trigger manual")
    assert "requested" not in ran.stderr
    wait_for(lambda: syncs(quiet) > before)


OLD_PATH = """[Path]
PathExists={root}/cron/oscron/sync-wanted
Unit=hermes-oscron-sync.service
[Install]
WantedBy=paths.target
"""


def test_the_path_unit_of_an_old_version_is_removed_and_its_request_served(quiet: Site) -> None:
    unit = f"{quiet.settings_dir}/hermes-oscron-sync.path"
    quiet.administer(f"printf %s {shlex.quote(OLD_PATH.format(root=quiet.hermes))} >{unit}")
    quiet.systemctl("daemon-reload")
    quiet.systemctl("--quiet disable --now hermes-oscron-sync.socket")
    quiet.systemctl("stop hermes-oscron-changed.path")
    quiet.systemctl("--quiet enable hermes-oscron-sync.path")
    write_jobs(quiet, records(1, "asked"))
    quiet.run(f"touch {quiet.hermes}/cron/oscron/sync-wanted")
    quiet.install()
    assert quiet.armed("asked0")
    assert quiet.systemctl("is-enabled hermes-oscron-sync.socket") == "enabled\n"
    found = quiet.administer(f"find {quiet.settings_dir} {quiet.hermes}/cron -name 'hermes-oscron-sync.path' -o "
                             f"-name sync-wanted").stdout
    assert not found and "hermes-oscron-sync.path" not in quiet.systemctl("list-units --all")
