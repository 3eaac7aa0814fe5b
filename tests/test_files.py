import errno
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_oscron import files
from hermes_oscron.hermes import jobs_file
from hermes_oscron.hermes.home import Home

from .conftest import needs_root


def test_a_created_folder_is_accessible_only_to_its_owner(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        files.make_private_dir(str(tmp_path / "a" / "b"))
    finally:
        os.umask(old)
    assert [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "a/b")] == [0o700, 0o700]


def test_temporary_files_of_a_killed_writer_are_removed_after_an_hour(tmp_path: Path) -> None:
    now = time.time()
    for name in (".jobs.json.12.tmp", "mine.tmp", "jobs.json", ".jobs.json.13.tmp", ".hidden"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, now - 3 if "13" in name else now - 4000))
    files.remove_stale_temp_files(str(tmp_path), now)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.tmp", "jobs.json", ".jobs.json.13.tmp", ".hidden"}
    files.remove_stale_temp_files(str(tmp_path / "nowhere"), now)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file that is a mount itself, as one that is mounted into a container."""
    source, target = tmp_path / "source", tmp_path / "cron" / "jobs.json"
    target.parent.mkdir()
    for path in (source, target):
        path.write_bytes(b"old content")
    subprocess.run(["mount", "--bind", source, target], check=True)
    yield target
    subprocess.run(["umount", target], check=True)


@needs_root
def test_a_file_that_is_mounted_alone_is_overwritten(mounted: Path) -> None:
    for content in (b"new", b"longer than the content before"):
        files.write_atomic(str(mounted), content)
        assert mounted.read_bytes() == (mounted.parents[1] / "source").read_bytes() == content
        assert [path.name for path in mounted.parent.iterdir()] == ["jobs.json"]


@needs_root
def test_a_mounted_file_is_as_before_if_overwriting_it_fails(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fails_for_the_target(fd: int) -> None:
        if os.fstat(fd).st_ino == mounted.stat().st_ino and mounted.read_bytes() == b"new":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(fd)

    monkeypatch.setattr(os, "fsync", fails_for_the_target)
    with pytest.raises(OSError, match=f"No space left on device: '{mounted}'"):
        files.write_atomic(str(mounted), b"new")
    assert mounted.read_bytes() == b"old content"
    assert [path.name for path in mounted.parent.iterdir()] == ["jobs.json"]


@needs_root
def test_after_a_crash_the_error_names_the_whole_content(mounted: Path) -> None:
    child = os.fork()
    if child == 0:
        os.fsync = lambda fd: os._exit(9) if os.fstat(fd).st_ino == mounted.stat().st_ino else None  # type: ignore
        files.write_atomic(str(mounted), b'{"jobs": []}')
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    whole = Path(files.unfinished(str(mounted)))
    assert whole.read_bytes() == b'{"jobs": []}'
    mounted.write_bytes(b'{"jobs"')
    root = str(mounted.parents[1])
    with pytest.raises(jobs_file.NotAJobsFile, match=f"{whole} has the whole content"):
        jobs_file.read(Home("default", root, root))
    files.write_atomic(str(mounted), b"later")
    assert not whole.exists() and mounted.read_bytes() == b"later"
