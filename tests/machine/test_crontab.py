"""A real cron with our lines: the environment of a job, fires that are not due, a boot."""

import datetime
import json
import re
import shlex
import time
from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.machine.box import Box
from tests.machine.sites import CrontabSite, add_account, free_port, sleep_until

ODD_HOME, ODD_ROOT, ODD_PATH = "/home/o d&%x", "/home/o d&%x/it's 100% `odd` $HOME \\", "/usr/bin:/bin:/x|y&z%d'"
SENDMAIL = "#!/bin/sh\ncat >>/run/mails\n"


@pytest.fixture
def site(crontab_site: CrontabSite) -> Iterator[CrontabSite]:
    yield crontab_site
    crontab_site.clear()


def set_due(site: CrontabSite, job_id: str, due: str) -> None:
    """Make `job_id` due at the time `due` by an edit of jobs.json."""
    path = f"{site.hermes}/cron/jobs.json"
    content = json.loads(site.run(f"cat {path}").stdout)
    for job in content["jobs"]:
        if job["id"] == job_id:
            job["next_run_at"] = due
    site.put(path, json.dumps(content))


def started_by_cron(site: CrontabSite, job_id: str) -> int:
    """Return how often cron has started the line of `job_id`."""
    said: str = site.box.run("journalctl --no-pager -o cat -t CRON").stdout
    return sum(f"({site.user}) CMD" in line and job_id in line for line in said.splitlines())


def test_a_job_has_the_environment_of_the_installation_and_nothing_is_mailed(machine: Box) -> None:
    """The home needs quoting for the shell and for cron, and variables above our lines have other values."""
    machine.run("touch /run/mails && chmod 666 /run/mails")
    machine.put("/usr/sbin/sendmail.new", SENDMAIL)
    machine.run("chmod 755 /usr/sbin/sendmail.new; mv /usr/sbin/sendmail.new /usr/sbin/sendmail")
    add_account(machine, "otto", f"--home-dir {shlex.quote(ODD_HOME)}")
    site = CrontabSite(machine, "otto", free_port(), HERMES_HOME=ODD_ROOT, PATH=ODD_PATH)
    site.install()
    site.install_crontab(b"MAILTO=otto\nPATH=/usr/bin:/bin:/theirs\nHOME=/\nHERMES_HOME=/theirs\nSHELL=/bin/bash\n"
                         b"* * * * * echo a mail of their own\n" + site.crontab())
    schedule = site.soon(8)
    well = site.create('printf "%s\\n" "$PATH" "$HOME" "$HERMES_HOME" "$PWD" "$(umask)"; echo this too >&2; touch made',
                       schedule=schedule)["id"]
    failing = site.create("echo before it failed; exit 3", schedule=schedule)["id"]
    sleep_until(schedule)
    wait_for(lambda: all(site.api.job(job_id)["state"] == "completed" for job_id in (well, failing)))
    assert [site.api.job(job_id)["last_status"] for job_id in (well, failing)] == ["ok", "error"]
    [content] = site.api.outputs(well)
    assert f"\n{ODD_PATH}\n{ODD_HOME}\n{ODD_ROOT}\n{ODD_ROOT}/scripts\n0077\n" in content
    made = site.run('cd "$HERMES_HOME" && stat -c %a scripts/made cron/output/*/*.md')
    assert made.stdout.split() == ["600"] * 3
    wait_for(lambda: "this too" in site.syslog(well) and ODD_ROOT in site.syslog(well))
    wait_for(lambda: "before it failed" in site.syslog(failing) and "exited with code 3" in site.syslog(failing))
    mails = wait_for(lambda: machine.run("cat /run/mails").stdout)
    assert mails.count("Subject:") == mails.count("\na mail of their own\n"), "their line mails each minute, ours never"
    assert "OK: no problems found" in site.doctor()[1]


def test_a_sync_line_syncs_without_output(site: CrontabSite) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    for line in [line for line in site.crontab().decode().splitlines() if " sync # hermes-oscron" in line]:
        command = line.partition("'")[2]
        site.disarm_by_hand(job_id)
        ran = site.run(f"env -i HOME=/ PATH=/usr/bin:/bin sh -c {shlex.quote(chr(39) + command)}")
        assert (ran.stdout, ran.stderr) == ("", "") and site.armed(job_id)


