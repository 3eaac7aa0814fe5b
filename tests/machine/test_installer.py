"""install.sh repairs, keeps its settings, installs offline and removes: by root for `hermes`, and by `ada` herself."""

import contextlib
import itertools
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.box import INSIDE, SOURCE, Box
from tests.machine.sites import CrontabSite, Site, SystemSite, add_account, free_port

WHEELS = "/opt/packages of the lock"
NO_INDEX = "PIP_INDEX_URL=http://127.0.0.1:9 PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= PIP_RETRIES=0"


def alternating(*values: Any) -> list[tuple[str, Any]]:
    """Return each of `values` with one of the accounts in turn, for what does not depend on the account."""
    return list(zip(itertools.cycle(("hermes", "ada")), values))


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with contextlib.closing(Box()) as box:
        box.boot()
        yield box


@pytest.fixture(scope="module")
def both(box: Box) -> dict[str, Site]:
    add_account(box, "ada")
    sites = {"hermes": SystemSite(box, "hermes", free_port()), "ada": Site(box, "ada", free_port())}
    for site in sites.values():
        site.install()
    return sites


@pytest.fixture(params=["hermes", "ada"])
def site(request: pytest.FixtureRequest, both: dict[str, Site]) -> Iterator[Site]:
    """Each installation in turn, which works before and after the test. Its jobs are deleted."""
    chosen = both[request.param]
    yield chosen
    try:
        assert_well(chosen)
    finally:
        chosen.clear()


@pytest.fixture(scope="module")
def cora(box: Box) -> CrontabSite:
    add_account(box, "cora")
    site = CrontabSite(box, "cora", free_port())
    site.install()
    return site


