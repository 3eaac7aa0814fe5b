"""The account attacks what root types: install.sh, `hermes-oscron`, `hermes-cron-exec`, on a machine with polkit."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.machine.box import INSIDE, Box
from tests.machine.sites import SystemSite, add_account, free_port

STEP = """
# Stop every other process of this account again and again, and rewrite what it was told to do.
import os, signal
SAID = {b"command -v python3": b"echo /b/python3   ", b"umask 077; mkdir": b"exec /b/python3 ",
        b"/usr/bin/python3.11\\0": b"/b/python3".ljust(20, b"\\0")}
open("/b/ready", "w").close()
while True:
    try:
        os.kill(-1, signal.SIGSTOP)
    except ProcessLookupError:
        continue
    for pid in [each for each in os.listdir("/proc") if each.isdecimal() and each != str(os.getpid())]:
        try:
            if os.stat(f"/proc/{pid}").st_uid != os.getuid():
                continue
            with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "r+b", 0) as memory:
                for line in maps:
                    if "[stack]" in line:
                        start, end = (int(each, 16) for each in line.split()[0].split("-"))
                        memory.seek(start)
                        content = memory.read(end - start)
                        for old, new in SAID.items():
                            at = content.find(old)
                            if at >= 0:
                                memory.seek(start + at)
                                memory.write(new)
                                open("/b/rewritten", "w").close()
        except OSError:
            pass
    try:
        os.kill(-1, signal.SIGCONT)
    except ProcessLookupError:
        pass
"""
FREEZE = """
import os, signal
open("/b/ready", "w").close()
while True:
    try:
        os.kill(-1, signal.SIGSTOP)
    except ProcessLookupError:
        pass
