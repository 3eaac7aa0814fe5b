"""Removal: what is not installed, or could not be removed, is reported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_oscron.install import install, layout, uninstall
from hermes_oscron.install.settings import InstallError, Settings
from hermes_oscron.install.target import Target


@pytest.fixture
def present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A user's own installation, without an environment."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # no manager runs there
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    crontab = tmp_path / "crontab"
    crontab.write_text("#!/bin/sh\nexit 1\n")
    crontab.chmod(0o755)
    places = layout.user({"XDG_RUNTIME_DIR": str(tmp_path)}, str(tmp_path))
    Path(places.prefix).mkdir(parents=True)
    return Target(places, Settings(home=str(tmp_path / "hermes")), None, None)


def test_what_is_not_installed_is_not_removed(present: Target, capsys: pytest.CaptureFixture[str]) -> None:
    uninstall.uninstall(present)
    assert "Removed hermes-oscron; jobs, outputs, oscron.toml and the token stay in" in capsys.readouterr().out
    for remove in (lambda: uninstall.uninstall(present), lambda: uninstall.purge(present, confirmed=True)):
        with pytest.raises(InstallError, match=r"is not installed in .*; nothing was removed\."):
            remove()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("left", ["unit", "commands of cron"])
def test_the_rest_of_an_installation_whose_folder_is_gone_is_removed(present: Target, left: str) -> None:
    shutil.rmtree(present.layout.prefix)
    path = Path(present.layout.units, "hermes-job@.service") if left == "unit" else Path(
        present.settings.root, "cron", "oscron", "bin", "hermes-oscron")
    path.parent.mkdir(parents=True)
    path.write_text("")
    uninstall.uninstall(present)
    assert not path.exists()


@pytest.mark.parametrize("mine", [None, "man1", "bin", "user"])
def test_folders_of_the_account_are_removed_if_they_are_empty(present: Target, tmp_path: Path,
                                                              mine: str | None) -> None:
    install.link_commands(present.layout)
    folder = {"man1": f"{present.layout.manuals}/man1", "bin": present.layout.commands or "",
              "user": present.layout.units}.get(mine or "", "")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, "mine").touch()
    uninstall.uninstall(present)
    left = {str(path) for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()}
    assert left == {str(tmp_path / "crontab"), *({f"{folder}/mine"} if folder else ())}
    places = (present.layout.manuals, present.layout.commands, present.layout.units)
    assert [bool(place and Path(place).exists()) for place in places] == [mine == "man1", mine == "bin", mine == "user"]


def test_data_of_an_earlier_installation_can_be_purged(present: Target) -> None:
    token = Path(present.settings.root, "cron", "oscron", "token")
    token.parent.mkdir(parents=True)
    token.write_text("")
    uninstall.uninstall(present)
    assert token.exists()
    uninstall.purge(present, confirmed=True)
    assert not token.exists()


def test_a_folder_that_cannot_be_removed_is_reported(present: Target, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    os.rename(present.layout.prefix, tmp_path / "elsewhere")
    Path(present.layout.prefix).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InstallError, match=f"{present.layout.prefix} could not be removed"):
        uninstall.uninstall(present)
    assert "Removed" not in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_a_command_of_another_installation_changes_nothing(verb: str, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("hermes-oscron")
    refused = subprocess.run([program, verb], capture_output=True, text=True, check=False, timeout=60,
                             env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert refused.returncode == 1 and "but the installation of this account is in" in refused.stderr
    assert refused.stdout == "" and not list(tmp_path.iterdir())
