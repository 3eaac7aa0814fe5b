import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hermes_oscron.hermes.home import Home
from hermes_oscron.runs import lock, processes
from hermes_oscron.runs.lock import RunLock
from hermes_oscron.runs.model import Run

HOLDER = """
import sys, time
from hermes_oscron.hermes.home import hermes_root, home_of
from hermes_oscron.runs import lock
from hermes_oscron.runs.model import Run
held = lock.acquire(home_of(hermes_root(), "default"), "a")
if "begin" in sys.argv:
    held.write(Run("a", 1711900000.5, "manual"))
print("held", flush=True)
time.sleep(60)
"""


def killed_holder(*arguments: str) -> None:
    """A process that has claimed the job `a` and was killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()


def acquired(home: Home, job_id: str = "a") -> RunLock:
    run_lock = lock.acquire(home, job_id)
    assert run_lock
    return run_lock


def run_file(root: Path) -> Path:
    return root / "cron" / "oscron" / "runs" / "a"


def test_nothing_runs_in_an_empty_home(home: Home, root: Path) -> None:
    assert (lock.running(home), lock.unrecorded(home), lock.find(home, "a")) == ({}, [], None)
    assert not (root / "cron").exists()


def test_a_claim_is_exclusive_until_it_is_released(home: Home) -> None:
    first = acquired(home)
    assert lock.acquire(home, "a") is None
    other = acquired(home, "b")
    first.release()
    acquired(home).release()
    other.release()


def test_a_run_is_seen_while_its_claim_is_held(home: Home, root: Path) -> None:
    run_lock = acquired(home)
    run = Run("a", 1711900000.5, "manual")
    run_lock.write(run)
    assert lock.find(home, "a") == run and lock.running(home) == {"a": run} and lock.unrecorded(home) == []
    assert json.loads(run_file(root).read_text()[:lock.PART_BYTES])["pid"] == os.getpid()
    run_lock.release()
    assert lock.find(home, "a") is None and lock.running(home) == {}
    assert not run_file(root).exists()


def test_a_run_without_a_written_start_began_when_its_lock_was_acquired(home: Home) -> None:
    run_lock = acquired(home)
    run = lock.find(home, "a")
    assert run and abs(run.started_at - time.time()) < 2
    run_lock.release()


def test_a_reader_does_not_prevent_a_claim(home: Home) -> None:
    acquired(home).release()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            lock.running(home)
            lock.unrecorded(home)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(100):
            acquired(home).release()
    finally:
        ended.set()
        thread.join()


def test_the_run_of_a_killed_holder_is_interrupted_and_passed_to_the_next(home: Home) -> None:
    killed_holder("begin")
    run = Run("a", 1711900000.5, "manual")
    assert (lock.find(home, "a"), lock.running(home), lock.unrecorded(home)) == (None, {}, [run])
    run_lock = acquired(home)
    assert run_lock.stale_run() == run
    run_lock.release()
    assert lock.unrecorded(home) == []


def test_a_holder_killed_before_it_began_left_no_run_to_record(home: Home) -> None:
    killed_holder()
    run_lock = acquired(home)
    assert run_lock.stale_run() is None
    run_lock.release()


def test_a_new_claim_has_nothing_left_behind(home: Home) -> None:
    run_lock = acquired(home)
    assert run_lock.stale_run() is None
    run_lock.release()


def test_a_file_with_invalid_content_is_an_interrupted_run(home: Home, root: Path) -> None:
    run_file(root).parent.mkdir(parents=True)
    for content in ("{", "[]", '{"started_at": "x"}', '{"started_at": null, "trigger": "manual"}', "5"):
        run_file(root).write_text(content)
        run, = lock.unrecorded(home)
        assert run.job_id == "a" and abs(run.started_at - time.time()) < 5, content


def test_a_file_that_is_not_named_like_a_job_is_not_a_run(home: Home, root: Path) -> None:
    run_file(root).parent.mkdir(parents=True)
    (run_file(root).parent / ".a.tmp").write_text("{}")
    assert lock.unrecorded(home) == []


def test_a_claim_that_waits_for_a_removed_file_gets_the_new_one(home: Home, root: Path) -> None:
    first = acquired(home)
    found: list[RunLock | None] = []
    waiting = threading.Thread(target=lambda: found.append(lock.acquire(home, "a")))
    waiting.start()
    time.sleep(0.05)
    first.release()
    waiting.join()
    second, = found
    assert second and run_file(root).exists()
    assert lock.acquire(home, "a") is None and lock.find(home, "a")
    second.release()


def test_a_lock_on_a_file_removed_after_it_was_opened_is_not_a_claim(
        home: Home, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, flock = acquired(home), fcntl.flock
    locked: list[int] = []

    def release_then_lock(fd: int, operation: int) -> None:
        locked.append(fd)
        if len(locked) == 1:
            first.release()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", release_then_lock)
    second = acquired(home)
    assert len(locked) > 1 and run_file(root).exists()
    assert lock.acquire(home, "a") is None
    second.release()


def test_only_one_of_many_claimants_holds_the_lock_at_a_time(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LOCK_TIMEOUT_S", 20.0)
    holders: list[int] = []
    wrong: list[int] = []

    def contend(number: int) -> None:
        for _ in range(30):
            run_lock = acquired(home)
            holders.append(number)
            time.sleep(0)
            if holders != [number]:
                wrong.append(number)
            holders.remove(number)
            run_lock.release()

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(("earlier", "killed"), [(0.0, True), (100.0, False)])
def test_remaining_processes_are_ended_and_a_later_process_with_their_pid_is_not(earlier: float, killed: bool) -> None:
    process = subprocess.Popen(["sleep", "60"], process_group=0)
    try:
        run = processes.with_process_group(Run("a", time.time(), "schedule"), process.pid)
        processes.kill_leftover_processes(run._replace(uptime=run.uptime - earlier))
        time.sleep(0.1)
        assert (process.poll() == -signal.SIGKILL) == killed
    finally:
        process.kill()
        process.wait()


def test_anything_but_a_regular_file_is_not_a_run(home: Home) -> None:
    os.makedirs(f"{home.state.runs}/a")
    os.mkfifo(f"{home.state.runs}/b")
    assert lock.running(home) == {} and lock.unrecorded(home) == []
