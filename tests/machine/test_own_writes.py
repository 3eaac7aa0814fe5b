"""Commands and runs, which arm what they change themselves, start no sync; changes by others are never lost."""

import json
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import wait_at_most, wait_for
from tests.machine.sites import Site, soon

ARMED_WITHIN_S = 2.0
"""The time for which a change by others may take effect here; a quiet machine needs less than half of it."""


@pytest.fixture
def quiet(site: Site) -> Iterator[Site]:
    """An installation that has synced, without the hourly sync."""
    site.systemctl("stop hermes-oscron-sync.timer")
    site.create(schedule="0 9 * * *")
    site.systemctl("start hermes-oscron-sync.service")
    site.wait_for_syncs()
    yield site
    site.systemctl("start hermes-oscron-sync.timer")


def last_sync(site: Site) -> str:
    """Return when the last sync succeeded that has compared all timers with all jobs."""
    site.wait_for_syncs()
    time.sleep(0.5)  # systemd may notice a change after its author has ended
    site.wait_for_syncs()
    return str(site.run(f"stat -c %.9Y {shlex.quote(f'{site.hermes}/cron/oscron/synced')}").stdout)


def commands(site: Site) -> None:
    job = site.create(schedule="0 8 * * *")
    site.verb("update", job["id"], schedule="30 7 * * 1", name="other")
    site.verb("pause", job["id"])
    site.verb("resume", job["id"])
    assert site.armed(job["id"])
    site.verb("delete", job["id"])
    assert not site.armed(job["id"])


def typed_commands(site: Site) -> None:
    site.oscron("create --name typed '0 8 * * *' x")
    [job_id] = [job["id"] for job in site.stored_jobs() if job["name"] == "typed"]
    site.oscron(f"pause {job_id}")
    site.oscron(f"delete {job_id}")


def recurring_run(site: Site) -> None:
    job = site.create("echo ran", schedule="0 9 * * *")
    site.verb("run", job["id"])
    wait_for(lambda: site.api.job(job["id"])["last_status"] == "ok")
    assert site.armed(job["id"])


def scheduled_run(site: Site) -> None:
    job = site.create("echo ran", schedule="every 1m")
    wait_for(lambda: site.api.job(job["id"])["last_status"] == "ok", 70)
    assert site.armed(job["id"])
    site.verb("delete", job["id"])


def change_that_is_noted_late(site: Site) -> None:
    """A run on a busy machine: the change of jobs.json is seen long before its author notes that it is armed."""
    job = site.create(schedule="0 9 * * *")
    program = f"""import time
from hermes_oscron.hermes import jobs_file
from hermes_oscron.hermes.home import home_of
jobs_file.change_each(home_of({site.hermes!r}, "default"), [{job["id"]!r}], lambda record: record | {{"name": "new"}},
                      lambda: time.sleep(2) or True)"""
    site.run(f"{site.prefix}/current/bin/python -I -c {shlex.quote(program)}")


@pytest.mark.parametrize("act", [commands, typed_commands, recurring_run, scheduled_run, change_that_is_noted_late])
def test_what_is_armed_by_its_author_starts_no_sync(quiet: Site, act: Callable[[Site], None]) -> None:
    before = last_sync(quiet)
    act(quiet)
    assert last_sync(quiet) == before


def test_a_job_that_is_over_is_disarmed_by_a_sync(quiet: Site) -> None:
    before = last_sync(quiet)
    job = quiet.create("echo ran", schedule=soon(3))
    wait_for(lambda: quiet.api.job(job["id"])["state"] == "completed")
    wait_at_most(lambda: not quiet.armed(job["id"]), 5)
    assert last_sync(quiet) != before


