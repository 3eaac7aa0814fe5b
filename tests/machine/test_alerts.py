"""Alerts on a booted machine without agent, gateway and API: each event makes one, also over power cuts and kills."""

import datetime
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_oscron.runner.log import END_MESSAGE_ID
from tests.conftest import wait_for
from tests.machine.box import SOURCE, Box
from tests.machine.policies import rows
from tests.machine.sites import Site, soon
from tests.notify.receivers import Mailbox, Monitor, monitoring, receiving, text_of

CATCH_UP: dict[str, dict[str, str]] = {
    "once": {}, "all": {"catch_up": "all", "catch_up_window": "1h"}, "late": {"start_deadline": "1m"}}
DOCUMENT = Path(SOURCE) / "docs" / "alerts.md"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with receiving() as mailbox:
        yield mailbox


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with monitoring() as monitor:
        yield monitor


@pytest.fixture
def silent(site: Site, mailbox: Mailbox, monitor: Monitor) -> Iterator[Site]:
    """An installation whose API is stopped, and whose alerts go to `mailbox` and `monitor`."""
    before = site.run(f"cat {site.config}").stdout
    site.put(site.config, f'{before}\n[notify]\nurls = ["{mailbox.url}"]\nping = "{monitor.url}/{{name}}"\n'
                          f"in_a_row = 2\n")
    wait_for(lambda: site.run(f"ls {site.hermes}/cron/oscron/alerts.db", check=False).stdout)
    site.wait_for_syncs()
    site.systemctl("stop hermes-oscron.socket hermes-oscron.service")
    yield site
    site.start_server()
    site.put(site.config, before)


def create(site: Site, name: str, script: str, schedule: str = "0 9 1 1 *") -> str:
    """Create a job from a terminal, and return its id."""
    file = site.script(f"{name}.sh", script)
    said = site.oscron(f"create '{schedule}' --name {name} --no-agent --script {file}")
    found = re.search(r"[0-9a-f]{12}", said)
    assert found, said
    return found[0]


def subjects(mailbox: Mailbox, count: int, seconds: float = 20) -> list[str]:
    """Wait for `count` mails, and a little for one too many; return what each is about."""
    wait_for(lambda: len(mailbox.mails) >= count, seconds)
    time.sleep(2)
    return [subject.rpartition(" (")[0] for subject in mailbox.subjects]


def journal(site: Site, match: str) -> list[tuple[str, str]]:
    """Return job and outcome of each entry that journalctl finds by `match`."""
    told = site.box.run(f"journalctl --no-pager -o json --output-fields=HERMES_JOB_ID,HERMES_OUTCOME {match}").stdout
    return [(entry["HERMES_JOB_ID"], entry["HERMES_OUTCOME"]) for entry in map(json.loads, told.splitlines())]


def test_each_event_sends_one_mail(silent: Site, mailbox: Mailbox, monitor: Monitor) -> None:
    site = silent
    create(site, "once", "echo no such host >&2; exit 3", soon(3))
    assert subjects(mailbox, 1) == ["once failed"]
    assert "exited with code 3: no such host" in text_of(mailbox.mails[0])
    assert [(ping.check, ping.signal) for ping in monitor.pings] == [("once", "start"), ("once", "3")]
    assert monitor.pings[0].rid == monitor.pings[1].rid

    job_id = create(site, "often", "[ -e ~/repaired ]")
    for count in (2, 3):
        site.oscron(f"run {job_id}")
        subjects(mailbox, count)
    site.run("touch ~/repaired")
    site.oscron(f"run {job_id}")
    site.oscron(f"pause {job_id}")
    assert sorted(subjects(mailbox, 5)[1:]) == ["often failed", "often failed 2 times in a row",
                                                "often succeeded again", "often was paused"]
    site.run("rm ~/repaired")

    killed = create(site, "killed", "sleep 300")
    site.oscron(f"run {killed}")
    site.systemctl(f"kill --kill-whom=main -s KILL hermes-job@default:{killed}.service")
    assert subjects(mailbox, 6)[5:] == ["killed failed"]

    site.run(f"sed -i '/^in_a_row/s/$/\\ndigest_hour = {(time.gmtime().tm_hour - 1) % 24}/' {site.config}")
    site.oscron("sync")
    site.run("python3 -c 'import sqlite3, sys; box = sqlite3.connect(sys.argv[1]); "
             "box.execute(\"UPDATE facts SET value = value - 86400 WHERE key = ?\", (\"digest\",)); box.commit()' "
             f"{site.hermes}/cron/oscron/alerts.db")
    site.systemctl("start hermes-oscron-sync.service")
    site.systemctl("start hermes-oscron-sync.service")
    assert journal(site, f"HERMES_JOB_ID={killed}") == [(killed, "interrupted")]
    assert set(journal(site, "HERMES_OUTCOME=error")) >= {(job_id, "error")}
    assert set(journal(site, f"MESSAGE_ID={END_MESSAGE_ID}")) >= {(job_id, "error"), (job_id, "ok")}

    [digest] = subjects(mailbox, 7)[6:]
    assert re.fullmatch(r"\d+ runs, \d jobs failing", digest)
    assert site.systemctl("show -P NRestarts hermes-oscron-notify.service").strip() == "0"