"""
FREEZE_TRIES = 20
SOURCES = "install.sh pyproject.toml README.md LICENSE requirements.lock units hermes_oscron docs"
PYTHON = '#!/bin/sh\nid -u >>/b/ran\nexec /usr/bin/python3 "$@"\n'


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with contextlib.closing(Box()) as box:
        box.boot()
        box.run("systemctl start polkit; useradd --create-home --shell /bin/bash bob; mkdir /b; chown bob /b")
        box.put("/b/python3", PYTHON, user="bob")
        box.run("chmod 755 /b/python3", user="bob")
        yield box


@contextlib.contextmanager
def attacking(box: Box, program: str) -> Iterator[None]:
    """Run `program` as bob, outside of any sandbox, during the block."""
    box.run("rm -f /b/ready /b/ran")
    box.put("/opt/attack.py", program)
    unit = f"attack{time.monotonic_ns()}"
    box.run(f"systemd-run --quiet --collect --unit={unit} --property=User=bob "
            "--property=Nice=-20 /usr/bin/python3 /opt/attack.py")
    wait_for(lambda: box.run("ls /b/ready", check=False).stdout)
    try:
        yield
    finally:
        box.run(f"systemctl kill --signal=KILL {unit}", check=False)


def inside(box: Box, command: str) -> list[str]:
    """Return the command that runs `command` as root in `box`."""
    return [*box.entering(), "bash", "-c", f"cd /root; {command}"]


def frozen(box: Box, command: str) -> "subprocess.Popen[bytes]":
    """Start `command` as root, again and again if it ends before an attacker has frozen it."""
    for _ in range(FREEZE_TRIES):
        process = subprocess.Popen(inside(box, f"exec {command}"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait_for(lambda process=process: is_frozen(process.pid) or process.poll() is not None, 60)
        if process.poll() is None:
            return process
        process.communicate()
    raise AssertionError(f"{command} ended {FREEZE_TRIES} times before it was frozen")


def is_frozen(pid: int) -> bool:
    """Return True if a descendant of `pid` is stopped (proc_pid_stat(5))."""
    children = []
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in map(int, children):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "T" or is_frozen(child):
                return True
    return False


# Nothing that the account names


def test_root_runs_no_code_that_the_account_injects_into_its_processes(box: Box) -> None:
    with attacking(box, STEP):
        for _ in range(3):  # it is a race
            box.run(f"PORT={free_port()} timeout 200 {INSIDE}/install.sh --account bob", check=False)
    assert box.run("ls /b/rewritten").stdout, "the account's own processes can be rewritten"
    assert "0" not in box.run("cat /b/ran", check=False).stdout.split()


def test_a_python_that_the_account_can_change_is_not_run_by_an_upgrade(bob: SystemSite) -> None:
    programs = "/usr/local/lib/hermes-oscron/current/bin"
    bob.box.run(f"rm -f /b/ran; for each in {programs}/python*; do ln -sf /b/python3 $each; done")
    bob.install()
    assert "0" not in bob.box.run("cat /b/ran", check=False).stdout.split()
    assert not bob.box.run(f"readlink -f {programs}/python").stdout.startswith("/b/")


def test_a_source_that_the_account_can_change_is_not_installed(bob: SystemSite) -> None:
    bob.box.run(f"rm -rf /b/src; mkdir /b/src; cd {INSIDE}; cp -R {SOURCES} /b/src")
    for arguments in ("--account bob", "--account bob --dry-run", "--uninstall"):
        refused = bob.box.run(f"/b/src/install.sh {arguments}", check=False)
        assert refused.returncode == 1 and "bob can change /b, which root would run" in refused.stderr
    bob.box.run("rm -rf /opt/src; mv /b/src /opt/src; chown bob /opt/src/hermes_oscron/config.py")
    refused = bob.box.run("/opt/src/install.sh --account bob", check=False)
    assert "bob can change /opt/src/hermes_oscron/config.py" in refused.stderr
    bob.box.run("rm -rf /opt/src")


# No terminal


class Watch(threading.Thread):
    """Look for terminals, and descriptors of terminals, of every process of `user`."""

    def __init__(self, box: Box, user: str) -> None:
        super().__init__(daemon=True)
        self._proc = Path(f"/proc/{box.leader}/root/proc")
        self._uid = int(box.run(f"id -u {user}").stdout)
        self._over = threading.Event()
        self.seen = 0
        self.terminals: set[str] = set()

    def run(self) -> None:
        while not self._over.is_set():
            for process in self._proc.iterdir():
                with contextlib.suppress(OSError):
                    if process.name.isdecimal() and self._is_theirs(process):
                        self._look_at(process)

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _is_theirs(self, process: Path) -> bool:
        uids = next(line for line in (process / "status").read_text().splitlines() if line.startswith("Uid:"))
        return str(self._uid) in uids.split()

    def _look_at(self, process: Path) -> None:
        told = (process / "stat").read_text()
        name, fields = told.rpartition(")")[0], told.rpartition(")")[2].split()
        links = [os.readlink(fd) for fd in (process / "fd").iterdir()]
        self.seen += 1
        self.terminals |= {f"{name}: {link}" for link in links if "/pts/" in link or "/tty" in link}
        if fields[4] != "0":
            self.terminals.add(f"{name}: terminal {fields[4]}")


@pytest.mark.parametrize(("user", "command"), [
    ("bob", f"{INSIDE}/install.sh --account bob --dry-run"), ("bob", "{install}"),
    ("nobody", f"{INSIDE}/install.sh --try"),
    ("bob", "hermes-oscron list"), ("bob", "hermes-oscron doctor"),
    # several, because one may end between two looks at /proc on a slow machine
    ("bob", "for i in $(seq 20); do hermes-cron-exec default:nothing; done"),
])
def test_no_process_of_the_account_has_root_s_terminal(bob: SystemSite, user: str, command: str) -> None:
    command = command.format(install=f"PORT={bob.port} {INSIDE}/install.sh --account bob")
    pid, terminal = pty.fork()
    if not pid:
        # The terminal of this machine is not among those of the box; the descriptors lead to it all the same.
        arguments = inside(bob.box, f"sleep 1; {command}; read -t 1 line; echo \"read: $line.\"")
        os.execvp(arguments[0], arguments)
    watch = Watch(bob.box, user)
    watch.start()
    said = b""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            said += part
    os.waitpid(pid, 0)
    os.close(terminal)
    watch.stop()
    assert watch.seen and not watch.terminals, said
    assert said.endswith(b"read: .\r\n"), said


@pytest.mark.parametrize("command", [
    "hermes-oscron list", "hermes-cron-exec default:nothing", f"{INSIDE}/install.sh --account bob --dry-run",
])
def test_a_command_that_the_account_freezes_ends_on_sigterm(bob: SystemSite, command: str) -> None:
    leftovers = "ls -d /tmp/hermes-oscron* /var/lib/hermes-oscron*"
    before = bob.box.run(leftovers, check=False).stdout
    with attacking(bob.box, FREEZE):
        process = frozen(bob.box, command)
        typed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()  # below nsenter(1)
        os.kill(int(typed), signal.SIGTERM)
        wait_for(lambda: process.poll() is not None, 25)
        assert process.returncode == 128 + signal.SIGTERM
        assert process.stdout
        process.stdout.close()
    assert bob.box.run(leftovers, check=False).stdout == before


# The source


def test_a_private_pycache_in_the_source_does_not_prevent_an_install(box: Box) -> None:
    add_account(box, "carol")
    box.run(f"mkdir /opt/private; cd {INSIDE}; cp -R {SOURCES} /opt/private; cd /opt/private; "
            "find . -name __pycache__ -prune -exec rm -r {} +; "
            "for each in hermes_oscron hermes_oscron/web; do mkdir -m 700 $each/__pycache__; done")
    assert "no jobs" in box.run("/opt/private/install.sh --dry-run", user="carol").stdout
    box.run("chmod -R go-rwx /opt/private")
    assert "last_status ok" in box.run("umask 077; /opt/private/install.sh --try").stdout


# Root's PATH


def test_the_path_of_root_is_in_no_unit_and_no_job(bob: SystemSite) -> None:
    exports = "export PATH=/root/secret-tools:$PATH;"
    bob.box.run(f"{exports} PORT={bob.port} {INSIDE}/install.sh --account bob")
    expected = "/home/bob/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    job_id = bob.create('echo "$PATH"', schedule="0 9 * * *")["id"]
    bob.verb("run", job_id)
    wait_for(lambda: expected in bob.outputs(job_id))
    time.sleep(1.1)  # outputs are named by the second
    bob.box.run(f"{exports} hermes-cron-exec default:{job_id} --trigger manual")
    assert bob.outputs(job_id).count(expected) == 2
    bob.box.run(f"{exports} hermes-oscron plugin install")
    command = json.loads(bob.run(f"cat {bob.hermes}/plugins/oscron/command.json").stdout)
    assert command["environment"]["PATH"] == expected.strip()
    bob.box.run(f"{exports} hermes-oscron plugin remove")
    assert not bob.box.run("grep -rl secret-tools /etc /usr/local /run/systemd /home/bob", check=False).stdout
    bob.clear()


# polkit


def test_no_job_gets_a_user_manager(bob: SystemSite) -> None:
    assert bob.box.run("systemctl is-active polkit").stdout == "active\n"
    script = """loginctl enable-linger "$(id -un)"; echo "linger $?"
