"""The sync that systemd starts after a change: it is left out if the jobs are armed as they are, and only then.

The shell of hermes-oscron-sync.service runs here as it is, with a program in place of hermes-oscron.
"""

import fcntl
import os
import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from hermes_oscron.hermes import in_sync, job_store
from hermes_oscron.hermes.home import Home, home_of
from hermes_oscron.install.units import TEMPLATES
from hermes_oscron.jobs.model import Job
from hermes_oscron.runs import lock
from hermes_oscron.schedulers.protocol import SchedulerError
from hermes_oscron.state import State
from tests.fuzz.world import Ledger

from .world import DAILY, Refusing, put_record, reconciler, service

LATER = "2099-01-01T00:00:07Z"
CHANGED, ASKED = b"\0", b"\n"


def unit_text() -> str:
    return Path(TEMPLATES, "hermes-oscron-sync.service").read_text().replace("\\\n", " ")


def unescaped(program: str) -> str:
    """Return the quoted `program` as systemd reads it (systemd.syntax(7))."""
    return program.replace("$$", "$").replace("%%", "%").replace("\\\\", "\\")


def shell_of_the_unit() -> str:
    """Return the program of `sh -c` in ExecStart=."""
    [program] = re.findall(r"^ExecStart=/bin/sh -c '(.*?)' ", unit_text(), re.MULTILINE)
    return unescaped(program)


