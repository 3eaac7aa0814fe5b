"""A command in its process group: its input, its output and the report of its end."""

import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_oscron.runner.process import MAX_STREAM_BYTES, Command, JobProcess, ProcessResult, SpawnError
from tests.conftest import wait_for
from tests.runner.jobs import is_alive, pid_in

SECOND = 1.0
DEAF = "trap '' TERM; for i in {1..200}; do sleep 0.1; done"
"""Twenty seconds of a shell that does not end when it is asked to."""


@pytest.fixture(autouse=True)
def restored_signal_handlers() -> Iterator[None]:
    """JobProcess sets handlers for them, as in the runner; a test restores the old ones."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(*argv: str, stdin: bytes = b"", timeout: float = 30.0) -> ProcessResult:
    return JobProcess(Command(list(argv), stdin, "/", dict(os.environ))).wait(timeout)


def shell(script: str, stdin: bytes = b"", timeout: float = 30.0) -> ProcessResult:
    return run("bash", "-c", script, stdin=stdin, timeout=timeout)


def test_output_is_captured_and_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    assert shell("echo out; echo err >&2") == ProcessResult("out\n", "err\n", None, 0)
    assert capfd.readouterr() == ("out\n", "err\n")


def test_output_is_passed_on_as_it_is_written(tmp_path: Path) -> None:
    kept = os.dup(1)
    reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.mkfifo(tmp_path / "pipe")
    heard: list[bytes] = []

    def answer() -> None:
        heard.append(os.read(reading, 100))
        (tmp_path / "pipe").write_text("go on\n")

    listener = threading.Thread(target=answer)
    listener.start()
    try:
        outcome = shell(f"echo ready; read -t 10 line < {tmp_path}/pipe; echo $line")
    finally:
        os.dup2(kept, 1)
        for fd in (kept, reading, writing):
            os.close(fd)
        listener.join()
    assert heard == [b"ready\n"]
    assert outcome.stdout == "ready\ngo on\n"


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 400_000, 3_000_000])
def test_the_command_gets_its_whole_input(size: int) -> None:
    stdin = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    assert run("md5sum", stdin=stdin) == ProcessResult(f"{hashlib.md5(stdin).hexdigest()}  -\n", "", None, 0)


def test_the_command_may_write_while_it_reads() -> None:
    stdin = b"line\n" * 400_000
    assert run("cat", stdin=stdin).stdout == stdin.decode()


@pytest.mark.parametrize("script", ["true", "sleep 0.3; echo done >&2", "exec 0<&-; sleep 0.3", "head -c 5 >/dev/null"])
def test_the_command_need_not_read_its_input(script: str) -> None:
    assert shell(script, stdin=b"x" * 400_000).error is None


def test_an_exit_code_is_reported_with_the_last_line_of_standard_error() -> None:
    assert shell("exit 0").error is None
    assert shell("exit 7").error == "exited with code 7."
    assert shell("echo first >&2; echo 'the reason' >&2; echo >&2; exit 7").error == "exited with code 7: the reason"


@pytest.mark.parametrize(("number", "told"), [
    ("KILL", "killed by SIGKILL."), ("SEGV", "killed by SIGSEGV."), ("USR1", "killed by SIGUSR1."),
    ("TERM", "killed by SIGTERM."), ("40", "killed by signal 40."),
])
def test_death_by_a_signal_is_reported(number: str, told: str) -> None:
    assert shell(f"ulimit -c 0; kill -{number} $$").error == told


@pytest.mark.parametrize(("argv", "directory", "told"), [
    (["/no/such/program"], "/", "/no/such/program could not be started in /: No such file or directory."),
    (["/etc/passwd"], "/", "/etc/passwd could not be started in /: Permission denied."),
    (["true"], "/no/such/folder", "true could not be started in /no/such/folder: No such file or directory."),
    (["true", "a\0b"], "/", "true could not be started in /: embedded null byte."),
])
def test_a_command_that_cannot_be_started_is_reported(argv: list[str], directory: str, told: str) -> None:
    with pytest.raises(SpawnError) as refused:
        JobProcess(Command(argv, b"", directory, dict(os.environ)))
    assert str(refused.value) == told


def test_a_stop_while_the_worker_does_not_answer_starts_no_process(tmp_path: Path) -> None:
    class Waiting(JobProcess):
        def _elsewhere(self, command: Command) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SpawnError, match=r"^stopped by SIGTERM before it had begun\.$"):
        Waiting(Command(["touch", f"{tmp_path}/begun"], b"", "/", dict(os.environ)))
    assert not (tmp_path / "begun").exists()


def test_the_command_gets_only_the_given_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "1")
    outcome = JobProcess(Command(["/usr/bin/env"], b"", "/", {"ONE": "1", "TWO": "é"})).wait(SECOND)
    assert sorted(outcome.stdout.split()) == ["ONE=1", "TWO=é"]


def test_the_command_has_its_own_process_group_and_no_inherited_descriptors() -> None:
    inherited = os.open("/", os.O_RDONLY)
    program = "import os; print(os.getpid() == os.getpgid(0), sorted(os.listdir('/proc/self/fd'))[:4])"
    outcome = run(sys.executable, "-c", program)
    os.close(inherited)
    assert outcome.stdout == "True ['0', '1', '2', '3']\n"  # 3 is the listing itself


@pytest.mark.parametrize("stream", [1, 2])
def test_output_beyond_the_limit_is_cut_with_a_note(stream: int) -> None:
    outcome = shell(f"head -c {MAX_STREAM_BYTES + 1234} /dev/zero | tr '\\0' x >&{stream}; echo end >&{3 - stream}")
    kept, other = (outcome.stdout, outcome.stderr) if stream == 1 else (outcome.stderr, outcome.stdout)
    assert MAX_STREAM_BYTES == 5 * 1024 * 1024
    assert kept == "x" * MAX_STREAM_BYTES + "\n[cut here: 1234 bytes more than the 5 MiB that are kept]\n"
    assert other == "end\n"
    assert outcome.error is None


def test_output_up_to_the_limit_is_complete() -> None:
    assert shell(f"head -c {MAX_STREAM_BYTES} /dev/zero | tr '\\0' x").stdout == "x" * MAX_STREAM_BYTES


def test_both_output_streams_may_be_full_at_once() -> None:
    outcome = shell("head -c 2000000 /dev/zero >&2 & head -c 2000000 /dev/zero; wait")
    assert (len(outcome.stdout), len(outcome.stderr), outcome.error) == (2_000_000, 2_000_000, None)


def test_output_that_is_not_utf_8_is_decoded_with_replacement_characters() -> None:
    assert shell(r"printf 'a\xff\xfeb\xc3'").stdout == "a\ufffd\ufffdb\ufffd"


def test_a_command_that_closes_its_streams_is_waited_for() -> None:
    begun = time.monotonic()
    assert shell("exec >&- 2>&-; sleep 0.5").error is None
    assert time.monotonic() - begun >= 0.5


def test_background_processes_are_neither_waited_for_nor_ended(tmp_path: Path) -> None:
    begun = time.monotonic()
    outcome = shell(f"sleep 30 & echo $! > {tmp_path}/pid; echo done")
    left = pid_in(tmp_path / "pid")
    assert outcome == ProcessResult("done\n", "", None, 0)
    assert time.monotonic() - begun < 5
    assert is_alive(left)
    os.kill(left, signal.SIGKILL)


def test_the_whole_group_gets_sigterm_at_the_timeout(tmp_path: Path) -> None:
    outcome = shell(f"trap 'echo bye; exit 0' TERM; sleep 30 & echo $! > {tmp_path}/pid; wait", timeout=0.5)
    assert outcome == ProcessResult("bye\n", "", "timed out after 0.5 s.")
    wait_for(lambda: not is_alive(pid_in(tmp_path / "pid")))


def test_a_command_that_ignores_sigterm_is_killed_with_its_whole_group(tmp_path: Path) -> None:
    begun = time.monotonic()
    script = f"(echo $BASHPID > {tmp_path}/child; {DEAF}) & echo $$ > {tmp_path}/leader; {DEAF}"
    outcome = JobProcess(Command(["bash", "-c", script], b"", "/", dict(os.environ), stop_timeout=0.5)).wait(0.5)
    assert outcome.error == "timed out after 0.5 s."
    assert 1.0 <= time.monotonic() - begun < 5
    for name in ("leader", "child"):
        wait_for(lambda name=name: not is_alive(pid_in(tmp_path / name)))


@pytest.mark.parametrize("timeout", [3e6, 1e9 - 1])
def test_any_timeout_can_be_waited_for(timeout: float) -> None:
    assert shell("echo done", timeout=timeout) == ProcessResult("done\n", "", None, 0)


def test_a_child_that_ignores_sigterm_is_killed_after_its_leader_ends(tmp_path: Path) -> None:
    outcome = shell(f"(trap '' TERM; echo $BASHPID > {tmp_path}/child; {DEAF}) & wait", timeout=0.5)
    assert outcome.error == "timed out after 0.5 s."
    wait_for(lambda: not is_alive(pid_in(tmp_path / "child")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_of_the_runner_stops_the_command(tmp_path: Path, number: signal.Signals) -> None:
    def stop() -> None:
        pid_in(tmp_path / "pid")
        os.kill(os.getpid(), number)

    running = JobProcess(Command(["bash", "-c", f"echo begun; sleep 30 & echo $! > {tmp_path}/pid; wait"], b"", "/",
                              dict(os.environ)))
    stopper = threading.Thread(target=stop)
    stopper.start()
    outcome = running.wait(30)
    stopper.join()
    assert outcome == ProcessResult("begun\n", "", f"stopped by {number.name} before it had ended.")
    wait_for(lambda: not is_alive(pid_in(tmp_path / "pid")))


def test_a_signal_before_the_wait_begins_is_not_lost() -> None:
    running = JobProcess(Command(["sleep", "30"], b"", "/", dict(os.environ)))
    os.kill(os.getpid(), signal.SIGTERM)
    assert running.wait(30).error == "stopped by SIGTERM before it had ended."


def test_a_second_stop_signal_does_not_delay_the_end(tmp_path: Path) -> None:
    running = JobProcess(Command(["bash", "-c", f"trap '' TERM; echo $$ > {tmp_path}/pid; {DEAF}"], b"", "/",
                                 dict(os.environ), stop_timeout=1.0))
    pid_in(tmp_path / "pid")
    over = threading.Event()

    def send_sigterm_repeatedly() -> None:
        for _ in range(8):
            os.kill(os.getpid(), signal.SIGTERM)
            if over.wait(0.5):
                return

    asker = threading.Thread(target=send_sigterm_repeatedly)
    begun = time.monotonic()
    asker.start()
    outcome = running.wait(30)
    took = time.monotonic() - begun
    over.set()
    asker.join()
    assert outcome.error == "stopped by SIGTERM before it had ended."
    assert took < 2.5
