"""./install.sh --try on this machine, as a newcomer runs it, and what install.sh refuses."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.conftest import needs_root

INSTALL = Path(__file__).parents[1] / "install.sh"


def install(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([INSTALL, *arguments], capture_output=True, text=True, timeout=300,
                          env={**os.environ, **environment})


def test_try_shows_a_fired_job_and_leaves_nothing(tmp_path: Path) -> None:
    begun = time.monotonic()
    places = {"TMPDIR": tmp_path / "tmp", "HOME": tmp_path / "home"}
    for place in places.values():
        place.mkdir()
    tried = install("--try", **{name: str(place) for name, place in places.items()})
    assert tried.returncode == 0, tried.stderr
    assert re.search(r"## Response\n\nHello from the first job, at \d\d:\d\d:\d\d", tried.stdout)
    assert "state completed, last_status ok" in tried.stdout
    assert all(len(line) <= 80 for line in tried.stdout.splitlines() if str(tmp_path) not in line)
    assert time.monotonic() - begun < 120
    assert not list(places["TMPDIR"].iterdir())
    assert not [path for path in places["HOME"].rglob("*hermes*") if ".cache" not in path.parts]


def test_no_file_of_the_working_directory_is_run(tmp_path: Path) -> None:
    for module in ("ensurepip", "venv", "json", "functools", "socket"):
        (tmp_path / f"{module}.py").write_text(f"open({str(tmp_path / 'taken')!r}, 'w')\n")
    subprocess.run([INSTALL, "--dry-run"], cwd=tmp_path, capture_output=True, timeout=300, check=True,
                   env={**os.environ, "HERMES_HOME": "hermes"})
    assert not (tmp_path / "taken").exists()


@pytest.mark.parametrize("arguments", [("--bogus",), ("--account",), ("--account", "nobody-of-that-name")])
def test_a_failure_is_reported_in_one_sentence(arguments: tuple[str, ...]) -> None:
    refused = install(*arguments)
    assert refused.returncode in (1, 2) and refused.stderr.startswith("install.sh: ")


SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}


@needs_root
@pytest.mark.parametrize("shell", [name for name in SHELLS if shutil.which(name)])
def test_root_runs_only_a_python_that_others_cannot_change(shell: str) -> None:
    function = re.search(r"^is_roots\(\) \(.*?^\)$", INSTALL.read_text(), re.M | re.S)
    assert function

    def is_roots(path: Path | str) -> bool:
        return subprocess.run([*SHELLS[shell], "-euc", f'{function[0]}\nis_roots "$1"', shell, path],
                              check=False).returncode == 0

    with tempfile.TemporaryDirectory(dir="/opt") as place:  # in a folder of root's alone
        root = Path(place)
        root.chmod(0o755)
        for name in ("own", "writable", "other"):
            (root / name).mkdir()
            (root / name / "a python").touch()
        (root / "writable").chmod(0o775)
        os.chown(root / "other", 1, -1)
        links = {"good": "own/../own/a python", "absolute": root / "own" / "a python", "bad": "writable/a python",
                 "others": "other/../own/a python", "loop": "loop", "dangling": "nothing"}
        for name, target in links.items():
            (root / name).symlink_to(target)
        assert [name for name in links if is_roots(root / name)] == ["good", "absolute"]
        assert is_roots(root / "own" / ".." / "own" / "a python") and is_roots("/")
        assert not is_roots("own/a python") and not is_roots(root / "other" / "a python")
        os.chown(root / "good", 1, -1, follow_symlinks=False)
        assert not is_roots(root / "good"), "the link can be replaced"
