"""The places of an installation."""

import os
import pwd
from pathlib import Path

import pytest

from hermes_oscron import account
from hermes_oscron.install import install, layout, target, units


def test_xdg_variables_count_only_if_absolute() -> None:
    assert layout.user({"XDG_DATA_HOME": "data"}, "/home/a").prefix == "/home/a/.local/share/hermes-oscron"
    assert layout.user({"XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "/c"}, "/home/a").units == "/c/systemd/user"


def test_the_runtime_folder_of_another_account_is_not_used(tmp_path: Path) -> None:
    own = f"/run/user/{os.getuid()}"
    assert account.runtime_dir({"XDG_RUNTIME_DIR": str(tmp_path)}) == str(tmp_path)
    assert account.runtime_dir({}) == own and account.runtime_dir({"XDG_RUNTIME_DIR": str(tmp_path / "none")}) == own
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
        assert account.runtime_dir({"XDG_RUNTIME_DIR": str(tmp_path)}) == own


def test_without_a_home_the_folder_of_the_account_counts() -> None:
    folder = pwd.getpwuid(os.geteuid()).pw_dir
    assert target.own_folder({}) == target.own_folder({"HOME": ""}) == folder
    assert target.own_folder({"HOME": "/elsewhere"}) == "/elsewhere"


@pytest.mark.parametrize("permanent", [layout.system(), layout.user({}, "/home/a")])
def test_a_temporary_installation_has_runtime_units_and_no_commands(permanent: layout.Layout) -> None:
    made = layout.temporary(permanent, "/place")
    assert made.units == made.runtime_units == permanent.runtime_units and made.is_temporary
    assert made.prefix == "/place" and made.manager == permanent.manager


def test_a_manual_replaces_a_file_and_does_not_write_into_it(tmp_path: Path) -> None:
    places = layout.user({}, str(tmp_path))
    manual = Path(f"{places.manuals}/man1/hermes-oscron.1")
    manual.parent.mkdir(parents=True)
    (tmp_path / "precious").write_text("precious")
    manual.hardlink_to(tmp_path / "precious")
    install.link_commands(places)
    assert manual.read_bytes() == Path(f"{units.MANUALS}/{manual.name}").read_bytes()
    assert (tmp_path / "precious").read_text() == "precious"
