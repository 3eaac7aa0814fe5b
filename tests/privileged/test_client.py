"""The requests of an account to root's helper, over a real socket, and the use of the answers."""

import contextlib
import datetime
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.privileged import client
from hermes_oscron.privileged.client import PrivilegedSystemd, PrivilegedWatcher
from hermes_oscron.privileged.protocol import MAX_ITEMS, Request, parse_request, plan_item
from hermes_oscron.schedule.model import interval
from hermes_oscron.schedulers.protocol import Changes, Plan, Problem, Report, SchedulerError
from hermes_oscron.schedulers.systemd.path_watch import MAX_WATCHED_PROFILES
from hermes_oscron.schedulers.systemd.systemctl import Systemctl
from tests.schedulers.plans import daily_plan

NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
DONE = Report([], [], [])
Answer = Report | dict[str, str] | bytes


class Helper:
    """Stands for root's helper: a listener at `path` that notes each request, and answers each with the next answer."""

    def __init__(self, path: Path) -> None:
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            with caller, contextlib.suppress(OSError):
                line = b"".join(iter(lambda caller=caller: caller.recv(65536), b""))
                self.requests.append(parse_request(line.removesuffix(b"\n")))
                answer = self.answers.pop(0) if self.answers else DONE
                caller.sendall(answer if isinstance(answer, bytes) else
                               json.dumps(answer._asdict() if isinstance(answer, Report) else answer).encode() + b"\n")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path at which the helper's socket is expected."""
    monkeypatch.setattr(client, "SOCKET_PATH", str(tmp_path / "socket"))
    monkeypatch.setattr(client, "RETRY_INTERVAL_S", 0.001)
    return tmp_path / "socket"


@pytest.fixture
def helper(path: Path) -> Iterator[Helper]:
    helper = Helper(path)
    yield helper
    helper.close()


@pytest.fixture
def systemd() -> PrivilegedSystemd:
    return PrivilegedSystemd(Systemctl(user=False))


def arm(*instances: str) -> Changes:
    return Changes(arm={instance: daily_plan(instance) for instance in instances})


def request_to_arm(*instances: str) -> Request:
    return Request("arm", [plan_item(daily_plan(instance)) for instance in instances])


def test_a_request_to_arm_contains_the_plans(systemd: PrivilegedSystemd, helper: Helper) -> None:
    helper.answers = [Report(["a:b", "a:c"], [], [])]
    interval_plan = Plan("a:b", interval(90), ZoneInfo("Asia/Tokyo"), NOW)
    changes = Changes(arm={"a:c": daily_plan("a:c"), "a:b": interval_plan})
    assert systemd.apply(changes, NOW) == Report(["a:b", "a:c"], [], [])
    assert helper.requests == [Request("arm", [["a:b", "interval", "every 90m", "Asia/Tokyo", int(NOW.timestamp())],
                                               ["a:c", "cron", "0 9 * * *", "UTC", None]])]


def test_deleted_jobs_are_disarmed_before_others_are_armed(systemd: PrivilegedSystemd, helper: Helper) -> None:
    helper.answers = [Report([], ["a:d"], []), Report(["a:b"], [], [])]
    report = systemd.apply(arm("a:b")._replace(deleted=["a:d"], disarm=["a:d"]), NOW)
    assert report == Report(["a:b"], ["a:d"], [])
    assert helper.requests == [Request("delete", ["a:d"]), request_to_arm("a:b")]


def test_a_job_that_only_stops_firing_keeps_the_failure_of_its_last_run(systemd: PrivilegedSystemd,
                                                                        helper: Helper) -> None:
    """The request to delete would clear it: `systemctl --failed` would not show the failed last run of a job."""
    helper.answers = [Report([], ["a:e", "a:f"], []), Report(["a:b"], [], [])]
    paused = daily_plan("a:f")._replace(paused=True)
    changes = Changes(arm={"a:b": daily_plan("a:b"), "a:f": paused}, disarm=["a:e"])
    assert systemd.apply(changes, NOW) == Report(["a:b"], ["a:e", "a:f"], [])
    assert helper.requests == [Request("disarm", ["a:e", "a:f"]), request_to_arm("a:b")]


def test_a_timer_that_must_be_stopped_first_is_disarmed_and_then_armed(systemd: PrivilegedSystemd,
                                                                       helper: Helper) -> None:
    helper.answers = [Report([], ["a:b"], []), Report(["a:b"], [], [])]
    assert systemd.apply(arm("a:b")._replace(disarm=["a:b"]), NOW) == Report(["a:b"], [], [])
    assert helper.requests == [Request("disarm", ["a:b"]), request_to_arm("a:b")]


def test_many_jobs_are_armed_by_several_requests(systemd: PrivilegedSystemd, helper: Helper) -> None:
    instances = [f"a:{number:04}" for number in range(MAX_ITEMS + 1)]
    helper.answers = [Report(instances[:-1], [], []), Report([], [], [Problem(instances[-1], "no")])]
    report = systemd.apply(arm(*instances), NOW)
    assert report == Report(instances[:-1], [], [Problem(instances[-1], "no")])
    assert helper.requests == [request_to_arm(*instances[:-1]), request_to_arm(instances[-1])]


