"""The command line of the installer."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_oscron.install import main as installer
from hermes_oscron.install.settings import VARIABLES

INSTALL = Path(__file__).parents[2] / "install.sh"


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([INSTALL, *arguments], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **environment}, stdin=subprocess.DEVNULL, check=False)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_names_every_option_and_variable(option: str) -> None:
    told = run(option)
    assert told.returncode == 0 and told.stderr == ""
    for name in ("--dry-run", "--uninstall", "--purge", "--try", "--offline DIR", "--account NAME", "--scheduler",
                 *VARIABLES, "PYTHON"):
        assert name in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [["--bogus"], ["--account"], ["--scheduler", "at"], ["--scheduler=at"],
                                       ["--try", "--uninstall"], ["extra"], ["--un"]])
def test_a_wrong_argument_is_refused_in_a_sentence(arguments: list[str]) -> None:
    refused = run(*arguments)
    assert refused.returncode == 2 and refused.stdout == ""
    assert re.fullmatch(r"install\.sh: [A-Z].*--help.*\.\n", refused.stderr)


def test_a_python_that_is_too_old_or_missing_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for python, reason in ((str(old), "is not a Python 3.11" if os.geteuid() else "can be changed by others than root"),
                           ("/bin/true", "is not a Python 3.11"), ("python9.9", "is not a Python 3.11")):
        refused = run("--help", PYTHON=python)
        assert refused.returncode == 1 and f"PYTHON={python} {reason}" in refused.stderr


def test_the_installer_imports_only_the_standard_library() -> None:
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import hermes_oscron.install.main as m; "
            "print(*sorted({n.partition('.')[0] for n in sys.modules} - sys.stdlib_module_names))")
    shown = subprocess.run([sys.executable, "-I", "-S", "-c", code, INSTALL.parent], capture_output=True, text=True,
                           check=True)
    assert set(shown.stdout.split()) <= {"__main__", "hermes_oscron"}


def test_an_installed_command_cannot_try_or_build(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        installer.main(["--try"], None, "hermes-oscron install")
    assert refused.value.code == 2
    assert re.fullmatch(r"hermes-oscron install: .*'hermes-oscron install --help'.*\n", capsys.readouterr().err)
