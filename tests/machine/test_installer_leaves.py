"""install.sh on a machine without hermes-oscron: a failed or ended install, --try, --uninstall and --purge."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.machine.box import INSIDE, Box
from tests.machine.sites import CrontabSite, Site, SystemSite, add_account, free_port
from tests.machine.test_installer import NO_INDEX, again, remove_python, state

INSTALL = f"{INSIDE}/install.sh"
USERS = ("root", "tess")


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with contextlib.closing(Box()) as box:
        box.boot()
        add_account(box, "uma")
        box.run("useradd --create-home --shell /bin/bash tess")
        yield box


def start(box: Box, command: str, user: str) -> "subprocess.Popen[str]":
    """Start `command` in `box` as from a terminal, in a process group of its own."""
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--reset-env"] if user != "root" else []
    return subprocess.Popen([*box.entering(), *become, "sh", "-c", f"cd; {command}"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                            env={**os.environ, "HOME": "/root", "LC_ALL": "C"})


def read_until(process: "subprocess.Popen[str]", awaited: str) -> None:
    """Read what `process` prints up to a line that starts with `awaited`."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith(awaited):
            break


def assert_nothing_left(box: Box, before: str) -> None:
    """Assert that the machine is as it was; user managers and services may need a moment to end."""
    with contextlib.suppress(AssertionError):
        wait_for(lambda: state(box) == before, 10)
    assert state(box).splitlines() == before.splitlines()


# A failed or ended install


@pytest.mark.parametrize("user", USERS)
def test_a_first_install_that_fails_changes_nothing(box: Box, user: str) -> None:
    before = state(box)
    for variables in (NO_INDEX, "PORT=abc", "HERMES_TIMEZONE=Mars/Olympus", "HERMES_HOME=/proc/hermes"):
        refused = box.run(f"PORT={free_port()} {variables} {INSTALL}", user=user, check=False)
        assert refused.returncode == 1 and refused.stderr.startswith("install.sh: "), refused
        assert "Traceback" not in refused.stderr
        assert_nothing_left(box, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("user", USERS)
def test_an_install_that_is_ended_while_it_builds_leaves_nothing(box: Box, user: str, number: int) -> None:
    before = state(box)
    for seconds in (0, 0.3, 1):  # a build takes two at least
        process = start(box, f"PORT={free_port()} exec {INSTALL}", user)
        read_until(process, "Building")
        time.sleep(seconds)
        os.killpg(process.pid, number)
        printed = process.communicate(timeout=60)[0]
        assert process.returncode and "Traceback" not in printed and "Listening" not in printed, printed
        assert_nothing_left(box, before)


@pytest.mark.parametrize("option", ["--try", "--dry-run"])
@pytest.mark.parametrize("user", [*USERS, "uma"])
def test_ctrl_c_during_a_try_or_a_dry_run_leaves_nothing(box: Box, user: str, option: str) -> None:
    before = state(box)
    for awaited in ("Building", "The API is on", "POST"):
        process = start(box, f"exec {INSTALL} {option}", user)
        read_until(process, awaited)
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.1)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)  # impatient
        printed = process.communicate(timeout=60)[0]
        assert "Traceback" not in printed, printed
        assert_nothing_left(box, before)
        if option == "--dry-run":
            break


@pytest.mark.parametrize("user", [*USERS, "uma"])
def test_a_try_shows_a_systemd_timer_and_leaves_nothing(box: Box, user: str) -> None:
    before = state(box)
    said = box.run(f"{INSTALL} --try", user=user).stdout
    assert "Hello from the first job" in said and "last_status ok" in said
    assert user == "tess" or "a systemd timer will fire" in said, "tess has no user manager"
    assert "Special user" not in box.run("journalctl --quiet").stdout, "systemd warns of the name `nobody` in a unit"
    assert_nothing_left(box, before)


# Removal


def sites(box: Box) -> list[Site]:
    """Return an installation of each kind, with an armed job."""
    every = [SystemSite(box, "hermes", free_port()), Site(box, "uma", free_port())]
    for site in every:
        site.install()
        site.create(schedule="0 9 * * *")
    return every


