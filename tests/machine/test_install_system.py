"""install.sh by root, on a machine of its own: for whom it installs, what it refuses, and what it leaves behind."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.machine.box import INSIDE, Box
from tests.machine.sites import CrontabSite, SystemSite, add_account, free_port


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


@contextlib.contextmanager
def without_mount_namespaces(box: Box) -> Iterator[None]:
    """Make systemd fail to set up a mount namespace, as in an LXC container without nesting."""
    box.run("rm -rf /run/systemd/unit-root && touch /run/systemd/unit-root")
    try:
        yield
    finally:
        box.run("rm /run/systemd/unit-root")


def test_a_machine_that_does_not_allow_the_sandbox_is_refused_and_nothing_changes(box: Box) -> None:
    with without_mount_namespaces(box):
        for options in ("", "--dry-run", "--try", "--account bob"):
            refused = box.run(f"PORT={free_port()} {INSIDE}/install.sh {options}", check=False)
            assert refused.returncode == 1
            said = refused.stderr
            assert "226/NAMESPACE" in said and "In an LXC container allow nesting" in said
    left = "ls -d /usr/local/*/*hermes* /etc/systemd/system/*hermes* /var/lib/*hermes* /home/bob/.hermes"
    assert not box.run(left, check=False).stdout and box.run("id hermes", check=False).returncode == 1


def test_on_a_machine_that_does_not_allow_the_sandbox_cron_can_fire_the_jobs(box: Box) -> None:
    box.run("useradd --create-home cora")
    site = CrontabSite(box, "cora", free_port())
    with without_mount_namespaces(box):
        box.run(f"PORT={site.port} {INSIDE}/install.sh --account cora --scheduler crontab")
        assert b"hermes-oscron" in site.crontab() and site.doctor()[0] == 0, site.doctor()[1]
        box.run(f"{INSIDE}/install.sh --account cora --uninstall")


def test_a_missing_account_or_root_is_refused(box: Box) -> None:
    for name in ("nemo", "-u", "'a b'", "'$(id)'"):
        assert "no account" in refusal(box, f"--account={name}")
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


def test_needrestart_does_not_restart_jobs_and_nothing_of_it_is_left(bob: SystemSite) -> None:
    box, settings = bob.box, "/etc/needrestart/conf.d/hermes-oscron.conf"
    assert box.run(f"ls {settings}", check=False).returncode != 0
    box.run("apt-get install -y -q --no-install-recommends needrestart")
    bob.install()
    matching = ("our %nrconf; do q(/etc/needrestart/needrestart.conf); die $@ if $@; my $rc = shift; "
                "print map { $nrconf{override_rc}->{$_} } grep { $rc =~ /$_/ } keys %{$nrconf{override_rc}}")
    for unit, said in (("hermes-job@default:7a83e4a54a20.service", "0"), ("hermes-oscron.service", "")):
        assert box.run(f"perl -e '{matching}' {unit}").stdout == said
    bob.administer(f"{INSIDE}/install.sh --uninstall")
    assert box.run(f"ls {settings}", check=False).returncode != 0 and box.run("ls -d /etc/needrestart/conf.d")
    bob.install()


def test_labels_are_restored_before_the_new_units_start_and_a_failure_of_it_changes_nothing(bob: SystemSite) -> None:
    box, prefix = bob.box, "/usr/local/lib/hermes-oscron"
    box.put("/usr/local/sbin/restorecon", '#!/bin/sh\nprintf "%s\\n" "$@" >/run/relabelled\n'
            f'readlink {prefix}/current >/run/environment\n'
            'systemctl show -P ActiveEnterTimestampMonotonic hermes-oscron.socket >/run/started; exit 1\n')
    box.run("chmod 755 /usr/local/sbin/restorecon")
    try:
        bob.install()
        arguments = box.run("cat /run/relabelled").stdout.split()
        commands = ["/usr/local/bin/hermes-oscron", "/usr/local/bin/hermes-cron-exec"]
        assert arguments[:4] == ["-R", prefix, *commands]
        units = "/etc/systemd/system"
        assert {f"{units}/hermes-job@.service", f"{units}/hermes-oscron-root.service",
                f"{units}/hermes-job@.service.d/account.conf"} <= set(arguments[4:])
        assert not box.run(f"ls {' '.join(arguments[1:])} >/dev/null").stderr
        assert box.run("cat /run/environment").stdout == box.run(f"readlink {prefix}/current").stdout
        shown = bob.systemctl("show -P ActiveEnterTimestampMonotonic hermes-oscron.socket")
        assert int(box.run("cat /run/started").stdout) < int(shown)
        assert bob.doctor()[0] == 0
    finally:
        box.run("rm /usr/local/sbin/restorecon")


def test_a_restart_of_its_service_cuts_a_run_off_and_does_not_run_the_job_again(bob: SystemSite) -> None:
    for fields in ({"schedule": "every 1h"}, {"schedule": bob.soon(3)}):
        job_id = bob.create("echo begun; sleep 30", **fields)["id"]
        if "every" in fields["schedule"]:
            bob.verb("run", job_id)
        wait_for(lambda job_id=job_id: "begun" in bob.journal(job_id), 20)
        bob.systemctl(f"restart hermes-job@default:{job_id}.service")
        job = wait_for(lambda job_id=job_id: (job := bob.api.job(job_id))["last_status"] and job, 20)
        assert "stopped by SIGTERM" in job["last_error"] and job["repeat"]["completed"] == 1
        wait_for(lambda job_id=job_id: "Skipped: " in bob.journal(job_id))
        assert not bob.api.running() and len(bob.api.outputs(job_id)) == 1
        bob.verb("delete", job_id)  # doctor reports its last run


def test_a_server_that_cannot_start_in_its_sandbox_is_reported_with_the_reason(bob: SystemSite) -> None:
    bob.systemctl("stop hermes-oscron.service")
    with without_mount_namespaces(bob.box):
        bob.systemctl("start hermes-oscron.service", check=False)
        wait_for(lambda: bob.systemctl("is-failed hermes-oscron.service", check=False) == "failed\n")
        status, told = bob.doctor()
        assert status == 1 and "systemd could not start hermes-oscron.service (226/NAMESPACE)" in told
    bob.systemctl("start hermes-oscron.service")
    wait_for(lambda: bob.doctor()[0] == 0, 30)  # a sync that failed too is repeated after 10 s


def test_a_second_account_is_refused_and_the_first_is_the_default(bob: SystemSite) -> None:
    assert "those of 'bob'" in refusal(bob.box, "--account daemon")
    bob.options = ""
    bob.install()
    bob.options = "--account bob"
    assert bob.systemctl("show -P User hermes-oscron.service").split() == ["bob"]


def test_the_commands_run_by_root_work_on_the_account_s_jobs_as_that_account(bob: SystemSite) -> None:
    job_id = bob.create(schedule="0 9 * * *")["id"]
    for environment in ("", "HERMES_TIMEZONE=Asia/Tokyo "):
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
    for unit in ("hermes-oscron.service", "hermes-job@a:b.service"):
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
    for status in (0, 1):  # the second time, nothing is installed
        assert bob.box.run(f"{INSIDE}/install.sh --uninstall", check=False).returncode == status
        left = "ls -d /etc/systemd/system/*hermes* /run/*hermes* /run/systemd/system/*hermes* /usr/local/*/*hermes*"
        assert not bob.box.run(left, check=False).stdout
        wait_for(lambda: "hermes" not in bob.systemctl("list-units"))
    assert [job["id"] for job in bob.stored_jobs()][-1] == job_id
    bob.install()
    assert bob.armed(job_id), "what was there before is armed again"
