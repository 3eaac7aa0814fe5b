"""What a run asks of what fires its job."""

import os
import stat
from pathlib import Path

import pytest

from hermes_oscron.hermes import store
from hermes_oscron.hermes.homes import Home
from hermes_oscron.runner.rearm import rearm
from hermes_oscron.schedulers.charge import put_in_charge
from hermes_oscron.schedulers.systemd.systemctl import Manager
from tests.runner.fires import make_script


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the manager's pipe for requests would be; it is not there yet."""
    monkeypatch.setattr(Manager, "runtime_dir", str(tmp_path))
    return tmp_path / "hermes-oscron-sync"


@pytest.mark.parametrize(("fires", "asked"), [("systemd", 2), ("foreground", 0)])
def test_a_sync_is_requested_where_systemd_fires_and_nowhere_else(
        root: Path, home: Home, pipe: Path, fires: str, asked: int) -> None:
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    record = store.find(home, make_script(root, "true\n"))
    put_in_charge(str(root), fires)
    for _ in range(2):
        rearm(home, record)
    os.write(reader, b".")
    assert len(os.read(reader, 100)) == asked + 1


def test_a_full_pipe_is_a_sync_requested_already(root: Path, home: Home, pipe: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(reader, bytes(4096))
    put_in_charge(str(root), "systemd")
    rearm(home, None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["nothing", "no reader", "a folder", "a socket"])
def test_a_sync_that_cannot_be_requested_is_told(root: Path, home: Home, pipe: Path, kind: str,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    put_in_charge(str(root), "systemd")
    if kind == "no reader":
        os.mkfifo(pipe)
    elif kind == "a folder":
        pipe.mkdir()
    elif kind == "a socket":
        os.mknod(pipe, stat.S_IFSOCK | 0o600)
    rearm(home, None)
    told = capsys.readouterr().err
    assert str(pipe) in told and "'hermes-oscron sync' will put it right" in told
