"""install.sh by root, on a machine of its own: for whom it installs, what it refuses, and what it leaves behind."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.machine.box import INSIDE, Box
from tests.machine.sites import SystemSite, add_account


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with contextlib.closing(Box()) as box:
        box.boot()
        box.run("useradd --create-home bob")
        yield box


def refusal(box: Box, options: str) -> str:
    refused = box.run(f"{INSIDE}/install.sh {options}", check=False)
    assert refused.returncode == 1 and refused.stderr.startswith("install.sh: "), refused
    return str(refused.stderr)


def test_a_dry_run_creates_no_account(box: Box) -> None:
    assert "'hermes' would be created" in box.run(f"{INSIDE}/install.sh --dry-run").stdout
    assert box.run("id hermes", check=False).returncode == 1


def test_a_missing_account_or_root_is_refused(box: Box) -> None:
    for name in ("nemo", "-u", "'a b'", "'$(id)'"):
        assert "no account" in refusal(box, f"--account {name}")
    assert "ordinary account" in refusal(box, "--account root")
    assert not box.run("ls /etc/systemd/system | grep hermes", check=False).stdout


def test_an_installation_that_runs_jobs_as_root_must_be_uninstalled_first(box: Box) -> None:
    box.run("touch /etc/systemd/system/hermes-oscron.service")
    try:
        assert "--uninstall" in refusal(box, "") and box.run("id hermes", check=False).returncode == 1
    finally:
        box.run("rm /etc/systemd/system/hermes-oscron.service")


def test_the_named_account_has_the_jobs_and_the_api(bob: SystemSite) -> None:
    job = bob.create("id -un; echo $HOME", schedule=bob.soon())
    wait_for(lambda: bob.api.job(job["id"])["state"] == "completed")
    assert "bob\n/home/bob\n" in bob.outputs(job["id"])
    assert bob.systemctl("show -P User hermes-oscron.service hermes-oscron-sync.service hermes-job@a:b.service"
                         ).split() == ["bob"] * 3


def test_a_second_account_is_refused_and_the_first_is_the_default(bob: SystemSite) -> None:
    assert "those of 'bob'" in refusal(bob.box, "--account daemon")
    bob.options = ""
    bob.install()
    bob.options = "--account bob"
    assert bob.systemctl("show -P User hermes-oscron.service").split() == ["bob"]


def test_the_commands_run_by_root_work_on_the_account_s_jobs_as_that_account(bob: SystemSite) -> None:
    job_id = bob.create(schedule="0 9 * * *")["id"]
    for environment in ("", "HERMES_HOME=/root/elsewhere HERMES_TIMEZONE=Asia/Tokyo "):
        told = bob.box.run(f"{environment}hermes-oscron show {job_id}").stdout
        assert job_id in told and "+00:00" in told
    bob.box.run(f"hermes-oscron pause {job_id}")
    assert not bob.armed(job_id)
    assert bob.run("stat -c %U ~/.hermes/cron/jobs.json").stdout == "bob\n"
    bob.verb("delete", job_id)


def test_a_runner_started_by_root_runs_as_the_account(bob: SystemSite) -> None:
    job_id = bob.create("id -un", schedule="0 9 * * *")["id"]
    bob.box.run(f"HERMES_HOME=/home/bob/.hermes hermes-cron-exec default:{job_id} --trigger manual")
    assert "\nbob\n" in bob.outputs(job_id)
    assert bob.run("stat -c %U ~/.hermes/cron/jobs.json").stdout == "bob\n"
    bob.verb("delete", job_id)


def test_a_unit_without_its_drop_ins_still_runs_as_the_account(bob: SystemSite) -> None:
    units = "hermes-job@.service hermes-oscron.service hermes-oscron-sync.service hermes-oscron-changed.service"
    bob.box.run(f"systemctl revert {units}")
    try:
        shown = bob.systemctl(f"show -P User {units.replace('@', '@a:b')}")
        assert shown.split() == ["bob"] * 4
    finally:
        bob.install()


def test_a_later_install_keeps_the_hermes_home_and_the_time_zone(bob: SystemSite) -> None:
    bob.box.run(f"PORT={bob.port} HERMES_HOME=/home/bob/elsewhere HERMES_TIMEZONE=Asia/Tokyo {INSIDE}/install.sh")
    bob.box.run(f"PORT={bob.port} {INSIDE}/install.sh")
    for unit in ("hermes-oscron.service", "hermes-job@a:b.service", "hermes-oscron-root@x.service"):
        environment = bob.systemctl(f"show -P Environment {unit}")
        assert "HERMES_HOME=/home/bob/elsewhere" in environment and "Asia/Tokyo" in environment
    assert "/home/bob/elsewhere" in bob.box.run(f"{INSIDE}/install.sh --uninstall").stdout
    bob.install()
    assert "elsewhere" not in bob.systemctl("show -P Environment hermes-oscron.service")


def test_a_socket_path_where_the_account_could_put_a_link_is_refused(bob: SystemSite) -> None:
    bob.box.run("ln -sfn /home/bob /opt/link")
    for path in ("/home/bob/api", "/tmp/api", "/opt/link/api"):
        refused = bob.box.run(f"SOCKET={path} {INSIDE}/install.sh", check=False)
        assert refused.returncode == 1 and "others than root can change" in refused.stderr


def listing(box: Box, socket: str, user: str) -> str:
    """Return the HTTP status of a list that `user` requests on `socket` without a token; 000 if it cannot be opened."""
    return str(box.run(f"curl -s -o /dev/null -w '%{{http_code}}' --unix-socket {socket} http://localhost/api/crons",
                       user=user, check=False).stdout)


def test_only_the_account_can_use_a_unix_socket(bob: SystemSite) -> None:
    bob.box.run(f"SOCKET=/run/hermes-api {INSIDE}/install.sh --account bob")
    try:
        statuses = [listing(bob.box, "/run/hermes-api", user) for user in ("bob", "daemon", "root")]
        assert statuses == ["200", "000", "401"]
        assert not bob.box.run(f"ss -Hltn sport = :{bob.port}").stdout
    finally:
        bob.install()
    assert not bob.box.run("ls /run/hermes-api", check=False).stdout


def test_only_that_user_can_use_a_socket_in_the_folder_of_a_user(box: Box) -> None:
    add_account(box, "carol")
    box.run(f"SOCKET=$HOME/api {INSIDE}/install.sh", user="carol")
    try:
        statuses = [listing(box, "/home/carol/api", user) for user in ("carol", "bob", "root")]
        assert statuses == ["200", "000", "401"]
    finally:
        box.run(f"{INSIDE}/install.sh --uninstall", user="carol")


def test_uninstalling_leaves_only_the_jobs(bob: SystemSite) -> None:
    job_id = bob.create(schedule="0 9 * * *")["id"]
    for _ in range(2):
        bob.box.run(f"{INSIDE}/install.sh --uninstall")
        left = "ls -d /etc/systemd/system/*hermes* /run/*hermes* /run/systemd/system/*hermes* /usr/local/*/*hermes*"
        assert not bob.box.run(left, check=False).stdout
        wait_for(lambda: "hermes" not in bob.systemctl("list-units"))
    assert [job["id"] for job in bob.stored_jobs()][-1] == job_id
    bob.install()
    assert bob.armed(job_id), "what was there before is armed again"
