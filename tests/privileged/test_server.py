"""Root's helper as systemd starts it: a process with a listening socket as its standard input.

`systemctl` is a script that logs its arguments. The helper has a /run of its own. It ends after a moment without a
request.
"""

import contextlib
import datetime
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.privileged import server
from hermes_oscron.privileged.protocol import MAX_REQUEST_BYTES, Request, plan_item
from hermes_oscron.privileged.server import MAX_JOBS
from hermes_oscron.schedule.model import interval
from hermes_oscron.schedulers.protocol import Plan
from hermes_oscron.schedulers.systemd.unit_file import render
from tests.conftest import needs_root, wait_for
from tests.privileged.harmless import assert_harmless
from tests.schedulers.plans import daily_plan

NOTHING: dict[str, Any] = {"armed": [], "disarmed": [], "problems": []}
OURSELVES = pwd.getpwuid(os.getuid()).pw_name
IDLE_S = 2.0
IN_PRIVATE_RUN = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && mkdir -p /run/systemd/system || exit 9\n'
                  'for unit in $TIMERS; do echo old >/run/systemd/system/$unit; done\n"$@"; status=$?\n'
                  'cp -r /run/systemd/system/. "$UNITS"; exit $status', "sh"]
SYSTEMCTL = """#!/bin/sh
echo "$*" >>{log}
[ -z "$HANG" ] || exec sleep 100
case "$*" in *--type=timer*) for unit in $TIMERS; do echo "$unit loaded active waiting"; done;;
*list-units*) echo "$LISTED";; esac
"""
MAIN = "import sys; from hermes_oscron.privileged import server\n"


class Helper:
    """Starts root's helper."""

    def __init__(self, folder: Path) -> None:
        self._socket, self._log, self.units = folder / "socket", folder / "systemctl.log", folder / "units"
        self.units.mkdir()
        (folder / "bin").mkdir()
        (folder / "bin" / "systemctl").write_text(SYSTEMCTL.format(log=self._log))
        (folder / "bin" / "systemctl").chmod(0o755)
        self._environment = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "UNITS": str(self.units)}
        self.journal = ""

    @contextlib.contextmanager
    def started(self, account: str = OURSELVES, private_run: bool = False, idle_s: float = IDLE_S, request_s: int = 120,
                **environment: str) -> Iterator["subprocess.Popen[str]"]:
        """Run the helper of `account` until it ends by itself, after `idle_s` without a request."""
        code = f"{MAIN}server.IDLE_TIMEOUT_S, server.REQUEST_TIMEOUT_S = {idle_s}, {request_s}; sys.exit(server.main())"
        with socket.socket(socket.AF_UNIX) as listener:
            self._socket.unlink(missing_ok=True)
            listener.bind(str(self._socket))
            self._socket.chmod(0o666)
            listener.listen()
            command = [*(IN_PRIVATE_RUN if private_run else []), sys.executable, "-c", code, account]
            process = subprocess.Popen(command, stdin=listener, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       text=True, env={**self._environment, **environment})
            yield process
            self.journal = process.communicate(timeout=60)[0]
            assert process.returncode == 0, self.journal

    def connect(self, uid: int | None = None) -> socket.socket:
        """Return a connection of a process of the account `uid`."""
        caller = socket.socket(socket.AF_UNIX)
        caller.settimeout(60)
        if uid is not None:
            os.seteuid(uid)
        try:
            caller.connect(str(self._socket))
        finally:
            if uid is not None:
                os.seteuid(0)
        return caller

    def exchange(self, line: bytes, uid: int | None = None, close: bool = True) -> Any:
        """Return the answer of the helper, which runs, to `line`; None if it hung up."""
        answer = b""
        with self.connect(uid) as caller:
            with contextlib.suppress(BrokenPipeError):  # the helper has read enough
                caller.sendall(line)
                if close:
                    caller.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):  # it closed the socket before it had read the whole request
                while part := caller.recv(65536):
                    answer += part
        return json.loads(answer) if answer else None

    def send(self, line: bytes, uid: int | None = None, close: bool = True, **arguments: Any) -> Any:
        """Return the answer of a helper started with `arguments` to `line`."""
        with self.started(**{"idle_s": 0.3, **arguments}):
            return self.exchange(line, uid, close)

    def ask(self, request: Request, **arguments: Any) -> Any:
        return self.send(request.line(), **arguments)

    def calls(self) -> list[str]:
        """Return what systemctl was called with, without the calls that only look."""
        logged = self._log.read_text().splitlines() if self._log.exists() else []
        calls = [line.removeprefix("--system --no-ask-password ") for line in logged]
        return [call for call in calls if not call.startswith("list-units")]


