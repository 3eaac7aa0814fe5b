"""An upgrade that cannot be started is undone."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hermes_oscron.install import environment, install, layout, rollback, settings, target, units
from hermes_oscron.install.settings import InstallError, Settings
from hermes_oscron.install.target import Target


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A change of the port, of a user's own installation that is there, where no systemd manager runs."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HERMES_HOME", str(tmp_path / "other"))
    places = layout.user({"XDG_RUNTIME_DIR": str(tmp_path)}, str(tmp_path))
    for name in ("env-1", "env-2"):
        program = Path(places.prefix, name, "bin", "hermes-oscron")
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho {name} $HERMES_HOME $* >>{tmp_path}/commands\n")
        program.chmod(0o755)
    environment.use(places, f"{places.prefix}/env-1")
    present = Settings(home=str(tmp_path / "hermes"), port=18791, scheduler="crontab", path="/usr/bin:/bin")
    settings.save(places, present)
    install.link_commands(places)
    return Target(places, replace(present, port=18792), None, present)


def state(of: Target) -> dict[str, bytes | str]:
    """Return the content of each file of the installation, and the target of each link."""
    folders = (of.layout.prefix, of.layout.commands, of.layout.units)
    paths = [path for folder in folders for path in Path(str(folder)).glob("*") if path.name != "lock"]
    return {str(path): os.readlink(path) if path.is_symlink() else path.read_bytes()
            for path in paths if path.is_symlink() or path.is_file()}


def test_files_and_links_are_put_back(wanted: Target) -> None:
    assert wanted.present
    units.write(units.rendered(wanted.layout, wanted.present))
    os.unlink(f"{wanted.layout.units}/hermes-oscron-sync.timer")
    before = state(wanted)
    kept = rollback.keep(wanted)
    environment.use(wanted.layout, f"{wanted.layout.prefix}/env-2")
    settings.save(wanted.layout, wanted.settings)
    units.write(units.rendered(wanted.layout, wanted.settings))
    os.unlink(f"{wanted.layout.commands}/hermes-oscron")
    assert state(wanted) != before
    rollback.put_back(kept)
    assert state(wanted) == before


def test_an_environment_that_does_not_work_is_not_put_back(wanted: Target) -> None:
    os.unlink(f"{wanted.layout.programs}/hermes-oscron")
    kept = rollback.keep(wanted)
    environment.use(wanted.layout, f"{wanted.layout.prefix}/env-2")
    rollback.put_back(kept)
    assert os.readlink(wanted.layout.current) == "env-2"


def test_a_change_that_fails_is_undone_and_reported(wanted: Target, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "refuse_bad_target", lambda _: None)  # root refuses a Hermes root in /tmp
    os.makedirs(wanted.settings.root)
    before = state(wanted)
    manual = Path(f"{wanted.layout.manuals}/man1/hermes-oscron.1")
    manual.unlink()
    manual.mkdir()
    with pytest.raises(InstallError, match=r"1: Is a directory.* units were put back and started\.$"):
        install.install(wanted, None, None)
    assert state(wanted) == before
    assert (tmp_path / "commands").read_text().endswith("env-1 sync --scheduler crontab\n")