@pytest.mark.parametrize("file", ["config.yaml", ".env", "oscron.toml", "ESTOP", "cron/jobs.json"])
def test_a_change_of_any_watched_file_starts_a_sync(quiet: Site, file: str) -> None:
    path = shlex.quote(f"{quiet.hermes}/{file}")
    before = last_sync(quiet)
    quiet.run(f"cp -p {path} ~/kept 2>/dev/null; echo >>{path}")
    try:
        wait_at_most(lambda: last_sync(quiet) != before, 5)
    finally:
        quiet.run(f"rm {path}; [ ! -e ~/kept ] || mv ~/kept {path}")
    before = last_sync(quiet)


def test_the_settings_of_a_profile_are_watched_as_long_as_its_jobs(quiet: Site) -> None:
    folder = f"{quiet.hermes}/profiles/side"
    units = "hermes-oscron-watch@side.path hermes-oscron-settings@side.path"

    def states() -> list[str]:
        return quiet.systemctl(f"is-active {units}", check=False).split()

    quiet.put(f"{folder}/cron/jobs.json", '{"jobs": []}')
    try:
        wait_at_most(lambda: states() == ["active", "active"], 5)
        before = last_sync(quiet)
        quiet.put(f"{folder}/config.yaml", "timezone: Asia/Tokyo\n")
        wait_at_most(lambda: last_sync(quiet) != before, 5)
    finally:
        quiet.run(f"rm -r {shlex.quote(folder)}")
    wait_at_most(lambda: states() == ["inactive", "inactive"], 5)


def test_a_sync_that_was_asked_for_is_never_left_out(quiet: Site) -> None:
    before = last_sync(quiet)
    quiet.systemctl("start hermes-oscron-sync.service")
    assert (second := last_sync(quiet)) != before
    quiet.oscron("sync")
    assert last_sync(quiet) != second


def test_changes_by_others_are_armed_while_commands_and_runs_write_too(quiet: Site) -> None:
    """Each change is made under the lock that every program takes, as soon as another write has ended."""
    ended = threading.Event()
    job = quiet.create("true", schedule="0 9 * * *")

    def keep_busy() -> None:
        while not ended.is_set():
            quiet.verb("run", job["id"])
            quiet.verb("update", job["id"], name=f"n{time.time_ns()}")

    busy = threading.Thread(target=keep_busy)
    busy.start()
    late: list[float] = []
    try:
        for n in range(40):
            foreign = f"foreign{n}"
            add_as_others_do(quiet, foreign)
            began = time.monotonic()
            wait_for(lambda foreign=foreign: quiet.armed(foreign), 30)
            late.append(time.monotonic() - began)
    finally:
        ended.set()
        busy.join()
    assert sorted(late)[len(late) // 2] < ARMED_WITHIN_S, late


def test_a_change_just_after_one_beside_it_is_armed(quiet: Site) -> None:
    """The agent makes folders in its home, which systemd looks at too, and then writes jobs.json."""
    for n in range(25):
        add_as_others_do(quiet, f"beside{n}", first=f"os.mkdir('../beside{n}')\ntime.sleep({n % 5 / 1000})\n")
        wait_for(lambda n=n: quiet.armed(f"beside{n}"), 10)


def add_as_others_do(site: Site, job_id: str, first: str = "") -> None:
    """Add a job to jobs.json as the agent does, under its lock, after the statements `first`."""
    record: dict[str, Any] = {"id": job_id, "name": job_id, "prompt": "x", "enabled": True,
                              "schedule": {"kind": "cron", "expr": "0 9 * * *", "display": "x"}}
    program = (f"import fcntl, json, os, time\n"
               f"os.chdir({site.hermes + '/cron'!r})\n"
               f"lock = open('.jobs.lock', 'w')\n"
               f"fcntl.flock(lock, fcntl.LOCK_EX)\n"
               f"data = json.load(open('jobs.json'))\n"
               f"data['jobs'].append(json.loads({json.dumps(record)!r}))\n"
               f"json.dump(data, open('jobs.json.new', 'w'))\n"
               f"{first}"
               f"os.rename('jobs.json.new', 'jobs.json')\n")
    site.run(f"python3 -c {shlex.quote(program)}")
