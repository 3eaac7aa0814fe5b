"""Root must not run a file that another account can change."""

import grp
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hermes_oscron.install import checks, layout, target
from hermes_oscron.install.ownership import changeable_by, is_roots
from hermes_oscron.install.processes import Account
from hermes_oscron.install.settings import InstallError, Settings

NOBODY = Account(pwd.getpwnam("nobody"))
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def source() -> Iterator[Path]:
    """A source in a folder that only root can change."""
    folder = Path(tempfile.mkdtemp(dir="/root"))
    (folder / "hermes_oscron" / "install").mkdir(parents=True)
    (folder / "hermes_oscron" / "install" / "main.py").write_text("")
    (folder / "install.sh").write_text("")
    yield folder
    shutil.rmtree(folder)


def install_from(source: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run the installer of this checkout with `source` as its source."""
    code = ("import sys; sys.path.insert(0, sys.argv[1]); from hermes_oscron.install.main import main; "
            "sys.exit(main(sys.argv[3:], sys.argv[2]))")
    return subprocess.run([sys.executable, "-I", "-c", code, Path(__file__).parents[2], source, *options],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)


def test_a_folder_of_a_group_without_members_is_roots(source: Path) -> None:
    """`/usr/local` belongs to the group `staff` on older Debian machines."""
    folder = source / "hermes_oscron"
    used = {entry.pw_gid for entry in pwd.getpwall()}
    empty = next(each.gr_gid for each in grp.getgrall() if not each.gr_mem and each.gr_gid not in used)
    folder.chmod(0o2775)
    os.chown(folder, 0, empty)
    assert is_roots(str(folder / "install"))
    os.chown(folder, 0, NOBODY.groups[0])
    assert not is_roots(str(folder / "install"))
    os.chown(folder, 0, 987654)  # no group that the machine knows
    assert not is_roots(str(folder / "install"))
    os.chown(folder, 0, empty)
    folder.chmod(0o777)
    assert not is_roots(str(folder / "install"))


def test_a_source_of_roots_is_accepted(source: Path) -> None:
    assert changeable_by(NOBODY, str(source)) is None


@pytest.mark.parametrize("name", ["", "install.sh", "hermes_oscron", "hermes_oscron/install",
                                  "hermes_oscron/install/main.py"])
@pytest.mark.parametrize("how", ["owner", "others", "group"])
def test_a_file_or_folder_that_the_account_can_change_is_named(source: Path, name: str, how: str) -> None:
    path = source / name
    if how == "owner":
        os.chown(path, NOBODY.uid, -1)
    elif how == "others":
        path.chmod(0o777)
    else:
        os.chown(path, -1, NOBODY.groups[0])
        path.chmod(0o775)
    assert changeable_by(NOBODY, str(source)) == str(path)


def test_a_link_counts_by_its_folder_and_the_cache_not_at_all(source: Path) -> None:
    (source / "hermes_oscron" / "link").symlink_to("/nowhere")
    cache = source / "hermes_oscron" / "__pycache__"
    cache.mkdir()
    cache.chmod(0o777)
    assert changeable_by(NOBODY, str(source)) is None


def test_only_a_path_of_roots_on_every_step_is_roots(source: Path, tmp_path: Path) -> None:
    assert is_roots(str(source / "install.sh")) and is_roots(str(source / "missing" / "too"))
    (source / "link").symlink_to("install.sh")
    (source / "out").symlink_to(tmp_path / "x")
    (source / "loop").symlink_to("loop")
    assert is_roots(str(source / "link")) and not is_roots(str(source / "loop"))
    os.chown(tmp_path, NOBODY.uid, -1)
    (tmp_path / "x").write_text("")
    assert not is_roots(str(source / "out")) and not is_roots(str(tmp_path / "x"))
    os.chown(source / "link", NOBODY.uid, -1, follow_symlinks=False)
    assert not is_roots(str(source / "link"))


@pytest.mark.parametrize("name", ["lib", "lib/env-1", "bin", "man/man1"])
def test_root_does_not_install_where_others_can_change_files(source: Path, name: str) -> None:
    for folder in ("lib/env-1", "bin", "man/man1"):
        (source / folder).mkdir(parents=True)
    (source / "lib" / "current").symlink_to("env-1")
    places = replace(layout.system(), prefix=str(source / "lib"), commands=str(source / "bin"),
                     manuals=str(source / "man"))
    checks.refuse_targets_of_others(places)
    (source / name).chmod(0o777)
    with pytest.raises(InstallError, match=f"can change {source / name}, "):
        checks.refuse_targets_of_others(places)
    (source / name).chmod(0o755)
    os.chown(source / name, NOBODY.uid, -1)
    with pytest.raises(InstallError, match=f"can change {source / name}, "):
        target.refuse_bad_target(target.Target(places, Settings(home="/root/.hermes"), NOBODY, None))


@pytest.mark.parametrize("name", ["", "hermes_oscron/install/main.py"])
@pytest.mark.parametrize("options", [["--try", "--account=nobody"], ["--try"],
                                     ["--account=nobody", "--scheduler=crontab"]])
def test_root_does_not_run_a_source_of_the_account(source: Path, options: list[str], name: str) -> None:
    os.chown(source / name, NOBODY.uid, -1)
    refused = install_from(source, *options)
    assert refused.returncode == 1
    assert f"nobody can change {source / name}, which root would run." in refused.stderr


@pytest.mark.parametrize("options", [["--try"], ["--try", "--account=nobody"]])
def test_root_does_not_install_wheels_of_the_account(source: Path, tmp_path: Path, options: list[str]) -> None:
    wheels = source / "wheels"
    wheels.mkdir()
    (tmp_path / "a.whl").write_text("")
    (wheels / "a.whl").symlink_to(tmp_path / "a.whl")
    (wheels / "gone.whl").symlink_to("nowhere")
    checks.refuse_wheels_of(NOBODY, str(wheels))
    os.chown(tmp_path / "a.whl", NOBODY.uid, -1)
    (source / "linked").symlink_to(wheels)
    refused = install_from(source, *options, f"--offline={source / 'linked'}")
    assert refused.returncode == 1
    assert f"nobody can change {tmp_path / 'a.whl'}, which root would install." in refused.stderr
