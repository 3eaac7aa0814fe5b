"""An answer from memory is the one that the disk would give, after a change by any program."""

import datetime
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.clock import CLOCK, Clock
from hermes_oscron.hermes import job_store, jobs_file
from hermes_oscron.hermes.home import Home, home_of
from hermes_oscron.json_text import to_json
from hermes_oscron.runs import lock
from hermes_oscron.runs.model import Run
from hermes_oscron.schedulers.active import set_disarmed
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.protocol import Availability
from hermes_oscron.service import job_views
from hermes_oscron.service.job_views import Listing
from hermes_oscron.service.jobs import JobService
from hermes_oscron.service.late import GRACE
from hermes_oscron.service.selection import Selection
from hermes_oscron.web.job_list_cache import JobListCache

from ..conftest import Api, needs_root, write_jobs
from ..manual_clock import ManualClock

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


class Available(Foreground):
    """A foreground scheduler that takes no `serve` to be available."""

    def availability(self) -> Availability:
        return Availability(True)


class CountingService(JobService):
    """Counts how often the jobs are read."""

    def __init__(self, selection: Selection, clock: Clock) -> None:
        super().__init__(selection, clock)
        self.selection = selection
        self.readings = 0

    def listing(self, all_profiles: bool = False) -> Listing:
        self.readings += 1
        return super().listing(all_profiles)


def counting_service(root: Path, clock: Clock = CLOCK) -> CountingService:
    return CountingService(Selection(str(root), Available(str(root))), clock)


def cache_of(service: CountingService) -> JobListCache:
    return JobListCache(service.selection, service)


@pytest.fixture
def service(root: Path) -> CountingService:
    return counting_service(root)


@pytest.fixture
def cache(service: CountingService) -> JobListCache:
    return cache_of(service)


def names(cache: JobListCache) -> list[str]:
    return [job["name"] for job in json.loads(cache.answer(all_profiles=False).body)["jobs"]]


def content(name: str) -> str:
    return json.dumps({"jobs": [{"id": "a", "name": name, "prompt": "p", "schedule": DAILY}]})


def rewrite(path: Path, name: str) -> None:
    """Overwrite the file at `path`; its size and the time of its change stay."""
    before = path.stat()
    path.write_text(content(name))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ino) == (
        before.st_size, before.st_mtime_ns, before.st_ino)


def test_the_list_is_built_once_while_nothing_changes(
    cache: JobListCache, service: CountingService, root: Path
) -> None:
    write_jobs(root, {"id": "a", "name": "x", "schedule": DAILY})
    time.sleep(0.05)
    assert [names(cache) for _ in range(20)] == [["x"]] * 20
    assert service.readings == 1


def test_a_change_that_keeps_size_and_time_is_seen(cache: JobListCache, root: Path) -> None:
    path = write_jobs(root, {"id": "a", "name": "?", "schedule": DAILY})
    path.write_text(content("00"))
    for n in range(10, 30):
        time.sleep(0.025)
        assert names(cache) == names(cache)
        rewrite(path, str(n))
        assert names(cache) == [str(n)]


def test_changes_within_one_tick_of_the_clock_are_seen(cache: JobListCache, root: Path) -> None:
    path = write_jobs(root, {"id": "a", "name": "?", "schedule": DAILY})
    path.write_text(content("000"))
    for n in range(100, 600):
        rewrite(path, str(n))
        assert names(cache) == [str(n)]


def test_files_that_take_turns_within_one_tick_are_seen(cache: JobListCache, root: Path) -> None:
    path = write_jobs(root, {"id": "a", "name": "?", "schedule": DAILY})
    for n in range(100, 600):
        replacement = path.with_name("new")
        replacement.write_text(content(str(n)))
        replacement.rename(path)
        assert names(cache) == [str(n)]


def test_a_foreign_change_within_the_clock_tick_of_our_own_is_seen(home: Home, root: Path) -> None:
    write_jobs(root, {"id": "a", "name": "first", "prompt": "p"})
    for n in range(100, 300):
        job_store.change(home, "a", lambda job, n=n: job.with_fields({"name": f"ours {n}"}))
        path = root / "cron" / "jobs.json"
        theirs = path.read_text().replace(f"ours {n}", f"them {n}")
        before = path.stat()
        path.write_text(theirs)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert jobs_file.find(home, "a")["name"] == f"them {n}"