sleep 2
export XDG_RUNTIME_DIR=/run/user/$(id -u)
systemd-run --user --wait --quiet touch ~/escaped; echo "run $?"
pkexec touch ~/escaped; echo "pkexec $?"
systemd-run --uid=$(id -u) touch ~/escaped; echo "system $?"
machinectl shell bob@.host /usr/bin/touch ~/escaped; echo "shell $?"
"""
    job_id = bob.create(script, schedule="0 9 * * *")["id"]
    bob.verb("run", job_id)
    wait_for(lambda: bob.api.job(job_id)["last_status"], 30)
    told = bob.outputs(job_id)
    for attempt in ("linger", "run", "pkexec", "system", "shell"):
        assert f"\n{attempt} " in told and f"\n{attempt} 0" not in told, told
    uid = bob.box.run("id -u bob").stdout.strip()
    assert not bob.box.run(f"ls /run/user/{uid} /var/lib/systemd/linger/bob /home/bob/escaped", check=False).stdout
    bob.clear()


def test_no_user_manager_is_started_for_an_account_without_logins(bob: SystemSite) -> None:
    box = bob.box
    box.run(f"{INSIDE}/install.sh --uninstall")
    rules = "/etc/polkit-1/rules.d/10-hermes-oscron.rules"
    assert not box.run(f"ls -d {rules} /etc/systemd/system/user@*", check=False).stdout
    site = SystemSite(box, "hermes", free_port())
    site.install()
    uid = box.run("id -u hermes").stdout.strip()
    try:
        assert "Access denied" in site.run("loginctl enable-linger hermes", check=False).stderr
        box.run("loginctl enable-linger hermes")
        time.sleep(2)
        assert box.run(f"systemctl is-active user@{uid}", check=False).stdout == "inactive\n"
        warned = box.run(f"PORT={site.port} {INSIDE}/install.sh")
        assert "loginctl disable-linger hermes" in warned.stderr
    finally:
        box.run(f"loginctl disable-linger hermes; {INSIDE}/install.sh --uninstall")
        assert not box.run(f"ls -d {rules} /etc/systemd/system/user@*", check=False).stdout
        bob.install()
