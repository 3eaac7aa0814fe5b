"""Root, who types a command of an installation whose jobs are an account's."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hermes_oscron.installation import use_installed_home
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
    """Return the folder of an environment that is installed for `account`."""
    (tmp_path / "installation.conf").write_text(f"ACCOUNT={account}\nHERMES_HOME=/srv/hermes\n"
                                                "PATH=/usr/local/bin:/usr/bin:/bin\n")
    return tmp_path / "env-1"


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
    names = ["COLUMNS", "HERMES_HOME", "HOME", "LANG", "LOGNAME", "PATH", "USER"]
    assert environment == f"{names} /srv/hermes"


@needs_root
def test_a_home_that_root_types_is_that_of_the_command(tmp_path: Path) -> None:
    for typed, used in (("/srv/hermes/profiles/work", "/srv/hermes/profiles/work"), ("", "/srv/hermes")):
        done = subprocess.run([sys.executable, "-c", BECOME, installation(tmp_path, "nobody")], capture_output=True,
                              text=True, timeout=20, check=False, stdin=subprocess.DEVNULL,
                              env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[1]),
                                   "HERMES_HOME": typed})
        assert done.stdout.splitlines()[-1].endswith(f"'] {used}"), done
        assert "COLUMNS" not in done.stdout, "in a pipe, nothing needs to be cut"


@needs_root
@pytest.mark.parametrize("home", ["", "/srv/own"])
def test_another_account_that_names_no_home_of_its_own_is_refused(home: str) -> None:
    call = "account.become_account()"
    by_another = BECOME.replace(call, f"os.setresuid(12345, 12345, 12345)\n{call}")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        done = subprocess.run([sys.executable, "-c", by_another, installation(Path(folder), "nobody")], timeout=20,
                              capture_output=True, text=True, check=False,
                              env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[1]),
                                   "HERMES_HOME": home})
    assert ("belong to the account 'nobody'. Type the command as root" in done.stderr) == (home == ""), done
    assert done.returncode == (3 if home else 1)


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


@needs_root
@pytest.mark.parametrize(("account", "reason"), [("nemo", "'nemo', which does not exist"),
                                                 ("nobody", "Root may not become nobody here")])
def test_a_runner_that_root_starts_and_that_cannot_become_the_account_reports_it(
        tmp_path: Path, account: str, reason: str) -> None:
    code = ("import sys; sys.prefix = sys.argv.pop(1)\nfrom hermes_oscron.runner.main import main\nsys.exit(main())")
    done = subprocess.run(["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", sys.executable, "-c", code,
                           installation(tmp_path, account), "default:a"], capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2) and reason in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("settings", "used"), [
    ("ACCOUNT=nobody\n", None), ("ACCOUNT=nobody\nHERMES_TIMEZONE=Asia/Tokyo\n", "Asia/Tokyo"),
    ("", "Europe/Rome"), ("HERMES_TIMEZONE=Asia/Tokyo\n", "Europe/Rome")])
def test_the_zone_of_a_terminal_does_not_count_in_a_system_installation(
    settings: str, used: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "installation.conf").write_text(f"HERMES_HOME={tmp_path}\n{settings}")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env-1"))
    monkeypatch.setenv("HERMES_HOME", str(tmp_path))
    monkeypatch.setenv("HERMES_TIMEZONE", "Europe/Rome")
    use_installed_home()
    assert os.environ.get("HERMES_TIMEZONE") == used