class Unit:
    """hermes-oscron-sync.service on `root`."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self._folder = folder
        self._folder.mkdir()
        self._program = folder / "hermes-oscron"
        self._program.write_text(f"#!/bin/sh\necho \"$@\" >>{shlex.quote(str(folder / 'ran'))}\n")
        self._program.chmod(0o755)
        self._manager = folder / "private"
        self.restart_manager()

    @property
    def marker(self) -> Path:
        return Path(State(str(self.root)).manager)

    def succeed(self) -> None:
        """Do what ExecStartPost= does."""
        [program] = re.findall(r"^ExecStartPost=-/bin/sh -c '(.*?)' ", unit_text(), re.MULTILINE)
        subprocess.run(["sh", "-c", unescaped(program), self.root, self._manager], check=True)

    def restart_manager(self) -> None:
        """Replace the socket of systemd, as after a boot."""
        self._manager.unlink(missing_ok=True)
        self._manager.touch()

    def syncs(self, requests: bytes) -> bool:
        """Return True if the service runs a sync when it finds `requests` in its pipe."""
        reader, writer = os.pipe2(os.O_NONBLOCK)
        os.write(writer, requests)
        ran = self._folder / "ran"
        ran.unlink(missing_ok=True)
        subprocess.run(["sh", "-c", shell_of_the_unit(), self._program, self.root, self._manager], check=True,
                       timeout=30, pass_fds=[3], preexec_fn=lambda: os.dup2(reader, 3),
                       env={**os.environ, "LISTEN_FDS": "1", "LANG": "de_DE"})
        os.close(writer)
        os.close(reader)
        if ran.exists():
            assert ran.read_text() == "sync --quiet\n" and not self.marker.exists()
            self.succeed()
            return True
        return False


@pytest.fixture(params=["", " with a 'quote', $HOME and a ü"])
def unit(request: pytest.FixtureRequest, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Unit:
    """The service after a sync, with a job and two profiles."""
    if request.param:
        renamed = root.with_name(root.name + request.param)
        root.rename(renamed)
        root = renamed
        monkeypatch.setenv("HERMES_HOME", str(root))
    for name in ("b", "Z"):
        (root / "profiles" / name.lower() / "cron").mkdir(parents=True)
        (root / "profiles" / name.lower() / ".env").touch()
    put_record(root, **DAILY)
    synced(root)
    unit = Unit(root, tmp_path / "runtime")
    unit.succeed()
    assert not unit.syncs(CHANGED)
    return unit


def synced(root: Path) -> None:
    time.sleep(0.03)  # a file that has just changed has no final time
    assert reconciler(root).sync().problems == []


def home(unit: Unit) -> Home:
    return home_of(str(unit.root), "default")


def test_a_sync_that_was_asked_for_is_never_left_out(unit: Unit) -> None:
    assert unit.syncs(b"") and unit.syncs(ASKED) and unit.syncs(CHANGED + ASKED + CHANGED)
    assert not unit.syncs(3 * CHANGED)


def test_nothing_is_left_out_before_the_first_sync_of_a_boot(unit: Unit) -> None:
    unit.restart_manager()
    assert unit.syncs(CHANGED) and not unit.syncs(CHANGED)
    unit.marker.unlink()
    assert unit.syncs(CHANGED) and not unit.syncs(CHANGED)


@pytest.mark.parametrize("name", ["cron/jobs.json", "config.yaml", "ESTOP", ".env", "oscron.toml",
                                  "profiles/b/cron/jobs.json", "profiles/z/ESTOP", "profiles/z/.env"])
def test_a_change_of_each_watched_file_is_synced(unit: Unit, name: str) -> None:
    path = unit.root / name
    path.write_bytes((path.read_bytes() if path.exists() else b"{}" if path.suffix == ".json" else b"") + b"\n")
    assert unit.syncs(CHANGED)
    synced(unit.root)
    assert not unit.syncs(CHANGED)
    path.unlink()
    assert unit.syncs(CHANGED)


def test_a_change_that_keeps_size_and_time_is_synced(unit: Unit) -> None:
    path = Path(home(unit).jobs_file)
    status = path.stat()
    time.sleep(0.02)
    path.write_bytes(path.read_bytes().replace(b" 9 ", b" 8 "))
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size and unit.syncs(CHANGED)


def test_a_new_profile_is_synced(unit: Unit) -> None:
    (unit.root / "profiles" / "new").mkdir()
    assert unit.syncs(CHANGED)


def test_a_command_and_a_write_that_changes_no_timer_start_no_sync(unit: Unit) -> None:
    jobs = service(unit.root)
    job = jobs.create({"prompt": "x", "schedule": "0 8 * * *"})
    assert not unit.syncs(CHANGED)
    for change in (lambda: jobs.update(job["id"], {"schedule": "0 7 * * *"}), lambda: jobs.pause(job["id"]),
                   lambda: jobs.resume(job["id"]), lambda: jobs.delete(job["id"])):
        change()
        assert not unit.syncs(CHANGED)
    job_store.change(home(unit), "odd", lambda job: job.with_fields({"name": "renamed"}))
    assert not unit.syncs(CHANGED)


@pytest.mark.parametrize("fields", [{"enabled": False}, {"state": "completed"},
                                    {"quota_hold_until": LATER, "next_run_at": LATER},
                                    {"schedule": {"kind": "interval", "minutes": 5, "display": "x"}}])
def test_a_write_that_changes_a_timer_is_synced(unit: Unit, fields: dict[str, object]) -> None:
    def changed(job: Job) -> Job:
        return Job.from_record(job.profile, {**job.record, **fields}, job.zone)

    job_store.change(home(unit), "odd", changed)
    assert unit.syncs(CHANGED)


def test_a_change_by_others_before_a_command_is_synced(unit: Unit) -> None:
    put_record(unit.root, job_id="theirs", **DAILY)
    service(unit.root).create({"prompt": "x", "schedule": "0 8 * * *"})
    assert unit.syncs(CHANGED)


def test_a_change_by_others_between_the_write_and_its_arming_is_synced(unit: Unit) -> None:
    jobs = service(unit.root)
    job = jobs.create({"prompt": "x", "schedule": "0 8 * * *"})
    assert not unit.syncs(CHANGED)
    path = Path(home(unit).jobs_file)
    follow = in_sync.follow

    def too_late(home: Home, before: str | None, after: str | None) -> None:
        path.write_bytes(path.read_bytes() + b" ")
        follow(home, before, after)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_sync, "follow", too_late)
        jobs.pause(job["id"])
    assert unit.syncs(CHANGED)


def test_a_change_that_was_not_armed_is_synced(unit: Unit) -> None:
    with pytest.raises(SchedulerError):
        service(unit.root, Refusing(str(unit.root))).create({"prompt": "x", "schedule": "0 8 * * *"})
    assert unit.syncs(CHANGED)


def test_a_command_that_has_not_armed_its_change_yet_is_awaited(unit: Unit) -> None:
    lock = os.open(State(str(unit.root)).command_lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    began = time.monotonic()
    with subprocess.Popen(["sleep", "1"], pass_fds=[lock]):
        os.close(lock)  # the other process still holds it
        assert not unit.syncs(CHANGED)
    assert time.monotonic() - began > 0.9


def test_a_change_by_others_of_a_job_that_runs_is_synced_after_its_run(unit: Unit) -> None:
    """A sync leaves the timer of a job that runs as it is."""
    armed = Ledger(str(unit.root))
    reconciler(unit.root, armed).sync()
    run_lock = lock.acquire(home(unit), "odd")
    assert run_lock
    put_record(unit.root, schedule={"kind": "cron", "expr": "0 7 * * *"})
    time.sleep(0.03)
    assert reconciler(unit.root, armed).sync().problems == []
    run_lock.release()
    assert unit.syncs(CHANGED)
