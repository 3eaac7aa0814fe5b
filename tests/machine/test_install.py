"""install.sh on a machine: once, twice, for another account, and its --uninstall."""

import json

import pytest

from tests.conftest import wait_for
from tests.machine.box import INSIDE, Box
from tests.machine.sites import Site, free_port

ALL_UNITS = ("hermes-job@.service", "hermes-oscron.socket", "hermes-oscron.service", "hermes-oscron-sync.service",
             "hermes-oscron-sync.timer")


def test_a_second_install_changes_nothing(site: Site) -> None:
    job = site.create(schedule="0 9 * * *")
    token, units = site.oscron("token"), site.systemctl("cat hermes-oscron.socket hermes-job@.service")
    said = site.install()
    assert len(said.strip().splitlines()) == 4 and str(site.port) in said
    assert site.oscron("token") == token
    assert site.systemctl("cat hermes-oscron.socket hermes-job@.service") == units
    assert site.api.job(job["id"]) == job and site.armed(job["id"])


def test_only_its_owner_can_read_the_token_and_linger_is_on(site: Site) -> None:
    assert site.run(f"stat -c '%a %U' {site.hermes}/cron/oscron/token").stdout.split() == ["600", site.user]
    if site.manager == "--user":
        assert "yes" in site.run(f"loginctl show-user -P Linger {site.user}").stdout


def test_the_api_listens_only_on_loopback(site: Site) -> None:
    listening = site.box.run(f"ss -Hltn 'sport = :{site.port}'", check=False).stdout
    here = [f"127.0.0.1:{site.port}", f"[::1]:{site.port}"]
    assert sorted(line.split()[3] for line in listening.splitlines()) == here
    told = site.systemctl("show -P Listen hermes-oscron.socket")
    assert all(f"{address} (Stream)" in told for address in here)


def test_systemd_analyze_verifies_the_units(site: Site) -> None:
    for unit in ALL_UNITS[1:]:
        checked = site.administer(f"systemd-analyze {site.manager} verify {site.settings_dir}/{unit}", check=False)
        assert "hermes" not in checked.stderr, checked.stderr


def test_a_port_in_use_is_reported_with_a_remedy(machine: Box, sites: dict[str, Site]) -> None:
    machine.run("useradd --create-home late && loginctl enable-linger late && sleep 1")
    port = sites["hermes"].port
    refused = machine.run(f"PORT={port} {INSIDE}/install.sh", user="late", check=False)
    assert refused.returncode == 1 and f"127.0.0.1:{port}" in refused.stderr and "PORT=" in refused.stderr


def test_paths_with_odd_characters_work(machine: Box) -> None:
    machine.run("useradd --create-home --home-dir '/home/o d&%x units' odd && loginctl enable-linger odd && sleep 1")
    machine.run(f"PORT={free_port()} PATH=\"$PATH:/x|y&z%d\" {INSIDE}/install.sh", user="odd")
    job_id = json.loads(machine.run(
        "mkdir -p .hermes/scripts && echo 'echo \"$PATH\"; pwd' >.hermes/scripts/where.sh && "
        ".local/bin/hermes-oscron create 'every 1h' --no-agent --script where.sh --json", user="odd").stdout)["id"]
    machine.run(f".local/bin/hermes-oscron run {job_id}", user="odd")
    wait_for(lambda: "ok" in machine.run(f".local/bin/hermes-oscron show {job_id}", user="odd").stdout)
    said = machine.run("cat .hermes/cron/output/*/*.md", user="odd").stdout
    assert ":/x|y&z%d\n/home/o d&%x units/.hermes/scripts" in said


@pytest.mark.parametrize("options", ["", "--scheduler crontab"])
def test_a_home_that_no_unit_can_name_works_or_is_refused_in_a_sentence(machine: Box, options: str) -> None:
    machine.run("""id quentin || useradd --create-home --home-dir "/home/q'uentin" quentin""", check=False)
    installed = machine.run(f"PORT={free_port()} {INSIDE}/install.sh {options}", user="quentin", check=False)
    assert installed.returncode == 0 or installed.stderr.startswith("install.sh: "), installed


def test_uninstalling_removes_only_what_the_install_created(machine: Box) -> None:
    machine.run("useradd --create-home eve && loginctl enable-linger eve")
    site = Site(machine, "eve", free_port())
    site.install()
    job = site.create(schedule="0 9 * * *")
    site.run(f"touch {site.home}/.config/systemd/user/mine.service {site.bin}/mine")
    for status in (0, 1):  # the second time, nothing is installed
        assert site.run(f"{INSIDE}/install.sh --uninstall", check=False).returncode == status
        assert site.stored_jobs()[0]["id"] == job["id"]
        assert not site.run(f"ls {site.unit_dir} | grep hermes", check=False).stdout
        assert site.run(f"ls {site.home}/.config/systemd/user {site.bin}").stdout.count("mine") == 2
        assert not site.run(f"ls -R {site.home}/.config {site.home}/.local | grep hermes", check=False).stdout
        assert "hermes" not in site.systemctl("list-units --all")
        assert not site.run(f"ls -d {site.home}/.local/share/man", check=False).stdout, "it would be empty"
    site.install()
    assert site.armed(job["id"]), "what was there before is armed again"


def test_try_fires_a_systemd_timer_and_leaves_nothing(machine: Box) -> None:
    machine.run("useradd --create-home tom && loginctl enable-linger tom")
    wait_for(lambda: machine.run("systemctl --user is-system-running", user="tom", check=False).stdout.strip()
             in ("running", "degraded"))
    said = machine.run(f"{INSIDE}/install.sh --try", user="tom").stdout
    assert "a systemd timer will fire" in said and "Hello from the first job" in said and "last_status ok" in said
    assert "hermes" not in machine.run("systemctl --user list-units --all", user="tom").stdout
    left = machine.run("find /home/tom /tmp /run/user/$(id -u) -newer /etc/hostname 2>/dev/null | grep -i hermes",
                       user="tom", check=False).stdout
    assert not left


@pytest.mark.usefixtures("sites")
def test_a_try_by_root_serves_as_an_account_without_rights(machine: Box) -> None:
    def left() -> str:
        """Return the files of the account; packages may have some."""
        return str(machine.run("find /tmp /var/lib -user nobody; ls -d /var/lib/*oscron*", check=False).stdout)

    before = left()
    said = machine.run(f"{INSIDE}/install.sh --try >/opt/try.log 2>&1 & "
                       "while kill -0 $!; do ps -ww -C hermes-oscron -o user:20=,args= | grep ' serve ' && break; "
                       "sleep 0.1; done; wait; cat /opt/try.log").stdout
    assert said.splitlines()[0].split()[0] == "nobody" and "last_status ok" in said, said
    assert "its server will fire" in said, "the units of an installation stay as they are"
    assert left() == before


def test_a_deleted_job_leaves_no_failed_unit(site: Site) -> None:
    job_id = site.create("exit 1", schedule="0 9 * * *")["id"]
    site.api.post("/api/crons/run", {"job_id": job_id})
    wait_for(lambda: job_id in site.systemctl("list-units --failed --plain --no-legend"))
    site.api.post("/api/crons/delete", {"job_id": job_id})
    assert job_id not in site.systemctl("list-units --failed --plain --no-legend")
