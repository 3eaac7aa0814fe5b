"""The messages of systemctl reach the person who installs. With a real systemd: tests/machine/test_installer.py."""

import os
from pathlib import Path

import pytest

from hermes_oscron.install import layout
from hermes_oscron.install.manager import Manager
from hermes_oscron.install.settings import InstallError


@pytest.mark.parametrize(("prints", "reason"), [
    ("Job for a.service failed because a timeout was exceeded.", "Job for a.service failed because a timeout was "
                                                                 "exceeded."),
    ("Failed to restart\na.service: Access denied", "Failed to restart a.service: Access denied."),
    ("", "exit status 1."),
])
def test_a_refusal_has_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prints: str, reason: str) -> None:
    """systemctl(1) with --quiet does not print why a job failed, and this one does as it does."""
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f"""#!/bin/sh
case " $* " in *" --quiet "*) exit 1;; esac
printf %s '{prints}' >&2
exit 1
""")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InstallError) as refused:
        Manager(layout.user({"XDG_RUNTIME_DIR": str(tmp_path)}, str(tmp_path))).call("restart", "a.timer", "b.socket",
                                                                                    "a.service")
    assert str(refused.value) == f"systemd refused 'restart a.timer b.socket a.service': {reason}"
