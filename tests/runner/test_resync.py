"""The sync that a run requests when it has ended."""

import os
import stat
import time
from pathlib import Path

import pytest

from hermes_oscron.hermes import job_store
from hermes_oscron.hermes.home import Home
from hermes_oscron.runner.resync import resync
from hermes_oscron.schedulers import spawn
from hermes_oscron.schedulers.active import set_active_scheduler
from hermes_oscron.schedulers.crontab import launchers
from hermes_oscron.schedulers.systemd.systemctl import Systemctl
from tests.conftest import wait_for
from tests.runner.jobs import make_script


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path at which the pipe for requests is expected; nothing is there yet."""
    monkeypatch.setattr(Systemctl, "runtime_dir", str(tmp_path))
    return tmp_path / "hermes-oscron-sync"


@pytest.mark.parametrize(("scheduler", "requests"), [("systemd", 2), ("foreground", 0)])
def test_a_sync_is_requested_only_if_systemd_fires(
        root: Path, home: Home, pipe: Path, scheduler: str, requests: int) -> None:
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    job = job_store.find(home, make_script(root, "true\n"))
    set_active_scheduler(str(root), scheduler)
    for _ in range(2):
        resync(home, job)
    os.write(reader, b".")
    assert len(os.read(reader, 100)) == requests + 1


def test_a_full_pipe_is_a_sync_requested_already(root: Path, home: Home, pipe: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(reader, bytes(4096))
    set_active_scheduler(str(root), "systemd")
    resync(home, None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["nothing", "no reader", "a folder", "a socket"])
def test_a_sync_that_cannot_be_requested_is_logged(root: Path, home: Home, pipe: Path, kind: str,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    set_active_scheduler(str(root), "systemd")
    if kind == "no reader":
        os.mkfifo(pipe)
    elif kind == "a folder":
        pipe.mkdir()
    elif kind == "a socket":
        os.mknod(pipe, stat.S_IFSOCK | 0o600)
    resync(home, None)
    logged = capsys.readouterr().err
    assert str(pipe) in logged and "'hermes-oscron sync' repairs it." in logged


@pytest.mark.parametrize(("fields", "synced"), [({}, False), ({"state": "completed", "enabled": False}, True),
                                                ({"state": "paused", "enabled": False}, True), (None, True)])
def test_under_cron_a_sync_runs_only_if_the_job_has_to_lose_its_line(
        root: Path, home: Home, fields: dict[str, object] | None, synced: bool) -> None:
    job = job_store.find(home, make_script(root, "true\n"))
    set_active_scheduler(str(root), "crontab")
    command = Path(home.state.launchers) / launchers.CLI
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$@" >{root}/called.new && mv {root}/called.new {root}/called\n')
    command.chmod(0o700)
    resync(home, job.with_fields(fields) if fields is not None else None)
    if synced:
        wait_for((root / "called").exists)
        assert (root / "called").read_text() == "sync\n"
    else:
        time.sleep(0.3)
        assert not (root / "called").exists()


def test_under_cron_a_sync_that_cannot_be_started_is_logged(root: Path, home: Home,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    set_active_scheduler(str(root), "crontab")
    resync(home, None)
    logged = capsys.readouterr().err
    assert f"{home.state.launchers}/{launchers.CLI}" in logged and "'hermes-oscron sync' repairs it." in logged


@pytest.mark.parametrize("held", ["before", "after", "never"])
def test_cron_gets_another_line_when_a_hold_begins_or_ends(
        root: Path, home: Home, monkeypatch: pytest.MonkeyPatch, held: str) -> None:
    job = job_store.find(home, make_script(root, "true\n"))
    until = "2027-03-15T17:30:00.5+00:00"
    on_hold = job.with_fields({"next_run_at": until, "quota_hold_until": until})
    set_active_scheduler(str(root), "crontab")
    started: list[list[str]] = []
    monkeypatch.setattr(spawn, "start_detached", started.append)
    resync(home, on_hold if held == "after" else job, (on_hold if held == "before" else job).record)
    assert bool(started) == (held != "never")
