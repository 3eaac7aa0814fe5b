"""Root, who types a command of an installation whose jobs are an account's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import needs_root

BECOME = """
import os, sys, time
sys.prefix = sys.argv[1]
from hermes_oscron import account
os.environ["SECRET"] = "root's own"
account.become_account()
try:
    os.close(os.open("/dev/tty", os.O_RDWR))
    print("a terminal")
except OSError:
    print("no terminal")
print(os.getresuid(), os.getresgid(), os.getgroups())
print(sorted(os.environ), os.environ["HERMES_HOME"], flush=True)
if len(sys.argv) > 2:
    time.sleep(60)
sys.exit(3)
"""
NOBODY, NOGROUP = 65534, 65534


def installation(tmp_path: Path, account: str) -> Path:
    (tmp_path / "installation").write_text(f"HERMES_OSCRON_ACCOUNT={account}\nHERMES_HOME=/srv/hermes\n"
                                           "PATH=/usr/local/bin:/usr/bin:/bin\n")
    return tmp_path


@needs_root
def test_the_account_gets_no_terminal_group_or_variable_of_root(tmp_path: Path) -> None:
    (tmp_path / "become.py").write_text(BECOME)
    command = f"{sys.executable} {tmp_path}/become.py {installation(tmp_path, 'nobody')}"
    done = subprocess.run(["script", "--quiet", "--return", "--command", command, "/dev/null"], capture_output=True,
                          text=True, timeout=20, stdin=subprocess.DEVNULL, check=False,
                          env={"PATH": os.defpath, "LANG": "C", "PYTHONPATH": str(Path(__file__).parents[1])})
    assert done.returncode == 3
    terminal, ids, environment = done.stdout.splitlines()
    assert terminal == "no terminal"
    assert ids == f"({NOBODY}, {NOBODY}, {NOBODY}) ({NOGROUP}, {NOGROUP}, {NOGROUP}) [{NOGROUP}]"
    names = ["COLUMNS", "HERMES_HOME", "HERMES_OSCRON_ACCOUNT", "HOME", "LANG", "LOGNAME", "PATH", "USER"]
    assert environment == f"{names} /srv/hermes"


@needs_root
def test_ctrl_c_also_interrupts_the_part_that_runs_as_the_account(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", BECOME, installation(tmp_path, "nobody"), "wait"],
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM
    process.stdout.close()


@needs_root
def test_a_deleted_account_is_an_error(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BECOME, installation(tmp_path, "nemo")], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 1 and "'nemo', which does not exist" in done.stderr
