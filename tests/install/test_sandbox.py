"""The trial of the sandbox before anything is installed."""

from dataclasses import replace
from pathlib import Path

import pytest

from hermes_oscron.install import layout, sandbox
from hermes_oscron.install.settings import InstallError, Settings

SETTINGS = Settings("hermes", "/var/lib/hermes/.hermes")


@pytest.fixture
def places(tmp_path: Path) -> layout.Layout:
    return replace(layout.system(), units=str(tmp_path / "units"))


@pytest.fixture
def systemd_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemd-run that writes its arguments to `arguments` and exits with the number in `status`."""
    program = tmp_path / "systemd-run"
    program.write_text('#!/bin/sh\nd=${0%/*}; printf "%s\\n" "$@" >"$d/arguments"; read -r n <"$d/status"; exit "$n"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return program


@pytest.mark.parametrize(("status", "reason"), [(226, "226/NAMESPACE"), (228, "228/SECCOMP"), (0, ""), (1, ""),
                                                (203, "")])
def test_only_a_sandbox_that_cannot_be_made_is_refused(
        status: int, reason: str, places: layout.Layout, systemd_run: Path) -> None:
    (systemd_run.parent / "status").write_text(f"{status}\n")
    if reason:
        with pytest.raises(InstallError, match=reason) as refused:
            sandbox.refuse_machine_without(places, SETTINGS)
        assert str(refused.value).endswith(
            "In an LXC container allow nesting (Proxmox: pct set ID --features nesting=1), or fire the jobs by cron: "
            "./install.sh --account NAME --scheduler crontab")
    else:
        sandbox.refuse_machine_without(places, SETTINGS)
    tried = (systemd_run.parent / "arguments").read_text().splitlines()
    assert {"--property=ProtectSystem=full", "--property=CapabilityBoundingSet=", "--wait"} <= set(tried)
    assert tried[-1] == "/bin/true"


def test_without_systemd_run_the_sandbox_is_not_refused(
        places: layout.Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox.refuse_machine_without(places, SETTINGS)


def test_a_drop_in_of_the_administrator_changes_the_sandbox_that_is_tried(places: layout.Layout) -> None:
    ours = sandbox.properties(places, SETTINGS)
    folder = Path(places.units, "hermes-job@.service.d")
    folder.mkdir(parents=True)
    (folder / "account.conf").write_text("[Service]\nProtectClock=of an earlier version\n")
    (folder / "override.conf").write_text("[Unit]\nProtectClock=no\n[Service]\n#ProtectSystem=no\nProtectHome=yes\n"
                                          "PrivateDevices=no\nSystemCallFilter=@clock \\\n  @swap\n")
    assert sandbox.properties(places, SETTINGS) == [*ours, "PrivateDevices=no", "SystemCallFilter=@clock    @swap"]
