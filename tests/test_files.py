import os
import stat
import time
from pathlib import Path

from hermes_oscron import files


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
