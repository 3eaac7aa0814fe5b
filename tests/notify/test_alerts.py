"""Alerts from the outside: a real run, a real receiver, and nothing else."""

import datetime
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hermes_oscron.hermes.home import Home
from hermes_oscron.notify import channels, message, outbox
from hermes_oscron.runs import ledger
from hermes_oscron.service.alerts import undelivered
from hermes_oscron.state import State
from tests.conftest import wait_for
from tests.runner.jobs import MANUAL, change_record, configure, fire, make_due, make_script, reconciler, service

from .receivers import alerts_in, events_in, monitoring, receiving, text_of, write_command

pytestmark = pytest.mark.usefixtures("without_systemd_environment")
SENDER = [sys.executable, "-I", "-m", "hermes_oscron.notify"]


def is_idle(root: Path) -> bool:
    """Return True if no alert waits."""
    with outbox.writing(str(root)) as box:
        return not outbox.due(box)


def set_script(root: Path, text: str) -> None:
    (root / "scripts" / "job.sh").write_text(text)


def run(root: Path, job_id: str, text: str) -> None:
    """Run the job, now with the script `text`, and wait until no alert waits."""
    set_script(root, text)
    fire(job_id, *MANUAL)
    time.sleep(0.2)
    wait_for(lambda: is_idle(root))


def test_five_lines_send_a_mail_of_a_failure(root: Path) -> None:
    with receiving() as mailbox:
        configure(root, f'[notify]\nurls = ["{mailbox.url}"]\n')
        job_id = make_script(root, "echo 'no such host' >&2; exit 3\n", name="Backup")
        fire(job_id, *MANUAL)
        [mail] = wait_for(lambda: mailbox.mails)
        assert mail["Subject"] == f"Backup failed ({os.uname().nodename})"
        assert "exited with code 3: no such host" in text_of(mail)
        time.sleep(0.5)
        assert len(mailbox.mails) == 1


def test_a_command_gets_json(root: Path, tmp_path: Path) -> None:
    command, file = write_command(tmp_path)
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\noutput_chars = 20\n")
    job_id = make_script(root, "echo half done; exit 3\n", name="Backup")
    fire(job_id, *MANUAL)
    assert events_in(file, 1) == ["failure"]
    [alert] = alerts_in(file)
    assert (alert["job"], alert["name"], alert["profile"], alert["outcome"], alert["exit_code"], alert["trigger"]) == (
        job_id, "Backup", "default", "error", 3, "manual")
    assert alert["failures"] == 1 and alert["host"] == os.uname().nodename and len(alert["output"]) == 20
    assert alert["started"] < alert["ended"] and alert["reason"].startswith("exited with code 3")


def test_a_streak_of_failures_makes_one_alert_then_one_at_the_third_and_one_of_the_recovery(
        root: Path, tmp_path: Path) -> None:
    command, file = write_command(tmp_path)
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\n")
    job_id = make_script(root, "true\n")
    for text in ("true", "exit 1", "exit 1", "exit 1", "exit 1", "true", "true", "exit 1"):
        run(root, job_id, text)
    assert events_in(file, 4) == ["failure", "failing", "recovery", "failure"]
    assert [alert["failures"] for alert in alerts_in(file)] == [1, 3, 4, 1]
    assert len({alert["id"] for alert in alerts_in(file)}) == 4


def test_each_repeat_and_success_is_sent_if_that_is_chosen(root: Path, tmp_path: Path) -> None:
    command, file = write_command(tmp_path)
    configure(root, f'[notify]\ncommand = {json.dumps(command)}\nrepeat_hours = 0\non = ["failure", "success"]\n')
    job_id = make_script(root, "true\n")
    for text in ("true", "exit 1", "exit 1", "true"):
        run(root, job_id, text)
    assert events_in(file, 4) == ["success", "failure", "failure", "success"]


def test_a_paused_job_makes_one_alert_and_none_when_it_is_paused_again(root: Path, tmp_path: Path) -> None:
    command, file = write_command(tmp_path)
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\n")
    job_id = make_script(root, "true\n", name="Backup")
    service(root).pause(job_id, "too noisy")
    service(root).pause(job_id)
    reconciler(root).sync()
    assert events_in(file, 1) == ["paused"]
    assert alerts_in(file)[0]["text"].endswith(f"'hermes-oscron resume default:{job_id}'. Reason: too noisy")
    service(root).resume(job_id)
    service(root).pause(job_id)
    assert events_in(file, 2) == ["paused", "paused"]
    time.sleep(0.3)
    assert len(alerts_in(file)) == 2