def test_without_changes_no_request_is_sent(systemd: PrivilegedSystemd, helper: Helper) -> None:
    assert systemd.apply(Changes(), NOW) == DONE
    assert helper.requests == []


def test_problems_arrive_with_their_job(systemd: PrivilegedSystemd, helper: Helper) -> None:
    problem = Problem("a:b", "it cannot be armed.", needs_edit=True)
    helper.answers = [Report(["a:c"], [], [problem])]
    assert systemd.apply(arm("a:b", "a:c"), NOW).problems == [problem]


def test_a_service_is_started_by_the_helper(systemd: PrivilegedSystemd, helper: Helper) -> None:
    systemd.start_service("a:b")
    assert helper.requests == [Request("start", ["a:b"])]


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file by which a manager shows that it runs: one for an account, since this machine may have none."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "private").touch()
    return tmp_path / "systemd" / "private"


@pytest.mark.usefixtures("manager")
def test_the_request_to_watch_names_the_profiles_that_get_a_watch(helper: Helper) -> None:
    PrivilegedWatcher(Systemctl(user=True)).watch(["default", "work", "home"])
    PrivilegedWatcher(Systemctl(user=True)).watch([f"p{number:03}" for number in range(100)])
    assert helper.requests == [Request("watch", ["home", "work"]),
                               Request("watch", [f"p{number:03}" for number in range(MAX_WATCHED_PROFILES)])]


@pytest.mark.usefixtures("manager")
def test_a_watch_that_failed_is_an_error(helper: Helper) -> None:
    helper.answers = [{"error": "no inotify instance is left."}]
    with pytest.raises(SchedulerError, match="no inotify instance is left"):
        PrivilegedWatcher(Systemctl(user=True)).watch(["default"])


@pytest.mark.usefixtures("path")
def test_without_systemd_nothing_is_watched_and_no_error_is_raised(manager: Path) -> None:
    """The jobs may be in the crontab: every sync would report a helper that cannot be there."""
    manager.unlink()
    PrivilegedWatcher(Systemctl(user=True)).watch(["default", "work"])


def test_all_timers_are_removed_by_the_helper_if_the_machine_has_systemd(systemd: PrivilegedSystemd,
                                                                         helper: Helper) -> None:
    systemd.remove_all()
    assert helper.requests == ([Request("disarm-all", [])] if systemd.availability().supported else [])


def test_a_refusal_is_an_error_with_its_reason(systemd: PrivilegedSystemd, helper: Helper) -> None:
    helper.answers = [{"error": "There are more than 10000 jobs to arm; nothing was changed."}]
    with pytest.raises(SchedulerError, match=r"^There are more than 10000 jobs to arm; nothing was changed\.$"):
        systemd.apply(arm("a:b"), NOW)


def test_a_refused_disarm_arms_nothing(systemd: PrivilegedSystemd, helper: Helper) -> None:
    helper.answers = [{"error": "no"}]
    with pytest.raises(SchedulerError):
        systemd.apply(arm("a:b")._replace(deleted=["a:c"]), NOW)
    assert [request.command for request in helper.requests] == ["delete"]


def test_a_request_on_which_the_helper_hangs_up_is_repeated(systemd: PrivilegedSystemd, helper: Helper) -> None:
    helper.answers = [b"", b"", DONE]
    systemd.start_service("a:b")
    assert helper.requests == [Request("start", ["a:b"])] * 3


def test_a_helper_that_always_hangs_up_is_an_error_that_names_its_journal(systemd: PrivilegedSystemd,
                                                                          helper: Helper) -> None:
    helper.answers = [b""] * (client.MAX_ATTEMPTS + 1)
    with pytest.raises(SchedulerError, match=r"hung up.*journalctl -u hermes-oscron-root'"):
        systemd.start_service("a:b")
    assert len(helper.requests) == client.MAX_ATTEMPTS


@pytest.mark.parametrize("answer", [b"x\n", b"\xff\n", b'{"armed": ["a:b"'])
def test_an_answer_that_is_cut_off_or_not_json_is_an_error(systemd: PrivilegedSystemd, helper: Helper,
                                                           answer: bytes) -> None:
    helper.answers = [answer]
    with pytest.raises(SchedulerError, match=r"Root's helper cannot be reached at .*/socket"):
        systemd.start_service("a:b")


def folder(path: Path) -> None:
    path.mkdir()


def dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize("made", [lambda path: None, folder, dead_socket], ids=["nothing", "a folder", "no listener"])
def test_a_missing_helper_is_an_error_with_the_command_that_starts_it(systemd: PrivilegedSystemd, path: Path,
                                                                      made: Callable[[Path], Any]) -> None:
    made(path)
    with pytest.raises(SchedulerError, match=r"systemctl restart hermes-oscron-root\.socket"):
        systemd.start_service("a:b")


def test_without_the_socket_nothing_can_be_armed(systemd: PrivilegedSystemd, path: Path) -> None:
    supported, reason = systemd.availability()
    assert supported == os.path.isdir("/run/systemd/system")
    assert reason and (not supported or f"{path} is missing" in reason)
