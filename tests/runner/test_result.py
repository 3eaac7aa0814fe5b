"""The end of a run: its output page, which old pages are kept, and what is recorded of its job."""

import datetime
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.hermes import job_store, jobs_file, outputs
from hermes_oscron.hermes.home import Home
from hermes_oscron.hermes.output_page import render_page
from hermes_oscron.jobs.record import Record
from hermes_oscron.runner.process import ProcessResult
from hermes_oscron.runner.result import RunResult, record_result
from hermes_oscron.runs import lock
from hermes_oscron.runs.model import MANUAL as BY_HAND
from hermes_oscron.runs.model import Run
from tests.conftest import wait_for
from tests.runner.jobs import (
    MANUAL,
    configure,
    fire,
    firing,
    make,
    make_script,
    pages,
    reconciler,
    record,
    section,
    service,
)

UTC = datetime.UTC
STARTED = datetime.datetime(2026, 3, 15, 9, 0, 0, 250_000, tzinfo=UTC)
ENDED = STARTED + datetime.timedelta(seconds=83.4)
WELL = ProcessResult("fine\n", "", None)


def record_run(home: Home, before: Record) -> RunResult:
    """Record a run of the job in `before` that begins and ends now, as its runner does."""
    run_lock = lock.acquire(home, before["id"])
    assert run_lock
    run = Run(before["id"], time.time(), BY_HAND)
    run_lock.write(run)
    result = record_result(home, before, run, run_lock, WELL)
    run_lock.release()
    return result


def headings(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith("#")]


def page_of(process: ProcessResult = WELL, **fields: Any) -> str:
    job = {"id": "4f2a", "name": "Report", "prompt": "say hello", "schedule_display": "Daily at 9:00 AM"}
    return render_page({**job, **fields}, STARTED, ENDED, process.stdout, process.stderr, process.error)


def test_a_page_has_the_headings_that_clients_parse() -> None:
    assert page_of() == (
        "# Cron Job: Report\n\n"
        "**Job ID:** 4f2a\n"
        "**Run Time:** 2026-03-15 09:00:00\n"
        "**Schedule:** Daily at 9:00 AM\n"
        "**Duration:** 83.4s\n\n"
        "## Prompt\n\nsay hello\n\n"
        "## Response\n\nfine\n"
    )


def test_the_page_of_a_failed_run_has_the_error() -> None:
    written = page_of(ProcessResult("half\n", "oh no\n", "exited with code 3: oh no"))
    assert headings(written) == ["# Cron Job: Report (FAILED)", "## Prompt", "## Response", "## Standard error",
                                 "## Error"]
    assert section(written, "Response") == "half"
    assert section(written, "Standard error") == "oh no"
    assert section(written, "Error") == "exited with code 3: oh no"


def test_the_page_of_a_script_names_it_instead_of_a_prompt() -> None:
    written = page_of(no_agent=True, script="daily/report.sh", prompt="unused")
    assert section(written, "Prompt") == "Script: daily/report.sh"


def test_a_page_without_output_has_a_note() -> None:
    assert section(page_of(ProcessResult(" \n\n", "", None)), "Response") == "(no output)"


def test_a_name_makes_one_heading() -> None:
    assert headings(page_of(name="two\n## Response\n\nlines"))[0] == "# Cron Job: two ## Response lines"
    assert headings(page_of(name=None))[0] == "# Cron Job: 4f2a"


def test_the_page_of_a_real_run(root: Path) -> None:
    job_id = make_script(root, "sleep 0.3; echo '  hello  '; echo warned >&2; exit 1\n", name="Say hello",
                         schedule="0 9 * * 1-5")
    fire(job_id, *MANUAL)
    [written] = pages(root, job_id)
    assert headings(written) == ["# Cron Job: Say hello (FAILED)", "## Prompt", "## Response", "## Standard error",
                                 "## Error"]
    assert f"**Job ID:** {job_id}\n" in written
    assert "**Schedule:** Weekdays at 9:00 AM\n" in written
    duration = re.search(r"\*\*Duration:\*\* ([\d.]+)s", written)
    assert duration
    assert 0.3 <= float(duration[1]) < 5
    assert section(written, "Response") == "hello"


def test_a_page_is_named_and_dated_in_the_zone_of_the_agent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERMES_TIMEZONE", "Pacific/Kiritimati")
    job_id = make_script(root, "echo\n")
    before = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=14))).replace(tzinfo=None, microsecond=0)
    fire(job_id, *MANUAL)
    [name] = os.listdir(root / "cron" / "output" / job_id)
    named = datetime.datetime.strptime(name, "%Y-%m-%d_%H-%M-%S.md")
    assert before <= named <= before + datetime.timedelta(seconds=10)
    assert f"**Run Time:** {named:%Y-%m-%d}" in pages(root, job_id)[0]
    assert record(root, job_id)["last_run_at"].endswith("+14:00")