def test_a_new_zone_is_seen_even_if_its_file_keeps_size_and_time(
    cache: JobListCache, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HERMES_TIMEZONE")
    write_jobs(root, {"id": "a", "schedule": DAILY})
    path = root / "config.yaml"
    path.write_text("timezone: Asia/Tokyo\n")
    before = path.stat()
    for zone, offset in (("Asia/Tokyo", "+09:00"), ("Asia/Dubai", "+04:00"), ("Asia/Tokyo", "+09:00")):
        path.write_text(f"timezone: {zone}\n")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        job, = json.loads(cache.answer(all_profiles=False).body)["jobs"]
        assert job["next_run_at"].endswith(offset)


def test_an_added_or_removed_profile_is_seen(cache: JobListCache, root: Path) -> None:
    def count() -> int:
        return int(json.loads(cache.answer(all_profiles=False).body)["other_profile_count"])

    assert count() == 0
    write_jobs(root / "profiles" / "work", {"id": "a", "schedule": DAILY})
    assert count() == 1
    (root / "profiles" / "work").rename(root / "elsewhere")
    assert count() == 0


def test_a_clock_that_is_set_back_is_seen(root: Path) -> None:
    write_jobs(root, {"id": "a", "schedule": DAILY})
    day, clock = datetime.timedelta(days=1), ManualClock()
    now = clock.now()
    cache = cache_of(counting_service(root, clock))
    shown = []
    for ahead in (now + day, now, now + 2 * day):
        clock.set(ahead)
        job, = json.loads(cache.answer(all_profiles=False).body)["jobs"]
        shown.append(datetime.datetime.fromisoformat(job["next_run_at"]))
    assert [moment - shown[1] for moment in shown] == [day, 0 * day, 2 * day]


def test_the_cache_is_used_while_a_one_shot_runs(
    cache: JobListCache, service: CountingService, root: Path
) -> None:
    due = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=5)
    write_jobs(root, {"id": "a", "name": "x", "schedule": {"kind": "once", "run_at": due.isoformat()},
                      "next_run_at": due.isoformat()})
    time.sleep(0.05)
    assert [names(cache) for _ in range(5)] == [["x"]] * 5
    assert service.readings == 1


@pytest.fixture
def coarse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Hermes root on a file system that keeps whole seconds: ext4 with inodes of 128 bytes (ext4(5))."""
    disk, place = tmp_path / "disk.img", tmp_path / "coarse"
    place.mkdir()
    with disk.open("wb") as file:
        file.truncate(8 * 1024**2)
    subprocess.run(["mkfs.ext4", "-q", "-I", "128", disk], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", disk, place], check=True)
    monkeypatch.setenv("HERMES_HOME", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@needs_root
def test_changes_within_a_second_are_seen_if_file_times_are_whole_seconds(coarse: Path) -> None:
    cache = cache_of(counting_service(coarse))
    here = home_of(str(coarse), "default")
    path = write_jobs(coarse, {"id": "a", "name": "?", "schedule": DAILY})
    path.write_text(content("00"))
    os.makedirs(here.state.runs)
    for n in range(10, 20):
        assert names(cache) == names(cache) and not lock.running(here)
        time.sleep(0.1)
        path.write_text(content(str(n)))
        assert names(cache) == [str(n)]
        run_lock = lock.acquire(here, "a")
        assert run_lock and list(lock.running(here)) == ["a"]
        run_lock.release()


def test_the_status_shows_a_run_of_any_process_at_once(http_api: Api, home: Home) -> None:
    for _ in range(20):
        run_lock = lock.acquire(home, "a")
        assert run_lock
        run_lock.write(Run("a", time.time(), "manual"))
        assert list(http_api.running()) == ["a"] and http_api.get("/api/crons/status?job_id=a")["running"]
        run_lock.release()
        assert http_api.running() == {} and not http_api.get("/api/crons/status?job_id=a")["running"]


def test_the_idle_status_is_cached_and_a_run_is_seen_within_any_clock_tick(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.makedirs(home.state.runs)
    listed: list[str] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    for _ in range(200):
        assert not lock.running(home)
        run_lock = lock.acquire(home, "a")
        assert run_lock and list(lock.running(home)) == ["a"]
        run_lock.release()
    time.sleep(0.05)
    assert not lock.running(home)
    listed.clear()
    assert not any(lock.running(home) or lock.unrecorded(home) for _ in range(20)) and listed == []


def test_a_server_sees_a_change_that_keeps_size_and_time(http_api: Api, root: Path) -> None:
    path = write_jobs(root, {"id": "a", "name": "?", "schedule": DAILY})
    path.write_text(content("00"))
    for n in range(10, 60):
        rewrite(path, str(n))
        assert http_api.job("a")["name"] == str(n)


def test_a_cached_list_shows_that_a_job_is_late_and_that_it_runs(
    root: Path, home: Home
) -> None:
    clock = ManualClock()
    service = counting_service(root, clock)
    cache = cache_of(service)
    write_jobs(root, {"id": "a", "name": "x", "schedule": DAILY, "next_run_at": clock.now().isoformat()})

    def status() -> Any:
        return json.loads(cache.answer(all_profiles=False).body)["jobs"][0]["last_status"]

    time.sleep(0.05)
    assert status() is None and status() is None and service.readings == 1
    due = clock.now()
    clock.set(due + GRACE - datetime.timedelta(milliseconds=1))
    assert status() is None and service.readings == 1
    clock.set(due + GRACE)
    assert status() == "error" and status() == "error" and service.readings == 2
    run_lock = lock.acquire(home, "a")
    assert run_lock and status() is None
    run_lock.release()
    assert status() == "error"


def test_a_cached_list_shows_that_a_runner_was_killed(root: Path, home: Home) -> None:
    write_jobs(root, {"id": "a", "name": "x", "schedule": DAILY})
    cache = cache_of(counting_service(root))
    run_lock = lock.acquire(home, "a")
    assert run_lock
    run_lock.write(Run("a", time.time(), "schedule"))

    def status() -> Any:
        return json.loads(cache.answer(all_profiles=False).body)["jobs"][0]["last_status"]

    assert status() is None
    run_lock.close()
    assert status() == "error"


def fresh(service: CountingService, all_profiles: bool = False) -> Any:
    """Return the list as a process makes it that has made none before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_views, "_kept", {})
        return json.loads(to_json(service.list_jobs(all_profiles)))


