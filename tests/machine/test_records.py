"""Records of other programs, profiles and pipes, as root types on a machine where an ordinary account runs the jobs."""

import contextlib
import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.box import INSIDE, Box
from tests.machine.sites import SystemSite, free_port

DAILY = {"kind": "cron", "expr": "0 9 * * *"}


@pytest.fixture(scope="module")
def site() -> Iterator[SystemSite]:
    with contextlib.closing(Box()) as box:
        box.boot()
        site = SystemSite(box, "hermes", free_port())
        printed = box.run(f"PORT={site.port} {INSIDE}/install.sh | head -1")
        assert len(printed.stdout.splitlines()) == 1 and "roken" not in printed.stderr, printed
        site.install()
        yield site


def test_an_installation_is_completed_without_its_output(site: SystemSite) -> None:
    site.box.run(f"{INSIDE}/install.sh --uninstall")
    site.box.run(f"PORT={site.port} {INSIDE}/install.sh | head -1")
    site.api.token = site.oscron("token").strip()
    assert site.doctor()[0] == 0, site.doctor()[1]


def test_root_addresses_jobs_of_a_profile(site: SystemSite) -> None:
    work = f"{site.hermes}/profiles/work"
    site.run(f"mkdir -p {work}")
    run = site.box.run
    first = json.loads(run("hermes-oscron create 'every 2h' one --profile work --json").stdout)
    second = json.loads(run(f"HERMES_HOME={work} hermes-oscron create 'every 2h' two --json").stdout)
    assert {first["owner_profile"], second["owner_profile"]} == {"work"}
    assert site.armed_timers() == {f"hermes-job@work:{job['id']}.timer" for job in (first, second)}
    assert "work (2)" in run("hermes-oscron list").stdout
    long = "n" * 200
    assert json.loads(run(f"hermes-oscron update work:{first['id']} --name {long} --json").stdout)["name"] == long
    assert long in run("hermes-oscron list --profile work").stdout, "a pipe cuts nothing"
    for reference in (f"work:{first['id']}", f"--profile work {second['id']}"):
        run(f"hermes-oscron delete {reference}")
    assert site.armed_timers() == set()
    refused = run("HERMES_HOME=/srv/other hermes-oscron create 'every 2h' x", check=False)
    assert refused.returncode == 1 and "HERMES_HOME is /srv/other" in refused.stderr


def test_root_and_the_account_are_shown_a_run_in_progress(site: SystemSite) -> None:
    site.put(f"{site.hermes}/profiles/work/scripts/wait.sh", f"until [ -e {site.home}/go ]; do sleep 0.1; done")
    site.script("wait.sh", f"until [ -e {site.home}/go ]; do sleep 0.1; done")
    run = site.box.run
    names = []
    for profile in ("default", "work"):
        create = f"hermes-oscron create 'every 2h' --no-agent --script wait.sh --profile {profile} --json"
        names.append(f"{profile}:{json.loads(run(create).stdout)['id']}")
        run(f"hermes-oscron run {names[-1]}")
    for oscron in (run, site.run):
        assert oscron("hermes-oscron list").stdout.count(" running ") == 1
        assert oscron("hermes-oscron list --all-profiles").stdout.count(" running ") == 2
        for name in names:
            assert "scheduled, running for " in oscron(f"hermes-oscron show {name}").stdout
            assert f"hermes-job@{name}.timer" in oscron(f"hermes-oscron show {name}").stdout
            assert oscron(f"hermes-oscron runs {name}").stdout.startswith("Running for ")
    site.run(f"touch {site.home}/go")
    wait_for(lambda: "running" not in site.oscron("list --all-profiles"), 30)
    for name in names:
        assert "hermes-job@" not in run(f"hermes-oscron disarm >&2; hermes-oscron show {name} 2>&1").stdout
        run(f"hermes-oscron arm; hermes-oscron delete {name}")
    site.run(f"rm {site.home}/go")


def test_records_of_an_editor_are_armed_or_reported(site: SystemSite) -> None:
    records = [{"job_id": "old", "prompt": "p", "schedule": DAILY}, {"id": 7, "prompt": "p", "schedule": DAILY},
               {"prompt": "p", "name": "without", "schedule": DAILY},
               {"id": "my job", "prompt": "p", "schedule": DAILY},
               {"id": "off", "enabled": None, "prompt": "p", "schedule": DAILY},
               {"id": "text", "prompt": "p", "schedule": "0 9 * * *"}]
    site.run(f"printf %s {shlex.quote(json.dumps(records))} >{site.hermes}/cron/jobs.json")
    wait_for(lambda: len(site.armed_timers()) == 3, 30)
    ids = [record.get("id") for record in site.stored_jobs()]
    assert ids[:2] == ["old", "7"] and ids[3:] == ["my job", "off", "text"] and ids[2]
    assert site.armed_timers() == {f"hermes-job@default:{job_id}.timer" for job_id in ids[:3]}
    status, found = site.doctor()
    assert status == 2 and "default:text: the job can never" in found
    assert "'my job' cannot be the name of a timer" in found
    assert "NOT USED" in site.oscron("list") and "my job" in site.oscron("list")
    preview = site.oscron("adopt --dry-run")
    assert "PROBLEM" in preview and "my job" in preview and "never fires: The record's schedule is a text" in preview
    site.run(f"echo '[]' >{site.hermes}/cron/jobs.json")
    wait_for(lambda: not site.armed_timers(), 30)


LINKS = {"cron/jobs.json": "../real.json", "cron": "cron-elsewhere", "config.yaml": "real.yaml", ".env": "real.env"}


def create_armed(site: SystemSite) -> Any:
    """Return a new job, after the check that it is armed and that doctor finds no problem."""
    job = site.create(schedule="every 2h")
    assert site.armed(job["id"]) and site.doctor()[0] == 0, site.doctor()[1]
    return job


@pytest.mark.parametrize("name", LINKS)
def test_a_file_or_folder_that_is_a_link_works(site: SystemSite, name: str) -> None:
    target = f"{site.hermes}/{LINKS[name].removeprefix('../')}"
    site.create(schedule="every 2h")
    site.run(f"cd {site.hermes}; touch {name}; mv {name} {target}; ln -s {LINKS[name]} {name}")
    try:
        create_armed(site)
    finally:
        site.run(f"cd {site.hermes}; rm -f {name}; mv {target} {name} || true")
    site.clear()


def test_a_home_that_is_a_link_and_a_jobs_json_that_is_mounted_work(site: SystemSite) -> None:
    site.run(f"mv {site.hermes} {site.home}/real; ln -s real {site.hermes}")
    try:
        create_armed(site)
    finally:
        site.run(f"rm {site.hermes}; mv {site.home}/real {site.hermes}")
    path = f"{site.hermes}/cron/jobs.json"
    site.box.run(f"cp -p {path} /opt/jobs.json; mount --bind /opt/jobs.json {path}")
    try:
        job = create_armed(site)
        site.verb("run", job["id"])
        wait_for(lambda: site.api.job(job["id"])["last_status"] == "ok", 20)
        assert job["id"] in site.box.run("cat /opt/jobs.json").stdout
    finally:
        site.box.run(f"umount {path}; cp -p /opt/jobs.json {path}")
    site.clear()
