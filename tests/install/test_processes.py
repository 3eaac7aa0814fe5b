"""Processes that the installer starts."""

import os
import pwd
import re
import signal
import subprocess
import time

import pytest

from hermes_oscron.install import processes
from hermes_oscron.install.processes import Account, run
from hermes_oscron.install.settings import InstallError
from tests.conftest import needs_root

ALL_ARGUMENTS = ["sh", "-c", "cat /proc/[0-9]*/cmdline; printenv PIP_INDEX_URL PATH HOME"]


@needs_root
def test_variables_for_the_account_are_in_no_argument() -> None:
    nobody = Account(pwd.getpwnam("nobody"))
    url = "https://ada:se%cret@pypi.example.org/simple"
    printed = nobody.run(ALL_ARGUMENTS, PIP_INDEX_URL=url).stdout
    assert printed.endswith(f"{url}\n{nobody.path}\n{nobody.folder}\n") and printed.count(url) == 1


def test_both_outputs_are_read_to_their_end() -> None:
    done = run(["sh", "-c", "printf 'a\\377b'; seq 100000 >&2; exit 3"])
    assert (done.returncode, done.stdout, len(done.stderr)) == (3, "a\ufffdb", 588895)


@pytest.mark.parametrize("redirection", ["", ">&2"])
def test_a_process_that_prints_without_end_is_ended(monkeypatch: pytest.MonkeyPatch, redirection: str) -> None:
    monkeypatch.setattr(processes, "MAX_OUTPUT_BYTES", 1 << 20)
    with pytest.raises(InstallError, match=r"printed more than 1 MiB, and was ended\."):
        run(["sh", "-c", f"yes {redirection}"], 5)


class Ended(BaseException):
    """Raised by the handler of a signal."""


@pytest.mark.parametrize("early", [True, False])
def test_a_signal_in_the_start_of_a_process_ends_it(monkeypatch: pytest.MonkeyPatch, early: bool) -> None:
    popen, begun = subprocess.Popen, []

    def interrupted(*arguments: object, **options: object) -> object:
        if early:
            os.kill(os.getpid(), signal.SIGTERM)
        begun.append(popen(*arguments, **options))  # type: ignore[call-overload]
        if not early:
            os.kill(os.getpid(), signal.SIGTERM)
        return begun[0]

    def handler(_number: int, _frame: object) -> None:
        raise Ended

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(Ended):
            run(["sleep", "60"])
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert begun[0].returncode == -signal.SIGTERM


@pytest.mark.parametrize("command", ["sleep 60", "while echo; do sleep 0.01; done", "exec >&- 2>&-; sleep 60"])
def test_a_process_that_takes_too_long_is_ended(command: str) -> None:
    begun = time.monotonic()
    with pytest.raises(InstallError, match=f"'sh -c {re.escape(command)}' did not end within 1 s"):
        run(["sh", "-c", command], 1)
    assert time.monotonic() - begun < 5