@pytest.mark.parametrize("limit", [1, 2])
def test_a_job_that_its_policy_pauses_makes_one_alert_of_that(root: Path, tmp_path: Path, limit: int) -> None:
    command, file = write_command(tmp_path)
    configure(root, f'[notify]\ncommand = {json.dumps(command)}\non = ["paused"]\n')
    job_id = make_script(root, "exit 3\n", name="Backup", policy={"pause_after": limit})
    for _ in range(limit):
        make_due(root, job_id)
        fire(job_id)
    assert events_in(file, 1) == ["paused"]
    assert alerts_in(file)[0]["reason"].startswith(f"Paused by its policy after {limit} failed ")
    reconciler(root).sync()
    fire(job_id, *MANUAL)
    wait_for(lambda: is_idle(root))
    time.sleep(0.5)
    assert len(alerts_in(file)) == 1


def test_an_exhausted_budget_makes_one_alert_in_each_day(root: Path, home: Home, tmp_path: Path) -> None:
    command, file = write_command(tmp_path)
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\n")
    job_id = make_script(root, "true\n", name="Report", schedule="* * * * *")
    with ledger.writing(home) as books:
        row = ledger.begin_row(books, job_id, "Report", "manual", time.time(), time.time())
        ledger.end_row(books, row, ledger.End(time.time(), "ok", usage='{"total_tokens": 12}'))
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    for alerts, (zone, seconds) in enumerate((("UTC", (3, 2)), ("Pacific/Kiritimati", (1,))), 1):  # has another day
        service(root).update(job_id, {"policy": {"budget": "12 tokens per day", "timezone": zone}})
        for second in seconds:
            change_record(root, job_id, next_run_at=(now - datetime.timedelta(seconds=second)).isoformat())
            assert "is exhausted" in fire(job_id).stdout
        assert events_in(file, alerts) == ["paused"] * alerts
        assert alerts_in(file)[-1]["text"].partition(" did not start: ")[2].startswith(
            "The budget of the job is exhausted: of 12 tokens per day, its runs have used 12 since ")
    assert len({alert["due"] for alert in alerts_in(file)}) == 2


def test_a_job_has_receivers_of_its_own_instead_of_the_common_ones(root: Path, tmp_path: Path) -> None:
    command, file = write_command(tmp_path)
    (own,), own_file = write_command(tmp_path, "own")
    with monitoring() as monitor, monitoring() as own_monitor:
        configure(root, f'[notify]\ncommand = {json.dumps(command)}\nping = "{monitor.url}/{{job}}"\n')
        common = make_script(root, "exit 3\n", name="Common")
        theirs = make_script(root, "exit 3\n", name="Own", policy={
            "notify": {"command": own, "ping": f"{own_monitor.url}/{{name}}"}})
        silent = make_script(root, "exit 3\n", policy={"notify": {"command": "none", "ping": "none"}})
        for job_id in (silent, common, theirs):
            fire(job_id, *MANUAL)
        assert (events_in(file, 1), events_in(own_file, 1)) == (["failure"], ["failure"])
        wait_for(lambda: is_idle(root) and len(own_monitor.pings) == len(monitor.pings) == 2)
        service(root).pause(theirs)
        assert events_in(own_file, 2) == ["failure", "paused"]
        assert ([each["job"] for each in alerts_in(file)], {each["job"] for each in alerts_in(own_file)}) == (
            [common], {theirs})
        assert ({ping.check for ping in monitor.pings}, {ping.check for ping in own_monitor.pings}) == (
            {common}, {"own"})
        assert own_monitor.signals == monitor.signals == ["start", "3"]


def test_alerts_of_one_job_need_no_settings_for_all(root: Path, tmp_path: Path) -> None:
    (own,), file = write_command(tmp_path)
    job_id = make_script(root, "exit 3\n", policy={"notify": {"command": f"{own} --word"}})
    other = make_script(root, "exit 3\n")
    for each in (other, job_id):
        fire(each, *MANUAL)
    assert events_in(file, 1) == ["failure"] and alerts_in(file)[0]["job"] == job_id
    time.sleep(0.5)
    assert len(alerts_in(file)) == 1