@pytest.mark.parametrize("damage", ["python", "module", "environment"])
def test_a_damaged_installation_can_be_removed(box: Box, damage: str) -> None:
    if "cora" not in box.run("cut -d: -f1 /etc/passwd").stdout:
        add_account(box, "cora")
    for site in (SystemSite(box, "hermes", free_port()), Site(box, "uma", free_port()),
                 CrontabSite(box, "cora", free_port())):
        if isinstance(site, CrontabSite):
            site.install_crontab(b"0 1 * * * true\n")
        site.install()
        job_id = site.create(schedule="0 9 * * *")["id"]
        assert site.armed(job_id)
        if damage == "python":
            remove_python(site)
        elif damage == "module":
            site.administer(f"rm {site.prefix}/current/lib/python3*/site-packages/hermes_oscron/cli/admin.py")
        else:
            # Services that run write bytecode into it.
            site.administer(f"until rm -rf {site.prefix}/env-*; do sleep 0.1; done")
        removed = again(site, options="--uninstall")
        assert "Traceback" not in removed.stderr + removed.stdout and "Removed hermes-oscron" in removed.stdout
        assert not site.armed(job_id)
        assert "hermes" not in site.systemctl("list-units --all 'hermes*'")
        assert not site.administer(f"ls {site.settings_dir} {site.unit_dir} {site.prefix} {site.bin} | grep -i hermes",
                                   check=False).stdout
        if isinstance(site, CrontabSite):
            assert site.crontab() == b"0 1 * * * true\n"
        again(site, options="--purge --yes")
    assert "hermes" not in box.run("cat /etc/passwd").stdout


def test_purge_refuses_without_an_answer_and_removes_data_and_account_with_one(box: Box) -> None:
    for site in sites(box):
        before = state(box)
        for answer in ("</dev/null", "<<<no"):
            command = f"bash -c '{INSTALL} --purge {answer}'"
            refused = site.administer(command, check=False)
            assert refused.returncode == 1 and "--yes" in refused.stderr, refused
        for typed, status in (("no", 1), ("", 1), ("yes", 0)):
            shown = site.administer(f"printf '{typed}\\n' | script --quiet --return --command '{INSTALL} --purge' "
                                    "/dev/null", check=False)
            assert shown.returncode == status and "Type yes" in shown.stdout, shown
            if status:
                assert state(box) == before and site.doctor()[0] == 0
        assert not site.administer(f"ls -d {site.hermes}/cron/jobs.json {site.hermes}/cron/oscron {site.prefix}",
                                   check=False).stdout
    assert "hermes" not in box.run("cat /etc/passwd").stdout
    assert not box.run("ls -d /var/lib/hermes", check=False).stdout
    for user in ("root", "uma"):
        refused = box.run(f"{INSTALL} --purge --yes", user=user, check=False)
        assert refused.returncode == 1 and "is not installed" in refused.stderr


def test_purge_removes_no_account_that_the_administrator_made(box: Box) -> None:
    box.run("useradd --system --user-group --home-dir /var/lib/hermes --create-home --shell /usr/sbin/nologin hermes")
    site = SystemSite(box, "hermes", free_port())
    site.install()
    site.create(schedule="0 9 * * *")
    assert "the account" not in again(site, options="--purge --yes").stdout
    assert box.run("id hermes").stdout and not box.run(f"ls -d {site.hermes}/cron/jobs.json", check=False).stdout
    box.run("userdel --remove hermes")


def test_purge_reports_a_folder_that_userdel_does_not_remove(box: Box) -> None:
    site = SystemSite(box, "hermes", free_port())
    site.install()
    box.run("chown root: /var/lib/hermes")
    refused = again(site, options="--purge --yes", check=False)
    assert refused.returncode == 1 and "was removed, but not its folder /var/lib/hermes" in refused.stderr
    box.run("rm -r /var/lib/hermes")


def test_purge_leaves_the_jobs_that_an_agent_has(box: Box) -> None:
    site = Site(box, "uma", free_port())
    site.install()
    site.create(schedule="0 9 * * *")
    site.put(f"{site.hermes}/config.yaml", "model: x\n")
    jobs = site.stored_jobs()
    site.run(f"{site.bin}/hermes-oscron uninstall --purge --yes")
    assert site.stored_jobs() == jobs and not site.run(f"ls -d {site.hermes}/cron/oscron", check=False).stdout
    site.run(f"rm -r {site.hermes}")


def test_an_installation_whose_account_was_removed_can_be_removed(box: Box) -> None:
    box.run("useradd --create-home gone")
    site = SystemSite(box, "gone", free_port())
    site.options = "--account gone"
    site.install()
    site.create(schedule="0 9 * * *")
    box.run("userdel --remove gone", check=False)
    assert "Removed hermes-oscron" in box.run(f"{INSTALL} --uninstall").stdout
    assert not box.run("ls -d /etc/systemd/system/*hermes* /run/systemd/system/*hermes* /usr/local/*/*hermes*",
                       check=False).stdout
