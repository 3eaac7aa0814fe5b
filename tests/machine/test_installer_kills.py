"""An upgrade that is killed at every step: the jobs still fire, the commands work, and one more run completes it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.machine.box import INSIDE, Box
from tests.machine.sites import Site, SystemSite, add_account, free_port
from tests.machine.test_installer import assert_well, change_environment
from tests.machine.test_upgrade import EARLIER_INSIDE, put_earlier

SHIM = """#!/bin/sh
# Kill the installer before its n-th call of systemctl; the file 'left' has n.
if [ -e /opt/shim/left ] && grep -qa install.main /proc/$PPID/cmdline; then
    left=$(($(cat /opt/shim/left) - 1))
    echo $left >/opt/shim/left
    if [ $left -le 0 ]; then
        rm /opt/shim/left
        kill -KILL $PPID
        exit 1
    fi
fi
exec /usr/bin/systemctl "$@"
"""
MAX_CALLS = 30
FIRST_KILL_S, LAST_KILL_S, KILL_STEP_S = 0.4, 20.0, 1.7


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with contextlib.closing(Box()) as box:
        box.boot()
        put_earlier(box)
        box.put("/opt/shim/systemctl", SHIM)
        # root's install.sh has a PATH of its own
        box.run("chmod 755 /opt/shim/systemctl; chmod 777 /opt/shim; ln -s /opt/shim/systemctl /usr/local/sbin")
        yield box


@pytest.mark.parametrize("account", ["hermes", "ada"])
def test_a_killed_upgrade_loses_nothing_and_the_next_one_completes(box: Box, account: str) -> None:
    if account != "hermes":
        add_account(box, account)
    site = (SystemSite if account == "hermes" else Site)(box, account, free_port())
    site.install(EARLIER_INSIDE)
    yearly = site.create(schedule="0 9 1 1 *")["id"]
    minutely = site.create(f"date +%s >>{site.home}/minutes", schedule="* * * * *")["id"]

    def assert_fires() -> None:
        assert site.armed(yearly) and site.armed(minutely)
        assert yearly in site.oscron("list")

    kills = 0
    for nth in range(1, MAX_CALLS):  # first of all upgrades, and then repairs
        box.run(f"echo {nth} >/opt/shim/left; chmod 666 /opt/shim/left")
        ended = site.administer(f"PATH=/opt/shim:$PATH {INSIDE}/install.sh", check=False)
        assert_fires()
        if ended.returncode == 0:
            break
        assert not box.run("ls /opt/shim/left", check=False).stdout, ended
        kills += 1
    assert kills > 5 and ended.returncode == 0, ended
    upgraded = int(time.time()) // 60
    box.run("rm -f /opt/shim/left")
    site.administer(f"{INSIDE}/install.sh")
    assert_well(site)

    seconds = FIRST_KILL_S
    while seconds < LAST_KILL_S and not ends_before(site, seconds):
        assert_fires()
        seconds += KILL_STEP_S
    assert seconds > FIRST_KILL_S + 2 * KILL_STEP_S
    site.administer(f"{INSIDE}/install.sh")
    assert_well(site)
    assert_fires()
    assert site.api.get("/health")

    time.sleep(60 - time.time() % 60 + 3)
    minutes = [int(line) // 60 for line in site.run(f"cat {site.home}/minutes").stdout.split()]
    last = int(time.time()) // 60
    assert set(minutes) == set(range(minutes[0], last + 1)), "each minute ran"
    # The earlier runner takes the start by a sync of a later version for a manual run, and runs what has run already.
    assert [minute for minute in minutes if minute > upgraded] == list(range(upgraded + 1, last + 1)), "none ran twice"


def ends_before(site: Site, seconds: float) -> bool:
    """Run install.sh, which builds an environment, kill it after `seconds`, and return True if it has ended before."""
    change_environment(site)
    box = site.box
    become = [] if isinstance(site, SystemSite) else ["setpriv", f"--reuid={site.user}", f"--regid={site.user}",
                                                      "--init-groups", "--reset-env"]
    process = subprocess.Popen([*box.entering(), *become, f"{INSIDE}/install.sh"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
