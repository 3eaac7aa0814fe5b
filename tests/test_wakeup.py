"""A wait ends with a change of a file, a folder or the clock, and not otherwise; without inotify it is a short one."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermes_oscron import wakeup as module
from hermes_oscron.wakeup import Wakeup

SOON_S = 10.0
"""It takes a few milliseconds, and longer on a busy machine; without the change it would take 30 s."""


@pytest.fixture
def wakeup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wakeup]:
    monkeypatch.setattr(module, "MAX_WAIT_S", 30.0)
    waiting = Wakeup()
    yield waiting
    waiting.close()


def waited_s(wakeup: Wakeup, seconds: float = 30.0) -> float:
    began = time.monotonic()
    wakeup.wait(seconds)
    return time.monotonic() - began


def fdinfo(target: str) -> str:
    """Return what the kernel shows of this process's open `target` (proc_pid_fdinfo(5))."""
    [fd] = [name for name in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{name}") and os.readlink(f"/proc/self/fd/{name}") == target]
    return Path(f"/proc/self/fdinfo/{fd}").read_text()


def replace(path: Path) -> None:
    path.with_name("new").write_text("x")
    path.with_name("new").rename(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "replaced": replace,
    "overwritten": lambda path: path.write_text("x"),
    "removed": lambda path: path.unlink(),
    "moved": lambda path: path.rename(path.parent.parent / "elsewhere"),
    "linked": lambda path: path.with_name("link").symlink_to("x"),
    "folder made": lambda path: path.with_name("folder").mkdir(),
    "folder moved": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_before_or_during_the_wait_ends_it(wakeup: Wakeup, tmp_path: Path, change: str) -> None:
    for delay_s in (0.0, 0.2):
        folder = tmp_path / f"after {delay_s}" / "folder"
        folder.mkdir(parents=True)
        (folder / "file").write_text("before")
        wakeup.watch([str(folder)])
        changing = threading.Timer(delay_s, CHANGES[change], [folder / "file"])
        changing.start()
        if not delay_s:
            changing.join()
        assert waited_s(wakeup) < SOON_S
        changing.join()
        wakeup.wait(0.2)  # the changes of one kind may be several


def test_reading_ends_no_wait(wakeup: Wakeup, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    wakeup.watch([str(tmp_path)])
    (tmp_path / "file").read_text()
    os.listdir(tmp_path)
    assert waited_s(wakeup, 0.3) >= 0.3


def test_a_missing_folder_is_noticed_when_it_appears(wakeup: Wakeup, tmp_path: Path) -> None:
    folders = [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    wakeup.watch(folders)
    (tmp_path / "a").mkdir()
    assert waited_s(wakeup) < SOON_S
    wakeup.watch(folders)
    (tmp_path / "a" / "b").mkdir()
    assert waited_s(wakeup) < SOON_S
    wakeup.watch(folders)
    (tmp_path / "a" / "b" / "file").write_text("x")
    assert waited_s(wakeup) < SOON_S


def test_folders_that_are_gone_or_replaced_are_watched_no_longer(wakeup: Wakeup, tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / "folder").mkdir()
        wakeup.watch([str(tmp_path), str(tmp_path / "folder")])
        (tmp_path / "folder").rename(tmp_path / f"old {n}")
    wakeup.watch([str(tmp_path)])
    assert fdinfo("anon_inode:inotify").count("inotify wd:") == 1
    while waited_s(wakeup, 0.1) < 0.1:
        pass
    (tmp_path / "old 7" / "file").write_text("x")
    assert waited_s(wakeup, 0.3) >= 0.3


def test_more_changes_than_the_kernel_keeps_lose_none(wakeup: Wakeup, tmp_path: Path) -> None:
    """After IN_Q_OVERFLOW the wait ends, and so does the one after the next change."""
    wakeup.watch([str(tmp_path)])
    for n in range(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) // 2 + 10):
        os.mkdir(path := f"{tmp_path}/{n}")
        os.rmdir(path)
    assert waited_s(wakeup) < SOON_S
    while waited_s(wakeup, 0.1) < 0.1:
        pass
    (tmp_path / "file").write_text("x")
    assert waited_s(wakeup) < SOON_S


def test_without_folders_it_is_a_poll(wakeup: Wakeup, tmp_path: Path) -> None:
    wakeup.watch([str(tmp_path)])
    wakeup.watch([])
    (tmp_path / "file").write_text("x")
    assert 0.4 < waited_s(wakeup) < SOON_S


def test_the_longest_wait_bounds_each(wakeup: Wakeup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 0.2)
    wakeup.watch([str(tmp_path)])
    assert 0.2 <= waited_s(wakeup) < SOON_S


def test_the_end_ends_the_wait_and_all_further_ones(wakeup: Wakeup, tmp_path: Path) -> None:
    wakeup.watch([str(tmp_path)])
    assert not wakeup.is_set()
    ending = threading.Timer(0.2, wakeup.end)
    ending.start()
    assert waited_s(wakeup) < SOON_S and waited_s(wakeup) < SOON_S and wakeup.is_set()
    ending.join()


def test_a_timer_of_the_kernel_notices_a_clock_that_is_set(wakeup: Wakeup) -> None:
    """A test must not set the clock of the machine, so the kernel is asked for the flags of the timer."""
    shown = fdinfo("anon_inode:[timerfd]")
    assert f"clockid: {time.CLOCK_REALTIME}\n" in shown
    assert f"settime flags: {module.ABSOLUTE | module.CANCEL_ON_SET:02o}\n" in shown


def test_nothing_stays_open() -> None:
    before = os.listdir("/proc/self/fd")
    Wakeup().close()
    assert os.listdir("/proc/self/fd") == before


LIMITED = """
import sys, time
from pathlib import Path
from hermes_oscron.wakeup import Wakeup
limit, folder = sys.argv[1:]
Path(f"/proc/sys/user/{limit}").write_text("0")
wakeup = Wakeup()
for _ in range(2):
    wakeup.watch([folder])
    began = time.monotonic()
    wakeup.wait(30)
    print(time.monotonic() - began)
wakeup.close()
"""


@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_without_an_instance_or_a_watch_it_is_a_poll(tmp_path: Path, limit: str) -> None:
    """The limits of a user namespace of its own are those of inotify(7)."""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", LIMITED, limit, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in result.stderr:
        pytest.skip("this machine allows no user namespace")
    waits = [float(line) for line in result.stdout.split()]
    assert len(waits) == 2 and all(0.4 < wait < SOON_S for wait in waits), result.stderr


def test_a_c_library_without_inotify_makes_it_a_poll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_libc", object)
    wakeup = Wakeup()
    wakeup.watch([str(tmp_path)])
    assert 0.4 < waited_s(wakeup) < SOON_S
    wakeup.close()
