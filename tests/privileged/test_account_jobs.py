"""The jobs of an account as root's helper reads them. Every file may be the work of an attacker."""

import datetime
import json
import os
import pwd
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes_oscron.files import StateFileError
from hermes_oscron.privileged import account_jobs
from hermes_oscron.privileged.account_jobs import MAX_PROFILES, PlannedJobs
from hermes_oscron.schedulers.active import set_disarmed
from hermes_oscron.schedulers.systemd.scheduler import unit_of
from hermes_oscron.schedulers.systemd.unit_file import render
from tests.conftest import needs_root
from tests.fuzz.records import ANYTHING, CHANGES, record
from tests.privileged.harmless import assert_harmless

NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
UTC = ZoneInfo("UTC")
SECRET = "s3cret"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A Hermes home with one valid job."""
    return make_home(tmp_path / "hermes")


def make_home(path: Path, *records: Any) -> Path:
    (path / "cron").mkdir(parents=True)
    (path / "cron" / "jobs.json").write_text(json.dumps({"jobs": list(records) or [record("one")]}))
    return path


class EveryId(frozenset[str]):
    """Contains every id."""

    def __contains__(self, _job_id: object) -> bool:
        return True


def plan(home: Path, profile: str = "default", job_ids: frozenset[str] = EveryId()) -> PlannedJobs:
    return account_jobs.plan_profile(str(home), profile, NOW, job_ids)


def assert_all_harmless(found: PlannedJobs) -> None:
    for instance, planned in found.plans.items():
        assert_harmless(unit_of(instance), render(planned, UTC, NOW))


def test_a_job_is_planned_as_its_record_describes_it(home: Path) -> None:
    found = plan(home)
    assert list(found.plans) == ["default:one"] and not found.unusable
    assert_all_harmless(found)


def test_only_the_requested_jobs_are_planned(tmp_path: Path) -> None:
    home = make_home(tmp_path / "hermes", record("one"), record("two"))
    assert list(plan(home, job_ids=frozenset({"two", "missing"})).plans) == ["default:two"]
    assert plan(home, job_ids=frozenset()) == ({}, {})


def test_a_home_without_jobs_has_no_plans(tmp_path: Path) -> None:
    assert plan(tmp_path) == ({}, {}) == plan(tmp_path, "work")


def test_the_zone_is_that_of_config_yaml(home: Path) -> None:
    (home / "config.yaml").write_text("timezone: Asia/Tokyo\n")
    assert plan(home).plans["default:one"].zone.key == "Asia/Tokyo"
    (home / "config.yaml").write_text("timezone: ../../../etc/passwd\n")
    assert plan(home).plans["default:one"].zone.key != "../../../etc/passwd"


def link(path: Path, home: Path) -> None:
    path.symlink_to(home.parent / "elsewhere")


def pipe(path: Path, _home: Path) -> None:
    os.mkfifo(path)


def listener(path: Path, _home: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def folder(path: Path, _home: Path) -> None:
    path.mkdir()


def endless(path: Path, _home: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def device(path: Path, _home: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("name", ["cron/jobs.json", "config.yaml"])
@pytest.mark.parametrize("made", [link, pipe, listener, folder, endless, device])
def test_anything_but_a_regular_file_of_bounded_size_is_refused_at_once(
    home: Path, name: str, made: Callable[[Path, Path], None],
) -> None:
    (home.parent / "elsewhere").write_text(SECRET)
    (home / name).unlink(missing_ok=True)
    made(home / name, home)
    with pytest.raises(OSError) as refused:
        plan(home)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("name", ["cron", "profiles", "profiles/work", "profiles/work/cron"])
def test_no_folder_is_entered_by_a_link(home: Path, name: str) -> None:
    make_home(home / "profiles" / "work")
    linked = home / name
    linked.rename(home.parent / "elsewhere")
    linked.symlink_to(home.parent / "elsewhere")
    with pytest.raises(OSError, match=f"It is a link.*: '{linked.name}'"):
        plan(home, "work" if "profiles" in name else "default")


def test_profiles_are_folders_with_a_valid_name_and_their_number_is_limited(home: Path) -> None:
    (home / "profiles").mkdir()
    for name in ("work", "default", "two words", ".hidden", "x" * 65, "a%n"):
        (home / "profiles" / name).mkdir()
    (home / "profiles" / "file").touch()
    (home / "profiles" / "link").symlink_to("/etc")
    assert account_jobs.profile_names(str(home)) == ["default", "work"]
    for number in range(300):
        (home / "profiles" / f"p{number}").mkdir()
    assert len(account_jobs.profile_names(str(home))) == MAX_PROFILES


@pytest.mark.parametrize("content", [
    b"{", b"[" * 200_000, b'"jobs"', b"\xff\xfe{}", b"\0" * 1000, b'{"a":' * 100_000,
    b'{"jobs": [' + b"9" * 5000,
])
def test_a_broken_jobs_file_is_refused_as_a_whole(home: Path, content: bytes) -> None:
    (home / "cron" / "jobs.json").write_bytes(content)
    with pytest.raises(StateFileError):
        plan(home)


@pytest.mark.parametrize("text", [b"timezone: " + b"Z" * 500_000, b"\xff" * 1000, b"&a [*a,*a]\n" * 1000,
                                  b"timezone: UTC\nExecStart=/bin/sh"])
def test_any_config_yaml_leaves_the_jobs_a_zone(home: Path, text: bytes) -> None:
    (home / "config.yaml").write_bytes(text)
    found = plan(home)
    assert list(found.plans) == ["default:one"]
    assert_all_harmless(found)


INJECTIONS = ["\n[Service]\nExecStart=/bin/sh", "\\\nUnit=sshd.service", "%n", "\0", "; rm -rf /", "../../x",
              "\u2028Unit=x"]


@pytest.mark.parametrize("injected", INJECTIONS)
@pytest.mark.parametrize("field", ["id", "name", "prompt", "expr", "run_at", "kind", "display", "next_run_at"])
def test_no_text_of_a_record_gets_into_a_unit(home: Path, field: str, injected: str) -> None:
    schedules: list[dict[str, Any]] = [{"kind": "cron", "expr": "0 9 * * *", "display": "d"},
                                       {"kind": "once", "run_at": "2030-01-01T00:00:00+00:00", "display": "d"}]
    for schedule in schedules:
        job: dict[str, Any] = record("x", schedule=schedule)
        for place in (job, schedule):
            if field in place:
                place[field] += injected
        (home / "cron" / "jobs.json").write_text(json.dumps({"jobs": [job, record("one")]}))
        found = plan(home)
        assert "default:one" in found.plans
        assert_all_harmless(found)


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=300)
@given(st.lists(CHANGES | ANYTHING, max_size=4))
def test_any_records_leave_the_valid_one_planned_and_every_timer_harmless(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Any],
) -> None:
    odd = [record(f"odd{n}", **change) if isinstance(change, dict) else change for n, change in enumerate(changes)]
    home = make_home(tmp_path_factory.mktemp("home") / "hermes", *odd, record("sound"))
    found = plan(home)
    assert "default:sound" in found.plans
    assert_all_harmless(found)


def test_a_file_that_turns_into_a_link_and_back_is_never_read_through_the_link(home: Path) -> None:
    (home.parent / "elsewhere").write_text(json.dumps({"jobs": [record("theirs")]}))
    file, ended = home / "cron" / "jobs.json", threading.Event()
    text = file.read_text()

    def swap() -> None:
        while not ended.is_set():
            (home / "new").symlink_to(home.parent / "elsewhere")
            (home / "new").rename(file)
            (home / "new").write_text(text)
            (home / "new").rename(file)

    swapper = threading.Thread(target=swap)
    swapper.start()
    read_whole = 0
    try:
        for _ in range(2000):
            try:
                assert list(plan(home).plans) == ["default:one"]
                read_whole += 1
            except OSError:
                continue
    finally:
        ended.set()
        swapper.join()
    assert read_whole


@needs_root
def test_as_the_account_root_has_only_the_rights_of_the_account() -> None:
    account = pwd.getpwnam("nobody")

    def rights() -> tuple[int, int, list[int]]:
        return os.geteuid(), os.getegid(), sorted(os.getgroups())

    before = rights()
    with account_jobs.as_account(account):
        assert rights() == (account.pw_uid, account.pw_gid, [account.pw_gid])
    assert rights() == before


def test_no_job_is_planned_while_the_jobs_are_disarmed(home: Path) -> None:
    assert plan(home).plans
    set_disarmed(str(home), True)
    assert plan(home) == account_jobs.PlannedJobs({}, {})
    set_disarmed(str(home), False)
    assert plan(home).plans
