"""The account that the installer creates, and removes."""

import pwd
from pathlib import Path

import pytest

from hermes_oscron.install import install, layout, target
from hermes_oscron.install.processes import Account, missing_account
from hermes_oscron.install.settings import InstallError, Settings


def account(name: str, comment: str) -> Account:
    return Account(pwd.struct_passwd((name, "x", 990, 990, comment, target.NEW_FOLDER, "/usr/sbin/nologin")))


def test_an_account_of_the_administrator_was_not_created_by_the_installer() -> None:
    assert target.has_created(account("hermes", target.CREATED))
    for other in (account("hermes", ""), account("ada", target.CREATED), missing_account("hermes", target.NEW_FOLDER)):
        assert not target.has_created(other)


@pytest.mark.parametrize(("status", "reported"), [(12, r"was removed, but not its folder /var/lib/hermes: not owned"),
                                                  (8, r"cannot be removed: not owned"), (6, None), (0, None)])
def test_what_userdel_could_not_remove_is_reported(status: int, reported: str | None, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    userdel = tmp_path / "userdel"
    userdel.write_text(f"#!/bin/sh\necho not owned >&2; exit {status}\n")
    userdel.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if reported is None:
        target.remove_account(with_folder=True)
        return
    with pytest.raises(InstallError, match=reported):
        target.remove_account(with_folder=True)


def test_cron_is_refused_before_anything_changes_without_a_crontab_command(tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (home := tmp_path / "home").mkdir()
    wanted = target.Target(layout.user({}, str(home)), Settings(home=str(home), scheduler="crontab"), missing_account(
        "ada", str(home)), None)
    with pytest.raises(InstallError, match="There is no crontab command"):
        install.install(wanted, None, None)
    assert not list(home.iterdir())
