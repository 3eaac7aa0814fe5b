"""The checks before anything is changed."""

import subprocess

import pytest

from hermes_oscron.install import checks
from hermes_oscron.install.settings import InstallError


def test_a_systemd_older_than_the_tested_one_is_refused() -> None:
    with pytest.raises(InstallError, match="systemd 249 is too old: 252 is needed"):
        checks.refuse_old_systemd("systemd 249 (249.11-0ubuntu3.12)\n+PAM +AUDIT\n")
    checks.refuse_old_systemd("systemd 252 (252.39-1~deb12u2)\n")
    checks.refuse_old_systemd("systemd 257.4-1.fc42\n")


def test_the_systemd_of_this_machine_is_not_refused() -> None:
    checks.refuse_old_systemd(subprocess.run(["systemctl", "--version"], capture_output=True, text=True).stdout)