def test_output_beyond_5_mib_is_cut_with_a_note(root: Path) -> None:
    job_id = make_script(root, "head -c 6000000 /dev/zero | tr '\\0' x\n")
    ended = fire(job_id, *MANUAL)
    assert ended.stdout == "x" * 6_000_000 + "\n" and "succeeded" in ended.log[-1]
    [written] = pages(root, job_id)
    kept = section(written, "Response")
    assert kept.startswith("x" * 5 * 1024 * 1024)
    assert kept.endswith("\n[cut here: 757120 bytes more than the 5 MiB that are kept]")


def test_the_newest_50_pages_are_kept(root: Path, home: Home) -> None:
    job_id = make_script(root, "echo the newest\n")
    folder = root / "cron" / "output" / job_id
    folder.mkdir(parents=True)
    for n in range(60):
        (folder / f"2026-01-{n // 24 + 1:02}_{n % 24:02}-00-00.md").write_text(f"old {n}")
    fire(job_id, *MANUAL)
    names = outputs.filenames(home, job_id)
    assert len(names) == 50
    assert "the newest" in (folder / names[0]).read_text()
    assert [(folder / name).read_text() for name in names[1:]] == [f"old {n}" for n in range(59, 10, -1)]


def test_each_run_within_one_second_has_its_own_page(root: Path) -> None:
    job_id = make_script(root, 'echo x >> "$HERMES_HOME/count"\nwc -l < "$HERMES_HOME/count"\n')
    for _ in range(5):
        fire(job_id, *MANUAL)
    assert sorted(section(written, "Response") for written in pages(root, job_id)) == ["1", "2", "3", "4", "5"]


def test_a_prompt_with_headings_does_not_hide_the_response(root: Path) -> None:
    configure(root, '[exec]\ncommand = ["echo", "the real answer"]\n')
    job_id = make(root, prompt="Write a page with\n\n## Response\n\nin it. " + "Be long. " * 2000)
    fire(job_id, *MANUAL)
    [(_, content)] = service(root).outputs(job_id, 1)
    assert content.endswith("the real answer\n")


def test_a_job_deleted_while_its_page_is_written_has_no_page_left(root: Path, home: Home,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = make_script(root, "echo\n")
    before, write = jobs_file.find(home, job_id), outputs.write

    def write_and_delete(*arguments: Any) -> str:
        name = write(*arguments)
        service(root).delete(job_id)
        Path(root, "cron", "output", job_id).mkdir()  # as when the page is written a moment later
        return name

    monkeypatch.setattr(outputs, "write", write_and_delete)
    assert record_run(home, before) == RunResult(None, None)
    assert not (root / "cron" / "output" / job_id).exists()


def test_the_output_of_a_run_is_kept_if_only_its_record_is_missing(root: Path, home: Home) -> None:
    job_id = make_script(root, "echo fine\n")
    before = job_store.remove(home, job_id).record
    assert record_run(home, before) == RunResult(None, None)
    assert len(pages(root, job_id)) == 1


def test_a_run_that_ends_while_jobs_json_is_missing_is_recorded_later(root: Path, home: Home) -> None:
    job_id = make_script(root, 'mv "$HERMES_HOME/cron/jobs.json" "$HERMES_HOME/away"; echo whole\n')
    with firing(job_id, *MANUAL) as runner:
        wait_for(lambda: pages(root, job_id))
        reconciler(root).sync()  # which must not take the job for a deleted one
        (root / "away").rename(root / "cron" / "jobs.json")
        assert runner.wait(20) == 0
    assert record(root, job_id)["last_status"] == "ok" and "whole" in pages(root, job_id)[0]


def test_the_result_of_a_job_with_an_unreadable_schedule_is_recorded(root: Path) -> None:
    job_id = make_script(root, "echo fine\n")
    path = root / "cron" / "jobs.json"
    path.write_text(path.read_text().replace('"expr": "0 9 * * *"', '"expr": "0 99 * * *"'))
    ended = fire(job_id, *MANUAL)
    assert "Traceback" not in ended.stderr
    assert section(pages(root, job_id)[0], "Response") == "fine"
    assert "Bad hour" in record(root, job_id)["last_error"]
    assert service(root).show(job_id)["state"] == "error"


def test_the_run_is_over_when_it_is_recorded(root: Path, home: Home) -> None:
    job_id = make_script(root, "true\n")
    fire(job_id, *MANUAL)
    assert lock.running(home) == {}
    assert lock.unrecorded(home) == []
    assert os.listdir(home.state.runs) == []
