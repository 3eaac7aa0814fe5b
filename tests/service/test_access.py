"""Files and folders that the account cannot use, and full disks, which doctor reports."""

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.hermes.home import Home, home_of
from hermes_oscron.hermes.job_store import by_instance
from hermes_oscron.service import access
from hermes_oscron.service.findings import PROBLEM, WARNING
from tests.conftest import NOBODY, as_nobody, chown_to_nobody, needs_root, write_jobs

from .world import DAILY_JOB


@pytest.fixture
def place(nobodys_root: Path) -> Path:
    """A home of an ordinary account, with the job `a` and one of its outputs."""
    root = nobodys_root
    write_jobs(root, DAILY_JOB)
    for name in ("runs", "requests", "queue", "shared-queue"):
        (root / "cron" / "oscron" / name).mkdir(parents=True)
    (root / "cron" / "output" / "a").mkdir(parents=True)
    for name in ("token", "sessions", "arming.lock", "sessions.lock", "queue/.lock", "shared-queue/.lock"):
        (root / "cron" / "oscron" / name).write_text("x\n")
    (root / "cron" / "oscron" / "token").chmod(0o600)
    for name in ("config.yaml", ".env", "active_profile", "cron/.jobs.lock"):
        (root / name).touch()
    chown_to_nobody(root)
    return root


def found(root: Path) -> list[tuple[str, str]]:
    """Return severity and sentence of each finding, to the account itself."""
    home = home_of(str(root), "default")
    jobs = by_instance(home)
    with as_nobody():
        return [(each.severity, each.sentence) for each in access.unusable_files(home, jobs)]


def test_a_home_of_the_account_is_in_order_and_stays_as_it_is(place: Path) -> None:
    before = sorted(place.rglob("*"))
    assert found(place) == []
    assert sorted(place.rglob("*")) == before


def test_an_empty_home_is_in_order(home: Home) -> None:
    assert access.unusable_files(home, {}) == []


@pytest.mark.parametrize(("folder", "severity", "effect"), [
    ("cron", PROBLEM, "no job can be changed, and no run is recorded"),
    ("cron/oscron", PROBLEM, "no job starts"),
    ("cron/oscron/runs", PROBLEM, "no job starts"),
    ("cron/oscron/queue", PROBLEM, "no run starts that may have to wait"),
    ("cron/oscron/shared-queue", PROBLEM, "no run starts that may have to wait"),
    ("cron/oscron/requests", WARNING, "no job can be run by hand"),
    ("cron/output", WARNING, "no output is saved"),
    ("cron/output/a", WARNING, "no output of the job is saved"),
])
def test_a_folder_that_the_account_cannot_write_is_reported(
    place: Path, folder: str, severity: str, effect: str,
) -> None:
    (place / folder).chmod(0o555)
    [(how, sentence)] = found(place)
    assert how == severity and f"{place}/{folder} cannot be written: Permission denied. Give it to" in sentence
    assert effect in sentence


@needs_root
def test_a_folder_that_is_missing_is_a_problem_if_it_cannot_be_made(place: Path) -> None:
    shutil.rmtree(place / "cron" / "output")
    assert found(place) == []
    os.chown(place / "cron", 0, 0)
    (place / "cron").chmod(0o755)
    [(severity, sentence)] = found(place)  # once, though the outputs cannot be saved either
    assert severity == PROBLEM and f"{place}/cron cannot be written" in sentence


def test_a_file_instead_of_a_folder_is_reported(place: Path) -> None:
    shutil.rmtree(place / "cron" / "output")
    (place / "cron" / "output").touch()
    [(severity, sentence)] = [each for each in found(place) if "Not a directory. Move away the file" in each[1]]
    assert severity == WARNING and f"{place}/cron/output cannot be written" in sentence


@pytest.mark.parametrize(("name", "severity", "part"), [
    ("cron/oscron/token", WARNING, "'hermes-oscron token' makes a new token"),
    ("cron/oscron/sessions", WARNING, "Browsers cannot log in"),
    (".env", WARNING, "Its variables"),
    ("config.yaml", WARNING, "Its settings"),
    ("active_profile", WARNING, "Commands and calls that name no profile fail."),
    ("cron/.jobs.lock", PROBLEM, "cannot be opened: Permission denied"),
    ("cron/oscron/arming.lock", PROBLEM, "cannot be opened: Permission denied"),
])
def test_a_file_that_the_account_cannot_use_is_reported(place: Path, name: str, severity: str, part: str) -> None:
    (place / name).chmod(0o000)
    [(how, sentence)] = found(place)
    assert how == severity and f"{place}/{name} cannot be" in sentence and part in sentence
    assert "Give it to the account" in sentence


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_file_that_is_not_a_token_is_reported(place: Path, content: bytes) -> None:
    (place / "cron" / "oscron" / "token").write_bytes(content)
    [(severity, sentence)] = found(place)
    assert severity == WARNING and sentence == (
        f"{place}/cron/oscron/token is not a token, so no client of the API is served. 'hermes-oscron token --rotate' "
        f"makes a new one.")