def test_a_covering_line_leaves_traces_only_of_due_fires(site: CrontabSite) -> None:
    schedule = site.soon(8)
    waiting, due = (site.create("echo due", schedule="every 7m")["id"] for _ in "12")
    assert all(site.lines(job_id)[0].startswith(b"* * * * *") for job_id in (waiting, due))
    set_due(site, due, schedule)
    site.oscron("sync")
    assert site.api.job(due)["next_run_at"] == schedule
    sleep_until(schedule)
    wait_for(lambda: site.api.job(due)["last_status"] == "ok")
    following = datetime.datetime.fromisoformat(schedule) + datetime.timedelta(minutes=7)
    assert datetime.datetime.fromisoformat(site.api.job(due)["next_run_at"]) == following
    site.stop_server()
    if time.time() // 60 % 60 in (15, 16):  # the minute of the hourly sync is near
        time.sleep(120)
    site.wait_for_syncs()
    if (second := time.time() % 60) > 50:  # the next minute is not to begin before the count
        time.sleep(65 - second)
    site.run("sleep 1; touch ~/stamp")
    before = [started_by_cron(site, job_id) for job_id in (waiting, due)]
    time.sleep(60 - time.time() % 60)
    wait_for(lambda: all(started_by_cron(site, job_id) == count + 1
                         for job_id, count in zip((waiting, due), before, strict=True)), 20)
    wait_for(lambda: not site.box.run("pgrep -f [h]ermes-cron-exec", check=False).stdout)
    assert site.run("find .hermes -newer ~/stamp").stdout == ""
    assert site.syslog(waiting) == "" and re.fullmatch(
        rf".*{due}\)?: started, due [0-9:]{{8}}\ndue\n.*{due}\)?: succeeded after [0-9.]+ s\n", site.syslog(due))
    assert not site.api.outputs(waiting) and len(site.api.outputs(due)) == 1


def test_a_run_started_from_a_unit_of_the_manager_outlives_that_unit(site: CrontabSite) -> None:
    """The account has a user manager too, whose sync unit starts overdue jobs as cron's sync lines do."""
    job_id = site.create("sleep 3; echo whole", schedule="0 9 * * *")["id"]
    set_due(site, job_id, (datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)).isoformat())
    site.systemctl("start hermes-oscron-sync.service")
    wait_for(lambda: "whole" in site.outputs(job_id))
    wait_for(lambda: site.api.job(job_id)["last_status"] == "ok")
    assert len(site.api.outputs(job_id)) == 1


def test_after_a_power_cut_missed_jobs_run_once_and_cut_off_runs_are_recorded(
        machine: Box, site: CrontabSite) -> None:
    """One account has a manager of its own; for the other, only cron starts anything at boot."""
    add_account(machine, "rob")
    rob = CrontabSite(machine, "rob", free_port())
    rob.install()
    schedule = site.soon(10)
    later = (datetime.datetime.fromisoformat(schedule) + datetime.timedelta(minutes=1)).isoformat()
    cut, missed, paused, far = {}, {}, {}, {}
    for each in (site, rob):
        cut[each] = each.create("echo begun; sleep 300", schedule=schedule)["id"]
        missed[each] = each.create(schedule=later)["id"]
        paused[each] = each.create(schedule=later, enabled=False)["id"]
        far[each] = each.create(schedule="every 7h")["id"]
    lines = {each: each.crontab() for each in (site, rob)}
    machine.run("loginctl disable-linger rob && systemctl stop user@$(id -u rob)")
    sleep_until(schedule)
    for each in (site, rob):
        wait_for(lambda each=each: each.runner(cut[each]))
    machine.cut_power()
    sleep_until(later, later=1)
    machine.boot()
    for each in (site, rob):
        jobs = wait_for(lambda each=each: _if_caught_up(each, missed[each]), 30)
        assert jobs[cut[each]]["last_status"] == "error" and "interrupted" in jobs[cut[each]]["last_error"]
        assert jobs[cut[each]]["state"] == jobs[missed[each]]["state"] == "completed"
        assert jobs[missed[each]]["last_status"] == "ok"
        assert jobs[paused[each]]["last_run_at"] is None and jobs[far[each]]["last_run_at"] is None
        done = [line for line in lines[each].splitlines(keepends=True)
                if cut[each].encode() in line or missed[each].encode() in line]
        wait_for(lambda each=each, done=done: each.crontab() == b"".join(
            line for line in lines[each].splitlines(keepends=True) if line not in done))
        assert each.outputs(missed[each]).count("## Response") == 1
        assert "OK: no problems found" in each.doctor()[1]
        runs = {run["job_id"]: run for run in json.loads(each.oscron("runs --json"))}
        assert runs[cut[each]]["outcome"] == "interrupted" and runs[missed[each]]["outcome"] == "ok"
        assert each.audit() == ""
    assert not machine.run("pgrep -u rob systemd", check=False).stdout, "rob's jobs need no manager"


def _if_caught_up(site: CrontabSite, job_id: str) -> object:
    jobs = {job["id"]: job for job in site.stored_jobs()}
    return jobs if jobs[job_id]["last_status"] else None


def test_logs_prints_what_a_job_printed(site: CrontabSite) -> None:
    """The account may read the lines of its own jobs in the journal."""
    job_id = site.create("echo from the job", schedule="0 9 * * *")["id"]
    other = site.create("echo from another one", schedule="0 9 * * *")["id"]
    for each in (job_id, other):
        site.oscron(f"run --wait {each}")
    wait_for(lambda: "from the job" in site.oscron(f"logs {job_id}"))
    assert "from another one" not in site.oscron(f"logs {job_id}")
    run_id = json.loads(site.oscron(f"runs {job_id} --json"))[0]["id"]
    assert "from the job" in site.oscron(f"logs {job_id} --run {run_id}")