def test_a_list_with_kept_jobs_is_the_one_without(root: Path, home: Home) -> None:
    """Time passes, jobs change, run and are late; the zone and the scheduler's state change."""
    dice = random.Random(3)
    clock = ManualClock()
    service = counting_service(root, clock)
    cache = cache_of(service)
    work = write_jobs(root / "profiles" / "work", {"id": "w", "name": "w", "schedule": DAILY})
    records: list[dict[str, Any]] = [
        {"id": f"j{n}", "name": f"j{n}", "enabled": n % 5 != 0, "schedule": DAILY if n % 3 else
         {"kind": "once", "run_at": (clock.now() + datetime.timedelta(minutes=n)).isoformat()},
         "next_run_at": (clock.now() + datetime.timedelta(minutes=n)).isoformat()} for n in range(20)]
    held = []
    for turn in range(200):
        choice = dice.randrange(8)
        if choice < 3:
            clock.set(clock.now() + datetime.timedelta(seconds=dice.choice([1, 5, 30, 60, 3600])))
        elif choice == 3:
            each = dice.choice(records)
            each |= dice.choice([{"name": f"t{turn}"}, {"enabled": True}, {"enabled": False},
                                 {"last_run_at": clock.now().isoformat()},
                                 {"next_run_at": (clock.now() + datetime.timedelta(seconds=40)).isoformat()}])
        elif choice == 4:
            run_lock = lock.acquire(home, dice.choice(records)["id"])
            held += [run_lock] if run_lock else []
        elif choice == 5 and held:
            held.pop().release()
        elif choice == 6:
            (root / "ESTOP").touch() if dice.random() < 0.5 else (root / "ESTOP").unlink(missing_ok=True)
        else:
            set_disarmed(str(root), dice.random() < 0.3)
        write_jobs(root, *records)
        all_profiles = dice.random() < 0.5
        assert json.loads(cache.answer(all_profiles).body) == fresh(service, all_profiles), turn
    assert work.exists()


def test_clients_that_ask_at_once_get_one_answer(root: Path) -> None:
    write_jobs(root, *({"id": f"j{n}", "name": "x", "schedule": DAILY} for n in range(300)))
    time.sleep(0.05)
    service = counting_service(root)
    cache = cache_of(service)
    with ThreadPoolExecutor(8) as pool:
        bodies = set(pool.map(lambda _: cache.answer(all_profiles=False).body, range(8)))
    assert len(bodies) == 1 and service.readings == 1