def test_alerts_go_on_while_jobs_json_is_damaged_to_the_same_receivers(root: Path, home: Home, tmp_path: Path) -> None:
    command, file = write_command(tmp_path)
    (own,), own_file = write_command(tmp_path, "own")
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\n")
    job_ids = [make_script(root, "true\n", policy=policy) for policy in ({}, {"notify": {"command": own}})]
    subprocess.run(SENDER, check=True, timeout=30)
    with open(home.jobs_file, "a", encoding="utf-8") as jobs_file:
        jobs_file.write('"notify"')
    with ledger.writing(home) as books:
        for job_id in job_ids:
            now = time.time()
            ledger.end_row(books, ledger.begin_row(books, job_id, "", ledger.MANUAL, now, now),
                           ledger.End(now, ledger.ERROR, "broken"))
    subprocess.run(SENDER, check=True, timeout=30)
    assert [[each["job"] for each in alerts_in(each)] for each in (file, own_file)] == [[each] for each in job_ids]


def test_several_missed_occurrences_make_one_alert(root: Path, tmp_path: Path) -> None:
    command, file = write_command(tmp_path)
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\n")
    job_id = make_script(root, "true\n", schedule="* * * * *")
    with ledger.writing(Home("default", str(root), str(root))) as books:
        books.execute("UPDATE schedules SET since = since - 600")
        books.execute("DELETE FROM accounted")
    change_record(root, job_id, created_at="2026-01-01T00:00:00+00:00",
                  next_run_at=time.strftime("%Y-%m-%dT%H:%M:00+00:00", time.gmtime(time.time() - 540)))
    fire(job_id)
    assert events_in(file, 1) == ["missed"]
    [alert] = alerts_in(file)
    assert 9 <= alert["missed"] <= 11 and "began late, at " in alert["text"] and "It did not run " in alert["text"]
    reconciler(root).sync()
    time.sleep(0.3)
    assert len(alerts_in(file)) == 1


def test_a_missed_occurrence_that_runs_later_and_fails_makes_two_alerts(root: Path, home: Home, tmp_path: Path) -> None:
    """The row of the occurrence gets another end, which the sender must not take for the one it has seen."""
    command, file = write_command(tmp_path)
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\n")
    job_id = make_script(root, "exit 3\n", schedule="* * * * *")
    due = int(time.time()) // 60 * 60
    with ledger.writing(home) as books:
        ledger.insert_not_run(books, job_id, "", due, ledger.MISSED, "It was not started at its time.")
    reconciler(root).sync()
    assert events_in(file, 1) == ["missed"]
    change_record(root, job_id, next_run_at=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(due)))
    fire(job_id)
    assert events_in(file, 2) == ["missed", "failure"]


def test_what_happened_before_the_alerts_were_set_is_not_sent(root: Path, tmp_path: Path) -> None:
    job_id = make_script(root, "exit 3\n")
    fire(job_id, *MANUAL)
    command, file = write_command(tmp_path)
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\n")
    reconciler(root).sync()
    time.sleep(0.5)
    assert alerts_in(file) == []
    fire(job_id, *MANUAL)
    assert events_in(file, 1) == ["failure"]


def test_a_deleted_ledger_repeats_no_alert(root: Path, tmp_path: Path) -> None:
    command, file = write_command(tmp_path)
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\n")
    job_id = make_script(root, "exit 3\n")
    fire(job_id, *MANUAL)
    assert events_in(file, 1) == ["failure"]
    os.unlink(State(str(root)).ledger)
    reconciler(root).sync()
    time.sleep(0.5)
    assert len(alerts_in(file)) == 1
    run(root, job_id, "true")
    assert events_in(file, 2) == ["failure", "recovery"]


def test_an_error_in_oscron_toml_is_reported_by_the_last_settings(root: Path, tmp_path: Path) -> None:
    command, file = write_command(tmp_path)
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\n")
    job_id = make_script(root, "true\n")
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\n[exec]\ntimeout = 'long'\n")
    fire(job_id, *MANUAL)
    assert events_in(file, 1) == ["failure"]
    assert "oscron.toml: exec.timeout takes" in alerts_in(file)[0]["reason"]


