"""The fingerprint of an environment, which each change of it and of its source changes."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_oscron.install.fingerprint import FILE, fingerprint, is_intact
from hermes_oscron.install.ownership import SOURCES

PYTHON = os.path.realpath(sys.executable)


@pytest.fixture
def source() -> Iterator[Path]:
    """A copy of the source from which the environment in `folder` was built, where only this account can change it."""
    checkout, place = Path(__file__).parents[2], Path(tempfile.mkdtemp(dir=Path.home()))
    (place / "source").mkdir()
    for name in SOURCES:
        if (checkout / name).is_dir():
            shutil.copytree(checkout / name, place / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(checkout / name, place / "source" / name)
    yield place / "source"
    shutil.rmtree(place)


@pytest.fixture
def folder(source: Path) -> Path:
    made = source.parent / "env-1"
    (made / "lib" / "__pycache__").mkdir(parents=True)
    (made / "lib" / "module.py").write_text("print('module')\n")
    (made / "lib" / "__pycache__" / f"module.{sys.implementation.cache_tag}.pyc").write_bytes(b"compiled")
    (made / "python").symlink_to(PYTHON)
    (made / FILE).write_text(fingerprint(str(made), str(source), PYTHON))
    return made


def test_an_environment_that_nothing_has_changed_is_intact(source: Path, folder: Path) -> None:
    assert is_intact(str(folder), str(source), PYTHON)
    (folder / "lib" / "__pycache__" / "module.cpython-399.pyc").write_bytes(b"compiled by the Python of an agent")
    (source / "hermes_oscron" / "__pycache__").mkdir()
    (source / "hermes_oscron" / "__pycache__" / "cli.pyc").write_bytes(b"")
    assert is_intact(str(folder), str(source), PYTHON)
    moved = source.rename(source.with_name("elsewhere"))
    assert is_intact(str(folder), str(moved), PYTHON)


@pytest.mark.parametrize("name", SOURCES)
def test_a_change_of_the_source_is_seen(source: Path, folder: Path, name: str) -> None:
    path = source / name
    if path.is_dir():
        (path / "new").write_text("")
    else:
        path.write_bytes(path.read_bytes() + b"\n")
    assert not is_intact(str(folder), str(source), PYTHON)


@pytest.mark.parametrize("change", [
    "rm lib/module.py", "echo >>lib/module.py", "touch -d 2020-01-01 lib/module.py", "chmod 777 lib/module.py",
    "truncate -s 3 lib/__pycache__/*.pyc", "ln -sfn /bin/true python", "rm python", "touch lib/new.py",
    "ln -s / link", "mkfifo pipe", f"rm {FILE}", f"echo >>{FILE}", f"printf '\\377' >{FILE}"])
def test_a_change_of_the_environment_is_seen(source: Path, folder: Path, change: str) -> None:
    assert os.system(f"cd {folder} && {change}") == 0
    assert not is_intact(str(folder), str(source), PYTHON)


def test_another_python_makes_another_environment(source: Path, folder: Path) -> None:
    other = source.parent / "python3"
    shutil.copy(PYTHON, other)
    assert not is_intact(str(folder), str(source), str(other))
    assert not is_intact(str(folder), str(source), str(other.with_name("missing")))


@pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")
def test_root_trusts_no_environment_that_others_can_change(source: Path, folder: Path) -> None:
    for path in (folder / "lib" / "module.py", folder / FILE, folder):
        os.chown(path, 1, 1)
        assert not is_intact(str(folder), str(source), PYTHON), path
        os.chown(path, 0, 0)
        assert is_intact(str(folder), str(source), PYTHON)
