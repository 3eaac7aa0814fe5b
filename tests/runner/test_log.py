"""The runner's log, without a reader or in the syslog. The syslog itself is in tests/machine."""

import datetime
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from hermes_oscron.runner import log

from .jobs import (
    MANUAL,
    SLEEPER,
    change_record,
    command_line,
    configure,
    files,
    fire,
    interrupt,
    make,
    make_due,
    make_script,
    page,
    record,
    section,
)


def test_a_run_has_one_line_at_its_start_and_one_at_its_end(root: Path) -> None:
    job_id = make_script(root, "echo hello\n", name="mail")
    due = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    change_record(root, job_id, next_run_at=due.isoformat())
    ended = subprocess.run(command_line(job_id), capture_output=True, text=True, env={**os.environ, "TZ": "UTC"})
    assert re.fullmatch(rf"mail \({job_id}\): started, due {due:%H:%M:%S}\nhello\n"
                        rf"mail \({job_id}\): succeeded after \d+\.\d s\n", ended.stdout)
    assert ended.stderr == ""


@pytest.mark.parametrize(("zone", "due", "said"), [
    ("UTC", "2026-01-01T09:00:00+00:00", "2026-01-01 09:00:00"),
    ("Asia/Tokyo", "2026-01-01T09:00:00+00:00", "2026-01-01 09:00:00 +0000"),
    ("UTC", "2026-01-01T09:00:00", "2026-01-01 09:00:00"),
])
def test_the_due_time_has_day_and_offset_if_they_are_not_those_of_the_start(root: Path, zone: str, due: str,
                                                                           said: str) -> None:
    job_id = make_script(root, "echo hello\n", name="mail")
    change_record(root, job_id, next_run_at=due)
    assert fire(job_id, TZ=zone).log[0] == f"mail ({job_id}): started, due {said}"


def test_the_end_of_a_failed_run_has_its_error(root: Path) -> None:
    job_id = make_script(root, "printf half; echo 'no such host' >&2; exit 3\n", name="mail")
    ended = fire(job_id, *MANUAL)
    assert ended.log[0] == f"mail ({job_id}): started by hand" and len(ended.log) == 2
    assert re.fullmatch(rf"mail \({job_id}\): failed after \d+\.\d s: exited with code 3: no such host", ended.log[1])
    assert ended.stdout == "half\n", "the next line of the log is a line of its own"


def test_an_output_that_is_not_delivered_is_in_the_line_at_the_end(root: Path) -> None:
    job_id = make_script(root, "echo hello\n", deliver="telegram")
    assert "; not delivered to telegram: only the Hermes agent delivers" in fire(job_id, *MANUAL).log[-1]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_name_of_any_characters_is_on_one_line_in_any_encoding(root: Path, encoding: str) -> None:
    job_id = make_script(root, "echo hello\n", name="post")
    change_record(root, job_id, name="post\n<0>\x1b[2J\u2028日本 é")
    ended = subprocess.run(command_line(job_id, *MANUAL), capture_output=True,
                           env={**os.environ, "PYTHONIOENCODING": encoding})
    assert ended.returncode == 0
    lines = ended.stdout.decode().splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"post <0> [2J 日本 é ({job_id})", "hello",
                                                           f"post <0> [2J 日本 é ({job_id})"]


def test_a_prompt_that_is_the_name_too_is_not_logged(root: Path) -> None:
    configure(root, '[exec]\ncommand = ["true"]\n')
    secret = " tell nobody that the key is 4711, whatever they say about the key "
    for prompt in (secret, secret[:20]):
        job_id = make(root, prompt=prompt)
        assert record(root, job_id)["name"] == prompt.strip()[:50].strip()
        assert fire(job_id, *MANUAL).log[0] == f"{job_id}: started by hand"
    job_id = make(root, prompt="mail the news", name="mail")
    assert fire(job_id, *MANUAL).log[0] == f"mail ({job_id}): started by hand"


def test_the_end_of_a_run_that_was_cut_off_is_logged_when_it_is_recorded(root: Path) -> None:
    job_id = make_script(root, SLEEPER, name="mail")
    interrupt(root, job_id)
    settled = fire(job_id, "--settle", SERVICE_RESULT="signal", EXIT_STATUS="KILL")
    [line] = settled.log
    assert line.startswith(f"mail ({job_id}): failed: interrupted: the run begun at ") and "(signal, KILL)" in line
    assert fire(job_id, "--settle", SERVICE_RESULT="signal", EXIT_STATUS="KILL").log == []


def test_a_closed_output_ends_no_run(root: Path) -> None:
    job_id = make_script(root, "echo heard by nobody\nexit 3\n")
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(command_line(job_id, *MANUAL), stdout=writer, stderr=writer)
    os.close(writer)
    assert ended.returncode == 1
    assert record(root, job_id)["last_status"] == "error" and "code 3" in record(root, job_id)["last_error"]
    assert section(page(root, job_id), "Response") == "heard by nobody"


def test_a_covering_crontab_line_prints_nothing_if_the_job_is_not_due(root: Path) -> None:
    job_id = make_script(root, "echo never\n")
    before = files(root)
    ended = fire(job_id, "--crontab")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert files(root) == before


def test_a_crontab_line_runs_a_due_job_as_a_scheduled_run(root: Path) -> None:
    job_id = make_script(root, 'cat "$HERMES_HOME/cron/oscron/runs/$HERMES_JOB_ID"\n')
    make_due(root, job_id)
    assert fire(job_id, "--crontab", INVOCATION_ID="cron's own, where systemd started that").returncode == 0
    assert '"trigger": "schedule"' in section(page(root, job_id), "Response")


def test_bad_arguments_of_a_crontab_line_are_reported_on_standard_error(root: Path) -> None:
    ended = subprocess.run([*command_line("x")[:-1], "--crontab"], capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stderr.startswith("Usage: ")


def test_the_end_of_a_run_has_fields_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capfd: pytest.CaptureFixture[str]) -> None:
    record = {"id": "4f2a9c1d07be", "name": "Two\nlines"}
    path = str(tmp_path / "journal")
    monkeypatch.setattr(log, "JOURNAL_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        log.log_end(record, 1.0, "timed out after 900 s")
        assert "failed after 1.0 s" in capfd.readouterr().err, "the output is not the journal"
        monkeypatch.setenv("JOURNAL_STREAM", f"{os.fstat(1).st_dev}:{os.fstat(1).st_ino}")
        log.log_end(record, 1.0, "timed out after 900 s:\nlate")
        entry = journal.recv(10_000)
    fields = {}
    while entry:
        name, _, rest = entry.partition(b"\n")
        length = int.from_bytes(rest[:8], "little")
        fields[name.decode()], entry = rest[8:8 + length].decode(), rest[8 + length + 1:]
    assert fields == {"MESSAGE": "Two lines (4f2a9c1d07be): failed after 1.0 s: timed out after 900 s:\nlate",
                      "PRIORITY": "5", "SYSLOG_IDENTIFIER": "hermes-job", "MESSAGE_ID": log.END_MESSAGE_ID,
                      "HERMES_JOB_ID": "4f2a9c1d07be", "HERMES_JOB_NAME": "Two lines", "HERMES_OUTCOME": "timeout"}
    assert capfd.readouterr() == ("", "")
    os.unlink(path)
    log.log_end(record, 1.0, None)
    assert capfd.readouterr().out == "Two lines (4f2a9c1d07be): succeeded after 1.0 s\n", "nothing is lost without it"
