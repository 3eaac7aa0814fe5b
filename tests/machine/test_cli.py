"""Commands of the terminal that need a systemd: the journal, timers of others, the completion."""

import json
import shlex

import pytest

from tests.conftest import wait_for
from tests.machine.sites import Site

DAILY = "0 9 * * *"


def oscron(site: Site, arguments: str) -> str:
    """Return what `hermes-oscron` prints for the account that administers `site`."""
    return str(site.administer(f"{site.bin}/hermes-oscron {arguments}").stdout)


def test_logs_prints_what_a_job_printed(site: Site) -> None:
    job_id = site.create("echo from the job", schedule=DAILY)["id"]
    for _ in range(2):
        assert oscron(site, f"run --wait {job_id}") == "from the job\n"
    wait_for(lambda: oscron(site, f"logs {job_id}").count("from the job") == 2)
    newest = json.loads(oscron(site, f"runs {job_id} --json"))[0]["id"]
    assert oscron(site, f"logs {job_id} --run {newest}").count("from the job") == 1
    assert len(oscron(site, f"logs {job_id} -n 1").splitlines()) == 1
    assert oscron(site, "status").splitlines()[-1] == "HEALTH: OK, no problems found."


def test_stop_ends_a_run_under_systemd(site: Site) -> None:
    job_id = site.create("sleep 300", schedule=DAILY)["id"]
    oscron(site, f"run {job_id}")
    assert oscron(site, f"stop {job_id}").startswith(f"Stopped {job_id}, which had been running for ")
    assert json.loads(oscron(site, f"runs {job_id} --json"))[0]["outcome"] == "stopped"


def test_completions_and_manuals_are_installed(site: Site) -> None:
    share = "/usr/local/share" if site.manager == "--system" else f"{site.home}/.local/share"
    assert "bash_source hermes-oscron" in site.run(f"cat {share}/bash-completion/completions/hermes-oscron").stdout
    site.run(f"ls {share}/zsh/site-functions/_hermes-oscron {share}/fish/vendor_completions.d/hermes-oscron.fish")
    ask = (f"PATH={site.bin}:$PATH; . {share}/bash-completion/completions/hermes-oscron; "
           "COMP_WORDS=(hermes-oscron sho); COMP_CWORD=1; _hermes_oscron_completion hermes-oscron; "
           'echo "${COMPREPLY[@]}"')
    offered = site.administer(f"bash -c {shlex.quote(ask)}").stdout
    assert offered == "show\n"


def test_a_timer_becomes_a_job_that_starts_its_service(sites: dict[str, Site]) -> None:
    site = sites["ada"]
    site.run("systemd-run --user --unit=mine --on-calendar='Mon..Fri 3:30' sh -c 'echo ran >>~/ran'")
    site.run("systemd-run --user --unit=often --on-active=1h --on-unit-active=90min true")
    site.run("systemd-run --user --unit=tokyo --on-calendar='*-*-* 3:30 Asia/Tokyo' true")
    try:
        told = oscron(site, "import timers")
        assert "mine.timer: 30 3 * * MON-FRI  " in told and "often.timer: every 90m  " in told
        assert "hermes-job@" not in told
        told = oscron(site, "import timers mine")
        job_id = told.split()[-1]
        assert f"systemctl --user disable --now mine.timer\nhermes-oscron resume {job_id}" in told
        oscron(site, f"run --wait {job_id}")
        assert site.run("cat ~/ran").stdout == "ran\n"
        in_tokyo = oscron(site, "import timers tokyo").split()[-1]
        policies = [json.loads(oscron(site, f"show {each} --json"))["policy"] for each in (job_id, in_tokyo)]
        assert policies == [{}, {"timezone": "Asia/Tokyo"}]
    finally:
        site.run("systemctl --user stop mine.timer often.timer tokyo.timer", check=False)
        site.clear()


def test_the_account_of_an_installation_by_root_has_no_timers_to_import(sites: dict[str, Site]) -> None:
    told = sites["hermes"].administer(f"{sites['hermes'].bin}/hermes-oscron import timers", check=False)
    assert told.returncode == 1 and "which may not start the services of the system" in told.stderr


@pytest.mark.parametrize("command", ["status", "calendar", "list", "runs", "export"])
def test_root_reads_the_jobs_of_the_account(sites: dict[str, Site], command: str) -> None:
    site = sites["hermes"]
    job_id = site.create("echo done", schedule=DAILY)["id"]
    oscron(site, f"run --wait {job_id}")
    assert job_id in oscron(site, command)
    site.clear()
