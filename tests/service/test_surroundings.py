"""The machine around the jobs: each finding where it is true and where it is false."""

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hermes_oscron.config import load
from hermes_oscron.hermes.home import Home
from hermes_oscron.schedulers.systemd.health import start_failures
from hermes_oscron.schedulers.systemd.systemctl import Systemctl
from hermes_oscron.service import surroundings as checks
from hermes_oscron.service.findings import PROBLEM, WARNING, Finding, exit_status

ME = pwd.getpwuid(os.getuid()).pw_name
CHAGE = """Last password change\t\t\t\t\t: Nov 27, 2026
Password expires\t\t\t\t\t: {password}
Password inactive\t\t\t\t\t: never
Account expires\t\t\t\t\t\t: {account}
"""


def test_the_exit_status_is_that_of_the_worst_finding() -> None:
    warning, problem = Finding(WARNING, "a", ""), Finding(PROBLEM, "a", "")
    assert [exit_status(found) for found in ([], [warning], [warning, problem])] == [0, 1, 2]


def test_without_linger_the_jobs_fire_only_while_the_account_is_logged_in(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LINGER", str(tmp_path))
    found = checks.no_linger()
    assert found and found.severity == WARNING and f"'loginctl enable-linger {ME}'" in found.sentence
    (tmp_path / ME).touch()
    assert checks.no_linger() is None


def test_a_home_that_a_login_opens_is_a_warning_if_the_account_lingers(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mountinfo = "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
    monkeypatch.setattr(checks, "MOUNTINFO", str(tmp_path / "mountinfo"))
    monkeypatch.setattr(checks, "CONTAINER", str(tmp_path / "none"))
    monkeypatch.setenv("HERMES_HOME", f"{tmp_path}/hermes")
    (tmp_path / "mountinfo").write_text(mountinfo)
    assert checks.home_after_boot() is None
    (tmp_path / "mountinfo").write_text(f"{mountinfo}28 27 0:30 / {tmp_path} rw - ecryptfs /private rw\n")
    found = checks.home_after_boot()
    assert found and found.severity == WARNING and f"{tmp_path}/hermes is on /private (ecryptfs)" in found.sentence
    (tmp_path / "mountinfo").unlink()
    assert checks.home_after_boot() is None


def test_an_account_without_inotify_instances_is_reported() -> None:
    """With the limit of open files at what is open, inotify_init1(2) fails as it does at max_user_instances."""
    assert checks.no_inotify() is None
    code = ("import resource; from hermes_oscron.service.surroundings import no_inotify; no_inotify(); "
            "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); print(no_inotify().sentence)")
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert told.startswith("This account has used up fs.inotify.max_user_instances, so a change of jobs.json by")


class Shows(Systemctl):
    """A manager that shows the same of every unit, and lists `failed` units."""

    def __init__(self, failed: Sequence[str] = (), **shown: str) -> None:
        super().__init__(user=False)
        self._failed, self._shown = failed, shown

    def properties(self, units: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, str]]:
        return dict.fromkeys(units, self._shown)

    def call(self, *arguments: str) -> str:
        return "".join(f"{unit} loaded failed failed Hermes job\n" for unit in self._failed)


@pytest.mark.parametrize(("state", "waits"), [("activating", True), ("active", False), ("inactive", False)])
def test_timers_that_wait_for_the_clock_are_a_problem(state: str, waits: bool) -> None:
    found = checks.waits_for_clock(Shows(ActiveState=state))
    assert bool(found) == waits
    assert not found or (found.severity == PROBLEM and "waits until the clock is synchronized" in found.sentence)


@pytest.mark.parametrize(("answer", "in_container", "wrong"), [(5, False, True), (5, True, False), (0, False, False)])
def test_a_clock_that_is_not_synchronized_is_a_warning(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int, in_container: bool, wrong: bool) -> None:
    monkeypatch.setattr(checks, "CONTAINER", str(tmp_path if in_container else tmp_path / "none"))
    monkeypatch.setattr(checks, "_clock_state", lambda: answer)
    found = checks.unsynchronized_clock()
    assert bool(found) == wrong and (not found or "is not synchronized" in found.sentence)


def test_the_state_of_the_clock_is_that_of_the_kernel() -> None:
    assert checks._clock_state() in range(6)


@pytest.mark.parametrize(("kind", "password", "account", "part"), [
    ("crontab", "never", "Jan 01, 2020", f"The account of {ME} has expired, so cron runs none of its jobs."),
    ("crontab", "Jan 01, 2020", "never", f"The password of {ME} has expired, so cron runs none of its jobs."),
    ("crontab", "password must be changed", "never", f"As root: passwd {ME}"),
    ("systemd", "never", "Jan 01, 2020", "so its user manager cannot start at the next boot. As root: chage -E -1"),
    ("crontab", "never", "never", ""), ("crontab", "Jan 01, 2199", "Jan 01, 2199", "")])
def test_an_expired_account_is_reported(kind: str, password: str, account: str, part: str) -> None:
    found = checks.expired_account(kind, CHAGE.format(password=password, account=account))
    assert (found is None) == (not part) and (not found or part in found.sentence)
    assert not found or found.severity == (PROBLEM if kind == "crontab" else WARNING)
    assert checks.expired_account(kind, "") is None


def test_chage_can_be_read_of_this_account() -> None:
    assert "Account expires" in checks.chage()


def test_a_folder_that_is_not_there_in_a_path_that_was_set_is_a_warning(home: Home, root: Path) -> None:
    assert checks.bad_path(home, load(str(root))) is None
    (root / "oscron.toml").write_text('[exec]\npath = "/usr/bin:/not/there:/bin"\n')
    found = checks.bad_path(home, load(str(root)))
    assert found and found.sentence == (f"default: the PATH of [exec] of {root}/oscron.toml has /not/there, which is "
                                        f"not there or closed to this account. Correct it there.")
    (root / ".env").write_text("PATH=/usr/bin:/bin\n")
    assert checks.bad_path(home, load(str(root))) is None


@pytest.mark.parametrize(("result", "status", "part"), [
    ("exit-code", "226", "systemd could not start its last run (226/NAMESPACE). This machine does not allow"),
    ("exit-code", "224", "(224/PAM). The account may be locked or expired"),
    ("exit-code", "1", ""), ("exit-code", "2", ""), ("signal", "9", ""), ("signal", "226", "")])
def test_a_job_that_systemd_could_not_start_is_reported_with_the_reason(result: str, status: str, part: str) -> None:
    found = start_failures(Shows(["hermes-job@work:ab.service"], Result=result, ExecMainStatus=status))
    assert [problem.subject for problem in found] == (["work:ab"] if part else [])
    assert not found or part in found[0].sentence
    assert start_failures(Shows()) == []