def test_a_mail_server_that_is_down_gets_the_mail_later_also_if_the_sender_is_killed(
        silent: Site, mailbox: Mailbox) -> None:
    site = silent
    job_id = create(site, "down", "exit 3")
    mailbox.close()
    site.oscron(f"run {job_id}")
    wait_for(lambda: "was not accepted" in site.journal_of("hermes-oscron-notify.service"), 20)
    assert "alert to mailto" in site.oscron("doctor || true") and "has not accepted any since" in site.doctor()[1]
    site.systemctl("kill -s KILL hermes-oscron-notify.service")
    with receiving(mailbox.port) as again:
        assert subjects(again, 1, 60) == ["down failed"]
    wait_for(lambda: site.systemctl("is-active hermes-oscron-notify.service", check=False).strip() == "inactive", 30)


def test_occurrences_missed_over_a_power_cut_send_a_single_mail(
        machine: Box, sites: dict[str, Site], silent: Site, mailbox: Mailbox) -> None:
    """Those of the other account, which has no alerts, run later by the policies of its jobs."""
    site, other = silent, next(each for each in sites.values() if each is not silent)
    job_id = create(site, "minutely", "true", "* * * * *")
    jobs = {name: other.create("true", schedule="* * * * *", policy=policy)["id"] for name, policy in CATCH_UP.items()}
    site.systemctl("disable hermes-oscron.socket")
    wait_for(lambda: "succeeded" in site.journal(job_id), 70)
    wait_for(lambda: all(other.api.job(each)["last_status"] for each in jobs.values()), 70)
    time.sleep(20)  # no run of either account is in progress, or due and not begun
    machine.cut_power()
    cut = time.time()
    time.sleep(190)
    machine.boot()
    site.systemctl("stop hermes-oscron.socket hermes-oscron.service", check=False)
    assert subjects(mailbox, 1, 60) == ["minutely missed its time"]
    assert "began late, at " in text_of(mailbox.mails[0]) and "It did not run " in text_of(mailbox.mails[0])
    time.sleep(65)
    assert len(mailbox.mails) == 1
    site.systemctl("enable hermes-oscron.socket")
    for name, outcomes in (("once", ["ok", "missed"]), ("all", ["ok", "ok"]), ("late", ["missed", "missed"])):
        missed = [row for row in rows(other, jobs[name])
                  if cut < datetime.datetime.fromisoformat(row["due_at"]).timestamp() < cut + 120]
        assert [row["outcome"] for row in missed] == outcomes, (name, missed)
        other.verb("delete", jobs[name])


def test_the_documented_drop_ins_are_started_by_systemd(site: Site) -> None:
    blocks = re.findall(r"^    # /etc/systemd/system/(\S+)\n((?:    .*\n)+)", DOCUMENT.read_text(), re.M)
    assert len(blocks) == 3
    for path, text in blocks:
        content = re.sub(r"^    ", "", text, flags=re.M)
        file = f"{site.settings_dir}/{path}"
        site.administer(f"mkdir -p \"$(dirname {file})\" && cat >{file} <<'END'\n{content}END")
    site.systemctl("daemon-reload")
    try:
        failing, fine = create(site, "failing", "exit 3"), create(site, "fine", "true")
        for job_id in (failing, fine):
            site.oscron(f"run {job_id}")
        expected = {f"default:{failing} failed: exit-code 1", f"default:{fine} succeeded"}
        wait_for(lambda: expected <= set(site.box.run("journalctl --no-pager -o cat -t hermes-alert",
                                                      check=False).stdout.splitlines()))
    finally:
        for path, _ in blocks:
            site.administer(f"rm {site.settings_dir}/{path}")
        site.systemctl("daemon-reload")