def arm(*instances: str) -> Request:
    return Request("arm", [plan_item(daily_plan(instance)) for instance in instances])


@pytest.fixture
def helper(nobodys_root: Path) -> Helper:
    return Helper(nobodys_root)


@pytest.mark.parametrize(("line", "reason"), [
    (b"", "Request is not valid JSON."), (b"{\n", "Request is not valid JSON."),
    (b'{"command": "restart", "items": []}\n', "expected a command"),
    (b'{"command": "arm", "instances": ["a:b"]}\n', "perhaps of another version"),
    (b'{"command": "start", "items": ["../x:y"]}\n', "is not PROFILE:JOB_ID"),
])
def test_a_malformed_request_is_refused_and_changes_nothing(helper: Helper, line: bytes, reason: str) -> None:
    answer = helper.send(line)
    assert set(answer) == {"error"} and reason in answer["error"]
    assert helper.journal.startswith("Refused: ") and helper.calls() == []


def test_a_request_needs_no_newline_if_the_stream_ends(helper: Helper) -> None:
    assert helper.send(Request("start", ["default:one"]).line().strip()) == NOTHING


def test_a_request_is_answered_at_its_newline(helper: Helper) -> None:
    assert helper.send(Request("start", ["default:one"]).line(), close=False) == NOTHING


def test_what_follows_the_first_line_is_ignored(helper: Helper) -> None:
    more = Request("start", ["default:two"]).line()
    assert helper.send(Request("start", ["default:one"]).line() + more) == NOTHING
    assert helper.calls() == ["start --no-block -- hermes-job@default:one.service"]


def test_a_request_that_is_too_long_is_refused(helper: Helper) -> None:
    answer = helper.send(b"x" * (MAX_REQUEST_BYTES + 65536 * 4))
    assert answer == {"error": f"Request is longer than {MAX_REQUEST_BYTES} bytes."}


def test_a_caller_that_sends_nothing_or_never_ends_delays_others_for_a_moment_and_is_cut_off(helper: Helper) -> None:
    with helper.started(), helper.connect() as silent, helper.connect() as slow:
        slow.sendall(b'{"command"')
        begun = time.monotonic()
        assert helper.exchange(Request("start", ["default:one"]).line()) == NOTHING
        assert time.monotonic() - begun < 4 * server.TRANSFER_TIMEOUT_S
        assert silent.recv(9) == b"" == slow.recv(9)
    assert helper.journal == "<6>start default:one: done.\n"


def test_a_request_that_trickles_in_is_cut_off(helper: Helper) -> None:
    with helper.started(), helper.connect() as caller, pytest.raises(ConnectionError):
        for _ in range(400):
            caller.sendall(b" ")
            time.sleep(0.02)


def test_the_request_of_a_caller_that_has_left_is_not_carried_out(helper: Helper) -> None:
    """A client that has given up has undone its change; its timer must not be armed after that."""
    with helper.started(), helper.connect():  # the latter is silent, so that the others wait
        for _ in range(3):
            with helper.connect() as caller:
                caller.sendall(Request("start", ["default:one"]).line())
        assert helper.exchange(Request("start", ["default:two"]).line()) == NOTHING
    assert helper.calls() == ["start --no-block -- hermes-job@default:two.service"]


