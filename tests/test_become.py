"""Commands that root types and the account executes: no terminal, no descriptor, printable output, and an end."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hermes_oscron import become
from tests.conftest import needs_root, wait_for

pytestmark = needs_root
AS_NOBODY = ["/usr/bin/python3", "-I", become.__file__, "nobody"]
TYPE = """
import fcntl, os, termios
for fd in [*range(10), "/dev/tty"]:
    try:
        at = fd if isinstance(fd, int) else os.open(fd, os.O_RDWR)
        for c in b"typed\\n":
            fcntl.ioctl(at, termios.TIOCSTI, bytes([c]))
    except OSError:
        pass
"""


def run(*command: str, seconds: float = 20, **options: object) -> "subprocess.CompletedProcess[bytes]":
    arguments = [*AS_NOBODY, str(seconds), *command]
    return subprocess.run(arguments, capture_output=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_the_account_cannot_type_into_root_s_terminal(tmp_path: Path) -> None:
    (tmp_path / "roots.sh").write_text('exec 7<>/dev/tty; "$@"; read -t 1 line; echo "read: $line."')
    pid, terminal = pty.fork()
    if not pid:
        os.execv("/bin/bash", ["bash", f"{tmp_path}/roots.sh", *AS_NOBODY, "20", "/usr/bin/python3", "-c", TYPE])
    said = b""
    while True:
        try:
            said += os.read(terminal, 1000)
        except OSError:
            break
    os.waitpid(pid, 0)
    os.close(terminal)
    assert said.endswith(b"read: .\r\n"), said


def test_the_account_gets_no_descriptor_of_root_and_an_empty_input() -> None:
    with Path("/etc/shadow").open() as shadow:
        os.set_inheritable(shadow.fileno(), True)
        done = run("sh", "-c", "ls -l /proc/$$/fd; cat; id -u; id -G", input=b"root's own", close_fds=False)
    lines = done.stdout.decode().splitlines()
    assert [line.split()[-3:] for line in lines if " 0 -> " in line] == [["0", "->", "/dev/null"]]
    assert sum(" -> " in line for line in lines) == 3 and "shadow" not in done.stdout.decode()
    assert lines[-2:] == ["65534", "65534"]


def test_control_characters_of_the_account_do_not_reach_the_terminal() -> None:
    done = run("printf", r"\033]0;title\007 \233 ä\n\ttab\r\n\302\233")
    assert done.stdout.decode() == "?]0;title? \N{REPLACEMENT CHARACTER} ä\n\ttab?\n?"
    assert run("sh", "-c", r"printf '\033c' >&2").stderr == b"?c"


def test_the_exit_status_is_the_command_s() -> None:
    assert run("sh", "-c", "exit 7").returncode == 7
    assert run("sh", "-c", "kill -9 $$").returncode == 128 + 9
    missing = run("/nonexistent/command")
    assert missing.returncode == 1 and b"/nonexistent/command: No such file" in missing.stderr


@pytest.mark.parametrize("command", ["kill -STOP $$", "trap '' TERM; sleep 60 & kill -STOP $!; wait"])
def test_a_command_that_the_account_freezes_ends_on_a_signal(command: str) -> None:
    process = subprocess.Popen([*AS_NOBODY, "300", "sh", "-c", f"echo frozen; {command}"], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"frozen\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(become.GRACE_S + 10) == 128 + signal.SIGTERM
    process.stdout.close()


def test_a_command_that_exceeds_its_time_limit_is_ended() -> None:
    done = run("sh", "-c", "kill -STOP $$", seconds=0.5)
    assert done.returncode == become.TIMED_OUT and b"longer than" in done.stderr


def test_a_process_that_the_account_leaves_behind_does_not_keep_root_waiting() -> None:
    begun = time.monotonic()
    done = run("sh", "-c", "setsid sleep 20 & echo done")
    assert done.stdout == b"done\n" and time.monotonic() - begun < 10


def test_a_closed_pipe_of_root_is_not_an_error() -> None:
    piped = f"{' '.join(AS_NOBODY)} 20 yes | head -n 1"
    assert subprocess.run(["sh", "-c", piped], capture_output=True, timeout=20, check=True).stdout == b"y\n"


READ = """
import sys
sys.prefix = {prefix!r}
from hermes_oscron import account
account.become_account(reads_input=sys.argv[1] == "input", first_input=sys.argv[2].encode())
print(sys.stdin.read())
"""


@pytest.mark.parametrize(("arguments", "read"), [
    (["input", ""], "a prompt"), (["none", ""], ""), (["none", "a file"], "a file"),
    (["input", "a file, "], "a file, a prompt")])
def test_only_a_command_that_needs_input_gets_input(tmp_path: Path, arguments: list[str], read: str) -> None:
    (tmp_path / "installation.conf").write_text("ACCOUNT=nobody\nPATH=/usr/bin\n")
    source = READ.format(prefix=str(tmp_path / "env-1"))
    script = f"'{sys.executable}' -c \"$0\" \"$@\"; cat"
    done = subprocess.run(["sh", "-c", script, source, *arguments], input=b"a prompt", capture_output=True,
                          check=True, timeout=30, cwd=Path(__file__).parents[1])
    assert done.stdout.decode().splitlines()[0] == read
    assert done.stdout.decode().strip().removeprefix(read).strip() == ("" if "prompt" in read else "a prompt")


def test_a_signal_reaches_the_processes_of_the_account() -> None:
    process = subprocess.Popen([*AS_NOBODY, "300", "sh", "-c", "trap 'echo ended; exit 3' TERM; echo on; sleep 60"],
                               stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"on\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 3 and process.stdout.read() == b"ended\n"
    process.stdout.close()
    wait_for(lambda: not Path(f"/proc/{process.pid}").exists())