@pytest.fixture(scope="module")
def wheels(box: Box, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder in `box` of the packages of requirements.lock."""
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "-r",
                    SOURCE / "requirements.lock", "-d", folder], check=True)
    box.run(f"mkdir '{WHEELS}'")
    for wheel in folder.iterdir():
        box.put_bytes(f"{WHEELS}/{wheel.name}", wheel.read_bytes())
    return WHEELS


def assert_well(site: Site) -> None:
    """Assert that doctor finds no problem, and that one environment is there and nothing unfinished beside it."""
    assert site.doctor()[0] == 0, site.doctor()[1]
    left = site.administer(f"ls {site.prefix}").stdout.split()
    assert len(left) == 4 and {"current", "installation.conf", "lock"} < set(left), left


def again(site: Site, variables: str = "", options: str = "", check: bool = True) -> Any:
    """Run install.sh without the variables of the first installation."""
    return site.administer(f"{variables} {INSIDE}/install.sh {options}", check)


def change_environment(site: Site) -> None:
    """Change the environment in use, which works all the same, so that the next install.sh builds a new one."""
    site.administer(f"touch {site.prefix}/current/changed")


def state(box: Box) -> str:
    """Return the files of hermes-oscron on the machine, with their times, its units, and the accounts.

    Other tests put files into the /tmp of the machine below, which shines through. systemd-private-* and the folders in
    propagate are those of the services that run now, of which some end when they are idle.
    """
    return str(box.run(
        "find /etc /usr/local /var/lib /var/spool/cron /home /root /tmp /run /run/user/* -xdev "
        "'(' -name .cache -o -name __pycache__ -o -path '/tmp/pytest-of-*' -o -path '/tmp/oscron-box-*' "
        "-o -path '/tmp/systemd-private-*' ')' -prune -o "
        "'(' -path '*hermes*' -o -path '*oscron*' ')' ! -path '*/cron/*' ! -name 'hermes-job@*' "
        "! -path '*/invocation:*' ! -path '*/units/*' ! -path '/run/systemd/propagate/*' "
        "'(' -type f -printf '%p %s %T@\\n' -o -printf '%p %l\\n' ')' | sort; "
        "cat /etc/passwd; ls /var/lib/systemd/linger; systemctl list-unit-files '*hermes*'", check=False).stdout)


def remove_python(site: Site) -> None:
    """Make the links of the environment to Python dangle, as after an upgrade of the machine."""
    site.administer(f"cd {site.prefix}/current/bin; for each in python*; do case $(readlink $each) in "
                    "/*) ln -sfn /usr/bin/python3.99 $each ;; esac; done")
    assert site.run(f"{shlex.quote(site.bin)}/hermes-oscron list", check=False).returncode != 0


# Repairs


def test_a_fire_without_python_is_reported_and_the_job_runs_once_after_the_repair(site: Site) -> None:
    job_id = site.create("echo ran once", schedule=site.soon(6))["id"]
    unit = f"hermes-job@default:{job_id}.service"
    remove_python(site)
    wait_for(lambda: site.systemctl(f"is-failed {unit}", check=False).strip() == "failed", 20)
    said, told = site.journal_fields
    crit = wait_for(lambda: site.box.run(f"journalctl --no-pager -o cat -p 0..2 {said}={unit} + {told}={unit}").stdout)
    assert "./install.sh" in crit and "hermes-cron-exec" in crit
    [stored] = site.stored_jobs()
    assert stored["state"] == "scheduled" and not stored.get("last_run_at")
    again(site)
    wait_for(lambda: site.api.job(job_id)["state"] == "completed", 20)
    time.sleep(2)
    assert site.outputs(job_id).count("ran once") == 1
    assert site.api.job(job_id)["last_status"] == "ok"


def test_under_cron_a_fire_without_python_is_in_the_syslog_and_runs_once_after_the_repair(cora: CrontabSite) -> None:
    due = cora.soon(2)
    job_id = cora.create("echo ran once", schedule=due)["id"]
    remove_python(cora)
    entries = "journalctl --no-pager -o cat -p 0..2 -t hermes-cron-exec"
    crit = wait_for(lambda: cora.box.run(entries, check=False).stdout, 70)
    assert "./install.sh" in crit and cora.stored_jobs()[0]["state"] == "scheduled"
    again(cora)
    wait_for(lambda: cora.api.job(job_id)["state"] == "completed", 20)
    time.sleep(2)
    assert cora.outputs(job_id).count("ran once") == 1
    assert_well(cora)
    cora.clear()


def test_under_cron_a_run_with_a_damaged_environment_is_in_the_syslog(cora: CrontabSite) -> None:
    cora.box.run("journalctl --rotate --vacuum-time=1s --quiet")
    module = f"{cora.prefix}/current/lib/python3*/site-packages/hermes_oscron/runner/process.py"
    cora.create("echo ran", schedule=cora.soon(5))
    cora.run(f"rm {module}")
    entries = "journalctl --no-pager -o cat -p 0..2 -t hermes-cron-exec"
    assert "./install.sh" in wait_for(lambda: cora.box.run(entries, check=False).stdout, 70)
    again(cora)
    cora.clear()
    assert_well(cora)


@pytest.mark.parametrize(("site", "damage"), alternating(
    "rm hermes_oscron/runs/finish.py", "rm -r hermes_oscron/cli", "truncate -s 200 click/core.py", "rm -r yaml",
    "rm -rf ../../../../env-* || rm -r ../../../../env-*"), indirect=["site"])
def test_a_damaged_environment_is_replaced(site: Site, damage: str) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    before = site.stored_jobs()
    site.administer(f"cd {site.prefix}/current/lib/python3*/site-packages && {damage}")
    again(site)
    assert site.stored_jobs() == before and site.armed(job_id)


def test_a_lost_settings_file_is_restored_from_the_units(site: Site) -> None:
    conf = site.administer(f"cat {site.prefix}/installation.conf").stdout
    site.administer(f"rm {site.prefix}/installation.conf")
    again(site)
    assert site.administer(f"cat {site.prefix}/installation.conf").stdout == conf


@pytest.mark.parametrize("change", ["echo '# mine' >>", "rm -f", ": >"])
def test_hermes_oscron_install_restores_a_unit_that_doctor_names(site: Site, change: str) -> None:
    for name in ("hermes-job@.service", "hermes-oscron-sync.timer"):
        site.administer(f"{change} {site.settings_dir}/{name}")
        status, told = site.doctor()
        assert status == 1 and f"/{name} is not as the installer writes it" in told
        site.administer(f"{shlex.quote(site.bin)}/hermes-oscron install")
        assert site.doctor()[0] == 0


def test_the_manuals_are_installed(site: Site) -> None:
    folder = "/usr/local/share/man" if isinstance(site, SystemSite) else f"{site.home}/.local/share/man"
    assert site.run(f"ls {folder}/man1/hermes-oscron.1").stdout


# Settings


def test_settings_stay_until_they_are_changed(site: Site) -> None:
    socket = "/run/hermes-api" if isinstance(site, SystemSite) else f"{site.home}/api"
    again(site, f"SOCKET={socket} HERMES_TIMEZONE=Asia/Tokyo")
    try:
        again(site)
        assert site.run(f"curl -s --unix-socket {socket} http://localhost/health").stdout
        assert not site.box.run(f"ss -Hltn sport = :{site.port}").stdout
        environment = site.systemctl("show -P Environment hermes-oscron.service hermes-job@a:b.service")
        assert environment.count("HERMES_TIMEZONE=Asia/Tokyo") == 2
        again(site, "SOCKET=")
        assert site.api.get("/health") and not site.run(f"ls {socket}", check=False).stdout
        assert site.create(schedule="0 9 * * *")["next_run_at"].endswith("+09:00")
        again(site, f"SOCKET={socket}")
        again(site, f"PORT={site.port}")
        again(site)
        assert site.api.get("/health")
    finally:
        again(site, f"PORT={site.port} HERMES_TIMEZONE=UTC")


def test_settings_with_which_systemd_does_not_start_are_undone(site: Site) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    conf = f"cat {site.prefix}/installation.conf"
    kept = site.administer(conf).stdout
    refused = again(site, "SOCKET=/proc/api HERMES_TIMEZONE=Asia/Tokyo", check=False)
    assert refused.returncode == 1 and "cannot listen on /proc/api" in refused.stderr, refused
    assert "systemd refused 'start hermes-oscron.socket': Job " in refused.stderr
    assert "were put back and started" in refused.stderr
    assert site.administer(conf).stdout == kept and site.armed(job_id) and site.api.get("/health")


def test_another_home_is_used_after_a_move_and_refused_in_a_command(site: Site) -> None:
    here = site.create(schedule="0 9 * * *")["id"]
    elsewhere = f"{site.home}/elsewhere"
    refused = site.run(f"HERMES_HOME={elsewhere} {shlex.quote(site.bin)}/hermes-oscron list", check=False)
    assert refused.returncode == 1 and site.hermes in refused.stderr and "./install.sh" in refused.stderr
    assert not site.run(f"ls -d {elsewhere}", check=False).stdout
    again(site, f"HERMES_HOME={elsewhere}")
    again(site)
    assert f"{elsewhere}/" in site.run(f"ls {elsewhere}/cron/oscron/token").stdout and not site.armed(here)
    assert here not in site.oscron("list")
    again(site, f"HERMES_HOME={site.hermes}")
    assert site.armed(here)


def test_under_cron_the_lines_of_the_home_that_was_left_are_removed(cora: CrontabSite) -> None:
    job_id = cora.create(schedule="0 9 * * *")["id"]
    elsewhere = f"{cora.home}/elsewhere"
    again(cora, f"HERMES_HOME={elsewhere}")
    assert not cora.lines(job_id) and elsewhere.encode() in cora.crontab()
    assert f"{cora.hermes}/cron" not in cora.crontab().decode()
    again(cora, f"HERMES_HOME={cora.hermes}")
    assert cora.armed(job_id) and elsewhere.encode() not in cora.crontab()


# Packages


def test_an_offline_install_needs_no_network(site: Site, wheels: str) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    change_environment(site)
    again(site, NO_INDEX.replace("PIP_FIND_LINKS=", "PIP_FIND_LINKS=http://127.0.0.1:9"), f"--offline='{wheels}'")
    assert site.armed(job_id)


def test_an_intact_environment_is_not_built_again(site: Site) -> None:
    again(site)
    for change, is_kept in (("true", True), ("rm lib/python3*/site-packages/bottle.py", False)):
        before = site.administer(f"cd {site.prefix}/current && {change} && readlink -f .").stdout
        said = again(site, NO_INDEX if is_kept else "").stdout
        assert ("Building" not in said) == is_kept
        assert (site.administer(f"readlink -f {site.prefix}/current").stdout == before) == is_kept, change


@pytest.mark.parametrize("options", ["", "--offline /opt/nothing"])
def test_without_packages_one_sentence_is_printed_and_nothing_changes(site: Site, options: str) -> None:
    change_environment(site)
    before = state(site.box)
    refused = again(site, NO_INDEX, options, check=False)
    assert refused.returncode == 1 and refused.stderr.startswith("install.sh: "), refused
    assert ("pip download" if options else "--offline DIR") in refused.stderr and "Traceback" not in refused.stderr
    assert options or refused.stderr.count("\n") == 1
    assert state(site.box) == before


# Refusals


@pytest.mark.parametrize(("site", "command"), alternating(
    ("PORT=abc", ""), ("PORT=0", ""), ("PORT=65536", ""), ("PORT='8791 '", ""), ("SOCKET=api", ""),
    ("HERMES_TIMEZONE=Mars/Olympus", ""), ("PYTHON=/bin/true", ""), ("", "--port=1"), ("", "--scheduler=at"),
    ("", "--scheduler"), ("", "extra"), ("", "--uninstall --dry-run"), ("PORT=$(printf '87\\n91')", ""),
    ("HERMES_HOME=$(printf '/a\\nb')", "")), indirect=["site"])
def test_bad_input_is_refused_in_one_sentence_and_changes_nothing(site: Site, command: tuple[str, str]) -> None:
    before = state(site.box)
    refused = again(site, *command, check=False)
    assert refused.returncode in (1, 2) and refused.stderr.startswith("install.sh: "), refused
    assert refused.stderr.count("\n") == 1 and not refused.stdout, refused
    assert state(site.box) == before


def test_odd_surroundings_do_not_prevent_an_install(site: Site) -> None:
    site.box.run(f"ln -sfn {INSIDE}/install.sh /opt/setup; mount -o remount,noexec /tmp")
    try:
        for command in ("env -u HOME", "XDG_RUNTIME_DIR=/run/user/0 XDG_DATA_HOME=relative", "cd /tmp; umask 077;"):
            site.administer(f"{command} /opt/setup --scheduler=auto")
            assert site.api.get("/health")
    finally:
        site.box.run("mount -o remount,exec /tmp")
    for option in ("-h", "--help"):
        assert "--offline DIR" in again(site, "env -u HOME", option).stdout


def test_commands_ignore_the_runtime_folder_of_another_account(both: dict[str, Site]) -> None:
    site = both["ada"]
    for folder in ("/run/user/0", "/run", "/nowhere"):
        site.run(f"XDG_RUNTIME_DIR={folder} {site.bin}/hermes-oscron create '0 9 * * *' x")
        [job] = site.stored_jobs()
        assert site.armed(job["id"])
        site.run(f"XDG_RUNTIME_DIR={folder} {site.bin}/hermes-oscron delete {job['id']}")
    site.clear()
