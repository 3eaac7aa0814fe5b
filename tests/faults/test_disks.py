"""A disk that is full, read-only or another account's, and a process that cannot open further files."""

import contextlib
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_oscron.hermes.home import home_of
from hermes_oscron.runs.interrupted import record_interrupted_runs
from tests.conftest import needs_root, wait_for
from tests.faults.faulty import COMMANDS, JOBS, Faulty, assert_reported
from tests.runner.jobs import firing, has_begun, make_due, make_script, page, pages, record
from tests.runs.ledgers import rows

NOBODY = 65534


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@contextlib.contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """No more than `left` pages of 4 KiB are free on `disk`."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096) == 4096:
            pass
    os.truncate(ballast, max(0, ballast.stat().st_size // 4096 - left) * 4096)
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def ext4(image: Path, place: Path) -> Iterator[None]:
    """`place` is an ext4 of 8 MiB, in the file `image`, that keeps nothing for root."""
    with image.open("wb") as file:
        file.truncate(8 * 1024**2)
    subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-m", "0", image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def nothing() -> None:
    pass


@needs_root
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_reported_and_repaired_by_one_later_sync(disk: Path, tmp_path: Path, command: str) -> None:
    faulty = Faulty(disk / "hermes", tmp_path / "timers")
    statuses = set()
    for left in range(5):
        before = faulty.world.jobs_file.read_bytes()
        with filled(disk, left):
            answer = faulty.run_with_fault(command, nothing)
            assert_reported(answer)
            assert answer
            if answer[0] != 200:
                assert faulty.world.jobs_file.read_bytes() == before
        statuses.add(answer[0])
        faulty.assert_one_sync_repairs_it(["one"] if command == "delete" else [])
        if answer[0] == 200:
            break
    assert 200 in statuses, "with some pages left it works"


@needs_root
def test_a_fire_that_failed_on_a_full_disk_is_caught_up_by_one_sync(disk: Path, tmp_path: Path) -> None:
    faulty = Faulty(disk / "hermes", tmp_path / "timers")
    faulty.world.put({"jobs": [{**JOBS[0], "next_run_at": "2026-01-01T09:00:00+00:00"}]})
    with filled(disk, 0):
        fired = subprocess.run([sys.executable, "-m", "hermes_oscron.runner.main", "default:one"], capture_output=True,
                               text=True, timeout=100, check=False, env={**os.environ, "HERMES_HOME": str(faulty.root)})
    assert fired.returncode == 2 and fired.stdout == ""
    assert re.fullmatch(rf"hermes-cron-exec: {faulty.root}/\S+: No space left on device\. Make room on its file "
                        r"system\. The job stays due, and the next sync runs it\.\n", fired.stderr)
    assert not list((faulty.root / "cron" / "oscron").glob("runs/*")), "it is no run that was cut off"
    faulty.world.sync()
    assert faulty.world.scheduler.ran == ["default:one"]


@needs_root
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_run_that_ends_on_a_full_disk_is_recorded_when_there_is_room(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_stopped: bool,
) -> None:
    place = disk / "hermes" if kind == "tmpfs" else tmp_path / "ext4"
    place.mkdir()
    with ext4(tmp_path / "image", place) if kind == "ext4" else contextlib.nullcontext():
        monkeypatch.setenv("HERMES_HOME", str(place))
        (place / "scripts").mkdir()
        here = home_of(str(place), "default")
        job_id = make_script(place, "sleep 1; echo whole; exit 3\n")
        make_due(place, job_id)
        with firing(job_id) as runner:
            wait_for(lambda: has_begun(here, job_id))
            wait_for(lambda: rows(place, job_id))  # the journal of the ledger, which is removed then, took some room
            with filled(disk if kind == "tmpfs" else place, 0):
                wait_for(lambda: b'"ended_at"' in Path(here.state.runs, job_id).read_bytes())
                assert runner.poll() is None and pages(place, job_id) == [], "it waits for room"
                assert record(place, job_id)["last_status"] is None
                if is_stopped:
                    runner.terminate()
                    assert runner.wait(5) == 2
            assert runner.wait(5) == (2 if is_stopped else 1)
        record_interrupted_runs(here)
        after = record(place, job_id)
        assert after["last_error"].startswith("exited with code 3") and after["repeat"]["completed"] == 1
        if is_stopped:
            assert f"but its output could not be saved: {place}/cron/output" in after["last_error"]
            assert "No space left on device. Make room" in after["last_error"]
        else:
            assert "whole" in page(place, job_id) and "output" not in after["last_error"]


@needs_root
@pytest.mark.parametrize("command", COMMANDS)
def test_a_read_only_disk_is_reported_and_repaired_by_one_later_sync(disk: Path, tmp_path: Path, command: str) -> None:
    faulty = Faulty(disk / "hermes", tmp_path / "timers")
    before = faulty.world.jobs_file.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        assert_reported(faulty.run_with_fault(command, nothing))
        assert faulty.world.jobs_file.read_bytes() == before
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    faulty.assert_one_sync_repairs_it()


@needs_root
@pytest.mark.parametrize("mode", [0o500, 0o000])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_of_another_account_is_reported_and_repaired_by_one_later_sync(
    disk: Path, tmp_path: Path, command: str, mode: int,
) -> None:
    faulty = Faulty(disk / "hermes", tmp_path / "timers")
    before = faulty.world.jobs_file.read_bytes()
    for folder in (disk, *tmp_path.parents, tmp_path):
        if folder.stat().st_uid == os.getuid() and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o711)
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", disk, faulty.timers], check=True)
    cron = faulty.root / "cron"
    cron.chmod(mode)
    try:
        assert_reported(faulty.run_with_fault(command, lambda: os.setresuid(NOBODY, NOBODY, NOBODY)))
    finally:
        cron.chmod(0o700)
    assert faulty.world.jobs_file.read_bytes() == before
    faulty.assert_one_sync_repairs_it()


def leave_files(free: int) -> None:
    """Limit this process to `free` open files besides those that it has."""
    opened = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + free, opened + free))
    while True:  # those between are taken too
        try:
            os.dup(0)
        except OSError:
            break
    for fd in range(opened, opened + free):
        with contextlib.suppress(OSError):
            os.close(fd)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_lack_of_descriptors_is_reported_and_repaired_by_one_later_sync(tmp_path: Path, command: str) -> None:
    for free in range(12):
        place = tmp_path / str(free)
        place.mkdir()
        faulty = Faulty(place / "hermes", place / "timers")
        assert_reported(faulty.run_with_fault(command, lambda at=free: leave_files(at)))  # type: ignore[misc]
        faulty.assert_one_sync_repairs_it(["one"] if command == "delete" else [])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["config.yaml", "active_profile", "oscron.toml", "cron/jobs.json",
                                  "cron/oscron/scheduler"])
def test_a_pipe_instead_of_a_file_is_refused_without_waiting(tmp_path: Path, name: str, command: str) -> None:
    faulty = Faulty(tmp_path / "hermes", tmp_path / "timers")
    pipe, content = faulty.root / name, b""
    if pipe.exists():
        content = pipe.read_bytes()
        pipe.unlink()
    os.mkfifo(pipe)
    try:
        assert_reported(faulty.run_with_fault(command, nothing))
    finally:
        pipe.unlink()
    if content:
        pipe.write_bytes(content)
    deleted = command == "delete" and name != "cron/jobs.json"
    faulty.assert_one_sync_repairs_it(["one"] if deleted else [])