def test_a_token_that_other_accounts_can_read_is_reported(place: Path) -> None:
    (place / "cron" / "oscron" / "token").chmod(0o644)
    (place / "cron" / "oscron").chmod(0o700)
    assert found(place) == []
    (place / "cron" / "oscron").chmod(0o755)
    [(severity, sentence)] = found(place)
    assert severity == WARNING and "token can be read by other accounts, which can then run code as" in sentence


def test_a_folder_instead_of_the_token_is_reported(place: Path) -> None:
    token = place / "cron" / "oscron" / "token"
    token.unlink()
    token.mkdir()
    [(severity, sentence)] = found(place)
    assert severity == WARNING and f"{token} cannot be read: it is not a regular file. Move it away." in sentence


@pytest.mark.parametrize("folder", ["cron", "cron/oscron"])
def test_a_closed_folder_is_reported_without_its_files(place: Path, folder: str) -> None:
    (place / folder).chmod(0o000)
    [(severity, sentence)] = found(place)
    assert severity == PROBLEM and f"{place}/{folder} cannot be written: Permission denied" in sentence


def test_a_jobs_file_of_another_account_is_in_order_since_it_can_be_replaced(place: Path) -> None:
    (place / "cron" / "jobs.json").chmod(0o444)
    assert found(place) == []


def mount_tmpfs(place: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"{options},uid={NOBODY},gid={NOBODY}", "tmpfs", place], check=True)


def fill(place: Path) -> None:
    with (place / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096) == 4096:
            pass


def without_inodes(place: Path) -> None:
    with contextlib.suppress(OSError):
        for number in range(1000):
            (place / str(number)).touch()


@needs_root
@pytest.mark.parametrize(("options", "spoil", "part"), [
    ("size=1m", fill, "No space left on device. Make room on its file system."),
    ("size=1m,nr_inodes=40", without_inodes, "No space left on device. Make room on its file system."),
    ("size=1m", lambda place: subprocess.run(["mount", "-o", "remount,ro", place], check=True),
     "Read-only file system. Remount its file system read-write."),
])
def test_a_disk_that_takes_no_file_is_reported_once(
    nobodys_root: Path, options: str, spoil: Callable[[Path], object], part: str,
) -> None:
    disk = nobodys_root
    mount_tmpfs(disk, options)
    try:
        write_jobs(disk, DAILY_JOB)
        (disk / "cron" / "oscron" / "runs").mkdir(parents=True)
        (disk / "cron" / "output" / "a").mkdir(parents=True)
        chown_to_nobody(disk)
        assert found(disk) == []
        spoil(disk)
        [(severity, sentence)] = found(disk)
        assert severity == PROBLEM and part in sentence
    finally:
        subprocess.run(["umount", disk], check=True)


@needs_root
def test_a_jobs_file_that_is_mounted_alone_and_read_only_is_reported(place: Path) -> None:
    jobs_file = place / "cron" / "jobs.json"
    subprocess.run(["mount", "--bind", jobs_file, jobs_file], check=True)
    try:
        assert found(place) == []
        subprocess.run(["mount", "-o", "remount,ro,bind", jobs_file], check=True)
        [(severity, sentence)] = found(place)
        assert severity == PROBLEM and sentence.startswith(f"{jobs_file} cannot be written: Read-only file system.")
    finally:
        subprocess.run(["umount", jobs_file], check=True)


def test_a_file_system_without_nameless_files_is_tried_by_a_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.open

    def opened(path: str, flags: int, *mode: int, **others: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return really(path, flags, *mode, **others)

    monkeypatch.setattr(os, "open", opened)
    before = sorted(place.rglob("*"))
    assert found(place) == [] and sorted(place.rglob("*")) == before
    (place / "cron" / "oscron").chmod(0o555)
    assert f"{place}/cron/oscron cannot be written" in found(place)[0][1]
