"""The runner's log, without a reader or in the syslog. The syslog itself is in tests/machine."""

import os
import subprocess
from pathlib import Path

from .jobs import MANUAL, command_line, files, fire, make_due, make_script, page, record, section


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
