"""Root's helper as systemd starts it: a process with the caller's socket as its standard input.

`systemctl` is a script that logs its arguments. The helper has a /run of its own.
"""

import json
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.privileged.account_jobs import MAX_JOBS
from hermes_oscron.privileged.protocol import MAX_REQUEST_BYTES, Request
from tests.conftest import needs_root, write_jobs
from tests.fuzz.records import record
from tests.privileged.harmless import assert_harmless

NOTHING: dict[str, Any] = {"armed": [], "disarmed": [], "problems": []}
OURSELVES = pwd.getpwuid(os.getuid()).pw_name
IN_PRIVATE_RUN = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && mkdir -p /run/systemd/system || exit 9\n'
                  'for unit in $TIMERS; do echo old >/run/systemd/system/$unit; done\n"$@"; status=$?\n'
                  'cp -r /run/systemd/system/. "$UNITS"; exit $status', "sh"]
SYSTEMCTL = """#!/bin/sh
echo "$*" >>{log}
case "$*" in *--type=timer*) for unit in $TIMERS; do echo "$unit loaded active waiting"; done;;
*list-units*) echo "$LISTED";; esac
"""


class Helper:
    """Starts root's helper for requests about the jobs of `root`."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._log, self.units = folder / "systemctl.log", folder / "units"
        self.units.mkdir()
        (folder / "bin").mkdir()
        (folder / "bin" / "systemctl").write_text(SYSTEMCTL.format(log=self._log))
        (folder / "bin" / "systemctl").chmod(0o755)
        self._environment = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "HERMES_HOME": str(root),
                             "HERMES_TIMEZONE": "UTC", "UNITS": str(self.units)}
        self.journal = ""

    def ask(self, request: Request, **arguments: Any) -> Any:
        return self.send(request.line(), **arguments)

    def send(self, line: bytes, account: str = OURSELVES, uid: int | None = None, private_run: bool = False,
             close: bool = True, **environment: str) -> Any:
        """Return the answer to `line`, which a process of the account `uid` sends to the helper of `account`."""
        if uid is not None:
            os.seteuid(uid)
        try:
            caller, helper = socket.socketpair()  # SO_PEERCRED has the account that made it (unix(7))
        finally:
            if uid is not None:
                os.seteuid(0)
        command = [*(IN_PRIVATE_RUN if private_run else []), sys.executable, "-m", "hermes_oscron.privileged", account]
        with caller:
            process = subprocess.Popen(command, stdin=helper, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       text=True, env={**self._environment, **environment})
            helper.close()
            try:
                caller.sendall(line)
                if close:
                    caller.shutdown(socket.SHUT_WR)
            except BrokenPipeError:
                pass  # the helper has read enough
            answer = b""
            try:
                while part := caller.recv(65536):
                    answer += part
            except ConnectionResetError:
                pass  # it closed the socket without having read all of the request
            self.journal = process.communicate(timeout=60)[0]
        assert process.returncode == 0, self.journal
        return json.loads(answer)

    def calls(self) -> list[str]:
        """Return what systemctl was called with, without the calls that only look."""
        logged = self._log.read_text().splitlines() if self._log.exists() else []
        calls = [line.removeprefix("--system --no-ask-password ") for line in logged]
        return [call for call in calls if not call.startswith("list-units")]


@pytest.fixture
def helper(tmp_path: Path, root: Path) -> Iterator[Helper]:
    write_jobs(root, record("one"), record("two"), record("off", state="paused", enabled=False))
    return Helper(tmp_path, root)


@pytest.mark.parametrize(("line", "reason"), [
    (b"", "Request is not valid JSON."), (b"{\n", "Request is not valid JSON."),
    (b'{"command": "restart"}\n', "expected a command"), (b'{"command": "arm"}\n', "'arm' needs instances"),
    (b'{"command": "start", "instances": ["../x:y"]}\n', "is not PROFILE:JOB_ID"),
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


def test_a_request_that_does_not_arrive_ends_after_ten_seconds(helper: Helper) -> None:
    assert "timed out" in helper.send(b'{"command"', close=False)["error"]


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


def test_an_error_of_systemd_is_the_answer(helper: Helper, tmp_path: Path) -> None:
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\necho 'Access denied' >&2; exit 4\n")
    assert helper.ask(Request("start", ["default:one"])) == {"error": "systemd refused: Access denied"}


@needs_root
def test_arm_writes_and_starts_timers_as_jobs_json_describes_them(helper: Helper) -> None:
    answer = helper.ask(Request("arm", ["default:one", "default:two"]), private_run=True)
    assert answer == {**NOTHING, "armed": ["default:one", "default:two"]}
    written = {path.name: path.read_text() for path in helper.units.iterdir()}
    assert sorted(written) == ["hermes-job@default:one.timer", "hermes-job@default:two.timer"]
    for unit, text in written.items():
        assert_harmless(unit, text)
    assert helper.calls() == ["start -- hermes-job@default:one.timer hermes-job@default:two.timer"]
    assert helper.journal == "<6>arm default:one, default:two: 2 armed.\n"


@needs_root
def test_arm_disarms_a_job_that_jobs_json_does_not_schedule(helper: Helper) -> None:
    timers = "hermes-job@default:off.timer hermes-job@default:gone.timer"
    answer = helper.ask(Request("arm", ["default:off", "default:gone"]), private_run=True, TIMERS=timers)
    assert answer["armed"] == [] == answer["problems"]
    assert "default:gone" in answer["disarmed"] and not (helper.units / "hermes-job@default:gone.timer").exists()
    assert not (helper.units / "hermes-job@default:off.timer").exists(), "a paused job does not fire"
    assert not any(call.startswith("reset-failed") for call in helper.calls()), "the failure of its last run is kept"


@needs_root
def test_the_jobs_of_a_profile_that_cannot_be_read_keep_their_timers(helper: Helper, root: Path) -> None:
    write_jobs(root / "profiles" / "work", record("theirs"))
    (root / "profiles" / "work" / "cron" / "jobs.json").write_text("{")
    answer = helper.ask(Request("arm", ["default:one", "work:theirs"]), private_run=True,
                        TIMERS="hermes-job@work:theirs.timer")
    assert answer["armed"] == ["default:one"] and answer["disarmed"] == []
    [[subject, sentence, _]] = answer["problems"]
    assert subject == "work:theirs" and "Root's helper cannot read the jobs of work" in sentence
    assert (helper.units / "hermes-job@work:theirs.timer").exists()


@needs_root
def test_jobs_are_read_with_the_rights_of_the_account(helper: Helper, root: Path) -> None:
    (root / "cron" / "jobs.json").chmod(0o600)
    answer = helper.ask(Request("arm", ["default:one"]), account="nobody", private_run=True)
    [[subject, sentence, _]] = answer["problems"]
    assert subject == "default:one" and "Permission denied" in sentence
    assert list(helper.units.iterdir()) == []


@needs_root
def test_more_jobs_than_the_limit_are_refused_and_nothing_is_changed(helper: Helper) -> None:
    answer = helper.ask(Request("arm", [f"default:j{n}" for n in range(MAX_JOBS + 1)]), private_run=True)
    assert f"more than {MAX_JOBS} jobs" in answer["error"]
    assert helper.calls() == [] and list(helper.units.iterdir()) == []


@needs_root
def test_existing_timers_count_towards_the_limit(helper: Helper) -> None:
    present = [f"default:j{n}" for n in range(2)]
    timers = " ".join(f"hermes-job@{each}.timer" for each in present)
    requested = [*present, *(f"default:k{n}" for n in range(MAX_JOBS - 1))]
    assert f"more than {MAX_JOBS}" in helper.ask(Request("arm", requested), private_run=True, TIMERS=timers)["error"]


@needs_root
def test_disarm_removes_the_named_timers_and_clears_their_failures(helper: Helper) -> None:
    timers = "hermes-job@default:one.timer hermes-job@default:two.timer"
    answer = helper.ask(Request("disarm", ["default:one"]), private_run=True, TIMERS=timers)
    assert answer == {**NOTHING, "disarmed": ["default:one"]}
    assert [path.name for path in helper.units.iterdir()] == ["hermes-job@default:two.timer"]
    assert helper.calls() == ["stop -- hermes-job@default:one.timer", "reset-failed -- hermes-job@default:one.service"]


@needs_root
def test_disarm_without_names_removes_the_timers_of_jobs_and_no_other(helper: Helper) -> None:
    timers = "hermes-job@default:one.timer hermes-job@work:two.timer another.timer"
    assert helper.ask(Request("disarm"), private_run=True, TIMERS=timers) == NOTHING
    assert [path.name for path in helper.units.iterdir()] == ["another.timer"]
    assert helper.journal == "<6>disarm all: done.\n"


@needs_root
def test_watch_watches_the_profiles_that_it_finds(helper: Helper, root: Path) -> None:
    (root / "profiles" / "work").mkdir(parents=True)
    answer = helper.ask(Request("watch"), private_run=True,
                        LISTED="hermes-oscron-changed.path loaded active waiting x")
    assert answer == NOTHING and helper.calls() == ["start -- hermes-oscron-watch@work.path"]


@needs_root
def test_an_unexpected_error_is_an_answer_that_names_the_journal(helper: Helper) -> None:
    answer = helper.ask(Request("watch"), private_run=True, LISTED="hermes-oscron-changed.path")
    assert "Internal error" in answer["error"] and "journalctl" in answer["error"]
    assert "Traceback" in helper.journal