def test_the_helper_answers_until_it_was_idle_and_then_ends(helper: Helper) -> None:
    with helper.started() as process:
        for _ in range(4):
            assert helper.exchange(Request("start", ["default:one"]).line()) == NOTHING
            time.sleep(0.7)
        assert process.poll() is None
        wait_for(lambda: process.poll() == 0)


def test_the_module_is_what_systemd_starts(helper: Helper, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "other"))
        listener.listen()
        process = subprocess.Popen([sys.executable, "-m", "hermes_oscron.privileged", OURSELVES], stdin=listener)
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(tmp_path / "other"))
            caller.sendall(b"{}\n")
            assert b"Malformed request" in caller.recv(9999)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM


def test_a_request_that_hangs_in_systemctl_is_ended_and_the_next_one_answered(helper: Helper) -> None:
    with helper.started(request_s=1, HANG="1"):
        answer = helper.exchange(Request("start", ["default:one"]).line())
        assert answer == {"error": "systemd did not do this within 1 s."}
        assert "not valid JSON" in helper.exchange(b"{")["error"]


@needs_root
def test_another_account_is_refused(helper: Helper) -> None:
    stranger = pwd.getpwnam("nobody").pw_uid
    answer = helper.send(Request("start", ["default:one"]).line(), account="daemon", uid=stranger)
    assert answer == {"error": f"uid {stranger} is not allowed to use this socket."}
    assert helper.calls() == []


@needs_root
def test_the_account_itself_and_root_are_answered(helper: Helper) -> None:
    account = pwd.getpwnam("nobody")
    request = Request("start", ["default:one"]).line()
    assert helper.send(request, account="nobody", uid=account.pw_uid) == NOTHING
    assert helper.send(request, account="nobody") == NOTHING


def test_a_start_starts_only_the_services_of_the_jobs(helper: Helper) -> None:
    assert helper.ask(Request("start", ["default:one", "work:two"])) == NOTHING
    assert helper.calls() == ["start --no-block -- hermes-job@default:one.service",
                              "start --no-block -- hermes-job@work:two.service"]
    assert helper.journal == "<6>start default:one, work:two: done.\n"


def test_an_error_of_systemd_is_the_answer(helper: Helper, nobodys_root: Path) -> None:
    (nobodys_root / "bin" / "systemctl").write_text("#!/bin/sh\necho 'Access denied' >&2; exit 4\n")
    assert helper.ask(Request("start", ["default:one"])) == {"error": "systemd refused: Access denied"}


@needs_root
def test_arm_writes_and_starts_timers_as_the_plans_describe_them(helper: Helper) -> None:
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    tokyo = ZoneInfo("Asia/Tokyo")
    plans = [daily_plan("default:one"), Plan("default:two", interval(90), tokyo, now)]
    answer = helper.ask(Request("arm", [plan_item(plan) for plan in plans]), private_run=True)
    assert answer == {**NOTHING, "armed": ["default:one", "default:two"]}
    written = {path.name: path.read_text() for path in helper.units.iterdir()}
    assert written == {f"hermes-job@{plan.instance}.timer": render(plan, ZoneInfo("UTC"), now) for plan in plans}
    for unit, text in written.items():
        assert_harmless(unit, text)
    assert helper.calls() == ["start -- hermes-job@default:one.timer hermes-job@default:two.timer"]
    assert helper.journal == "<6>arm default:one, default:two: 2 armed.\n"