def test_a_receiver_that_is_down_gets_the_alert_later(root: Path) -> None:
    with receiving() as mailbox:
        port = mailbox.port
    configure(root, f'[notify]\nurls = ["{mailbox.url}"]\n')
    job_id = make_script(root, "exit 3\n", name="Backup")
    fire(job_id, *MANUAL)

    def error() -> str:
        with outbox.writing(str(root)) as box:
            return next((each.error for each in outbox.undelivered(box)), "")

    assert "Apprise exited with code 1" in wait_for(error)
    [finding] = undelivered(str(root), time.time())
    assert finding.sentence.startswith("1 alert to mailto example.org (")
    assert "has not accepted any since" in finding.sentence
    assert ". They are sent again; " in finding.sentence, "the error of a program may have no full stop"
    with receiving(port) as again:
        wait_for(lambda: again.mails, 15)
        wait_for(lambda: is_idle(root))
        assert len(again.mails) == 1


def test_a_command_that_hangs_delays_no_other_receiver_and_no_run(root: Path, tmp_path: Path) -> None:
    command, file = write_command(tmp_path, then="sleep 600")
    with receiving() as mailbox:
        configure(root, f'[notify]\nurls = ["{mailbox.url}"]\ncommand = {json.dumps(command)}\nrepeat_hours = 0\n')
        job_id = make_script(root, "exit 3\n")
        for count in (1, 2):
            began = time.monotonic()
            fire(job_id, *MANUAL)
            assert time.monotonic() - began < 5
            wait_for(lambda count=count: len(mailbox.mails) == count, 5)
        assert len(alerts_in(file)) == 1


def test_a_killed_sender_loses_no_alert_and_the_next_one_sends_the_same_id(root: Path, tmp_path: Path) -> None:
    command, file = write_command(tmp_path, then='kill -9 "$PPID"')
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\n")
    job_id = make_script(root, "exit 3\n")
    fire(job_id, *MANUAL)
    wait_for(lambda: alerts_in(file))
    write_command(tmp_path)
    subprocess.run(SENDER, check=True, timeout=30)
    first, again = alerts_in(file)
    assert first == again
    subprocess.run(SENDER, check=True, timeout=30)
    assert len(alerts_in(file)) == 2


@pytest.mark.parametrize("delay_s", [0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35])
def test_alerts_are_complete_and_single_after_a_kill_at_any_step(root: Path, tmp_path: Path, delay_s: float) -> None:
    command, file = write_command(tmp_path)
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\nrepeat_hours = 0\n")
    job_id = make_script(root, "exit 3\n")
    fire(job_id, *MANUAL)
    events_in(file, 1)
    wait_for(lambda: is_idle(root))
    for _ in range(3):
        # the runner requests nothing: only the sender that is killed collects
        with ledger.writing(Home("default", str(root), str(root))) as books:
            now = time.time()
            ledger.end_row(books, ledger.begin_row(books, job_id, "", ledger.MANUAL, now, now),
                           ledger.End(now, ledger.ERROR, "broken"))
        sender = subprocess.Popen(SENDER)
        time.sleep(delay_s)
        sender.send_signal(signal.SIGKILL)
        sender.wait()
    subprocess.run(SENDER, check=True, timeout=30)
    assert len({alert["id"] for alert in alerts_in(file)}) == 4


def test_many_failures_at_once_become_one_message(root: Path) -> None:
    with receiving() as mailbox:
        configure(root, f'[notify]\nurls = ["{mailbox.url}"]\n')
        job_ids = [make_script(root, "exit 3\n", name=f"Job {number}") for number in range(8)]
        with ledger.writing(Home("default", str(root), str(root))) as books:
            for job_id in job_ids:
                now = time.time()
                ledger.end_row(books, ledger.begin_row(books, job_id, job_id, ledger.MANUAL, now, now),
                               ledger.End(now, ledger.ERROR, "broken"))
        subprocess.run(SENDER, check=True, timeout=30)
        [mail] = mailbox.mails
        assert mail["Subject"] == f"8 alerts ({os.uname().nodename})"
        assert all(job_id in text_of(mail) for job_id in job_ids)


def test_the_digest_is_sent_once_a_day(root: Path, tmp_path: Path) -> None:
    command, file = write_command(tmp_path)
    hour = (time.gmtime().tm_hour - 1) % 24
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\non = []\ndigest_hour = {hour}\n")
    job_id = make_script(root, "exit 3\n", name="Backup")
    fire(job_id, *MANUAL)
    with outbox.writing(str(root)) as box:
        outbox.set_fact(box, "digest", outbox.fact(box, "digest") - 86400)
    with ledger.writing(Home("default", str(root), str(root))) as books:
        books.execute("UPDATE runs SET due = due - 7200")
    for _ in range(3):
        reconciler(root).sync()
    assert events_in(file, 1) == ["digest"]
    time.sleep(0.3)
    assert len(alerts_in(file)) == 1, alerts_in(file)
    [alert] = alerts_in(file)
    assert (alert["outcomes"], alert["failing"]) == ({"error": 1}, [f"default:{job_id}"])
    assert f"1 runs: 1 error.\nFailing: default:{job_id}." in alert["text"]


