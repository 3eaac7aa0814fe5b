import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from hermes_oscron.install.report import say, warn
say("Building …"); warn("been …"); say("été"); warn("x")
open(sys.argv[1], "w").close()
"""


@pytest.mark.parametrize("output", ["pipe", "/dev/full", "closed"])
def test_an_installation_goes_on_without_its_output(tmp_path: Path, output: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with open("/dev/full", "w") as full:
        stream = theirs if output == "pipe" else full.fileno()
        shell = ["sh", "-c", f'exec "$@" {">&- 2>&-" if output == "closed" else ""}', "sh"]
        done = subprocess.run([*shell, sys.executable, "-c", PROGRAM, tmp_path / "done"], stdout=stream, stderr=stream,
                              timeout=20, check=False)
    os.close(theirs)
    assert done.returncode == 0 and (tmp_path / "done").exists()


def test_a_message_is_printed_in_any_locale(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path / "done"], capture_output=True, timeout=20,
                          check=True, env={**os.environ, "PYTHONIOENCODING": "latin-1:strict"})
    assert done.stdout.decode("latin-1") == "Building ?\nété\n"
    assert done.stderr == b"install.sh: been ?\ninstall.sh: x\n"