@needs_root
def test_a_plan_that_cannot_be_used_is_a_problem_and_leaves_its_timer_and_the_others(helper: Helper) -> None:
    items = [plan_item(daily_plan("default:one")), ["default:two", "cron", "61 * * * *", "UTC", None],
             ["default:three", "cron", "0 9 * * *", "../../etc/passwd", None], ["default:four"]]
    answer = helper.ask(Request("arm", items), private_run=True, TIMERS="hermes-job@default:two.timer")
    assert answer["armed"] == ["default:one"] and answer["disarmed"] == []
    assert {subject for subject, _, _ in answer["problems"]} == {"default:two", "default:three", "default:four"}
    assert sorted(path.name for path in helper.units.iterdir()) == ["hermes-job@default:one.timer",
                                                                    "hermes-job@default:two.timer"]
    assert (helper.units / "hermes-job@default:two.timer").read_text() == "old\n"


@needs_root
def test_existing_timers_count_towards_the_limit_and_can_still_be_changed(helper: Helper) -> None:
    arrange = f"cd /run/systemd/system; seq -f 'hermes-job@default:j%g.timer' {MAX_JOBS} | xargs touch"
    command = ["sh", "-c", f'{arrange}; exec "$@"', "sh"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.privileged.test_server.IN_PRIVATE_RUN", [*IN_PRIVATE_RUN, *command])
        answer = helper.ask(arm("default:new"), private_run=True)
        assert f"more than {MAX_JOBS} jobs" in answer["error"] and helper.calls() == []
        assert helper.ask(arm("default:j7"), private_run=True)["armed"] == ["default:j7"]


@needs_root
def test_disarm_and_delete_remove_the_named_timers_and_delete_clears_their_failures(helper: Helper) -> None:
    timers = "hermes-job@default:one.timer hermes-job@default:two.timer"
    answer = helper.ask(Request("disarm", ["default:one"]), private_run=True, TIMERS=timers)
    assert answer == {**NOTHING, "disarmed": ["default:one"]}
    assert [path.name for path in helper.units.iterdir()] == ["hermes-job@default:two.timer"]
    assert helper.calls() == ["stop -- hermes-job@default:one.timer"], "the failure of its last run is kept"
    assert helper.ask(Request("delete", ["default:one"]), private_run=True, TIMERS=timers) == answer
    assert helper.calls()[1:] == ["stop -- hermes-job@default:one.timer",
                                  "reset-failed -- hermes-job@default:one.service"]


@needs_root
def test_disarm_all_removes_the_timers_of_jobs_and_no_other(helper: Helper) -> None:
    timers = "hermes-job@default:one.timer hermes-job@work:two.timer another.timer"
    assert helper.ask(Request("disarm-all"), private_run=True, TIMERS=timers) == NOTHING
    assert [path.name for path in helper.units.iterdir()] == ["another.timer"]
    assert helper.journal == "<6>disarm-all all: done.\n"


@needs_root
def test_watch_watches_the_profiles_that_the_request_names(helper: Helper) -> None:
    listed = "hermes-oscron-changed.path loaded active waiting x"
    assert helper.ask(Request("watch", ["work"]), private_run=True, LISTED=listed) == NOTHING
    assert helper.calls() == ["start -- hermes-oscron-watch@work.path"]


@needs_root
def test_no_file_of_the_account_is_opened(helper: Helper, tmp_path: Path) -> None:
    """HERMES_HOME leads nowhere: all that a timer has comes from the request."""
    answer = helper.ask(arm("default:one"), private_run=True, HERMES_HOME="/proc/missing", HOME="/proc/missing")
    assert answer["armed"] == ["default:one"]


@needs_root
def test_an_unexpected_error_is_an_answer_that_names_the_journal_and_the_helper_goes_on(helper: Helper) -> None:
    with helper.started(private_run=True, LISTED="hermes-oscron-changed.path"):
        answer = helper.exchange(Request("watch", ["work"]).line())
        assert "Internal error" in answer["error"] and "journalctl -u hermes-oscron-root" in answer["error"]
        assert helper.exchange(Request("start", ["default:one"]).line()) == NOTHING
    assert "Traceback" in helper.journal