def test_a_run_that_went_well_starts_no_sender(root: Path, tmp_path: Path) -> None:
    command, _ = write_command(tmp_path)
    configure(root, f"[notify]\ncommand = {json.dumps(command)}\n")
    job_id = make_script(root, "true\n", schedule="* * * * *")
    for _ in range(2):
        change_record(root, job_id, next_run_at=time.strftime("%Y-%m-%dT%H:%M:00+00:00", time.gmtime()))
        fire(job_id)
    assert not os.path.exists(State(str(root)).notifier_lock)


def test_a_ping_signals_begin_and_end_of_each_run_with_its_id(root: Path) -> None:
    with monitoring() as monitor:
        configure(root, f'[notify]\nping = "{monitor.url}/{{name}}?create=1"\noutput_chars = 1000\n')
        job_id = make_script(root, "echo fine\n", name="Nightly Backup")
        fire(job_id, *MANUAL)
        wait_for(lambda: len(monitor.pings) == 2)
        set_script(root, "echo broken; exit 7\n")
        fire(job_id, *MANUAL)
        wait_for(lambda: len(monitor.pings) == 4)
        assert monitor.signals == ["start", "success", "start", "7"]
        assert {ping.check for ping in monitor.pings} == {"nightly-backup"}
        first, second, third, fourth = monitor.pings
        assert first.rid == second.rid != third.rid == fourth.rid
        assert "broken" in fourth.body and "exited with code 7" in fourth.body


def test_a_ping_that_the_monitor_rejects_for_good_keeps_no_other(root: Path) -> None:
    with monitoring() as monitor:
        monitor.status = 400
        configure(root, f'[notify]\nping = "{monitor.url}/{{job}}"\n')
        job_id = make_script(root, "exit 1\n")
        fire(job_id, *MANUAL)
        wait_for(lambda: monitor.refused == 2)
        monitor.status = 200
        fire(job_id, *MANUAL)
        wait_for(lambda: monitor.signals == ["start", "1"])
        with outbox.writing(str(root)) as box:
            [given_up] = outbox.undelivered(box)
        assert given_up.given_up == 2 and "400" in given_up.error


def test_a_begin_is_not_signalled_late(root: Path) -> None:
    with monitoring() as monitor:
        configure(root, f'[notify]\nping = "{monitor.url}/{{job}}"\n')
        job_id = make_script(root, "exit 1\n")
        monitor.status = 503
        fire(job_id, *MANUAL)
        wait_for(lambda: monitor.refused)
        with outbox.writing(str(root)) as box:
            box.execute("UPDATE alerts SET created = created - 61")
            box.execute("DELETE FROM targets")
        monitor.status = 200
        wait_for(lambda: monitor.pings, 20)
        assert monitor.signals == ["1"]


def test_the_test_reports_each_receiver(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hermes_oscron.cli", "notify", "test"]
    nothing = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (nothing.returncode, nothing.stdout) == (1, "") and "There are no receivers in " in nothing.stderr
    words, file = write_command(tmp_path)
    with monitoring() as monitor, receiving() as mailbox:
        configure(root, f'[notify]\nurls = ["{mailbox.url}", "nothing://x"]\ncommand = {json.dumps(words)}\n'
                        f'ping = "{monitor.url}/{{job}}"\n')
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        assert told.returncode == 1 and told.stdout.count(": accepted.\n") == 3
        assert "FAILED: Apprise exited with code 1: The URL is not one of Apprise" in told.stdout
        assert len(mailbox.mails) == 1 and monitor.signals == ["log"]
        assert [alert["event"] for alert in alerts_in(file)] == ["test"]


def test_the_error_of_a_ping_has_no_part_of_its_url() -> None:
    for url in ("http://me:pa@ss/{job}", "http://me:secret word@127.0.0.1/{job}", "http://[secret/{job}"):
        with pytest.raises(channels.NotSent) as caught:
            channels.send(outbox.Target(outbox.PING, (url,)), [{"id": "x", **message.of_test()}])
        assert str(caught.value) == "The ping failed: its URL is not valid."
