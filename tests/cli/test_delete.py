import os
import re
from pathlib import Path

import pytest

from ..conftest import stored, write_jobs
from ..runner.jobs import MANUAL, firing, is_alive, make_script, page, pages, pid_in
from .conftest import Cli

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def test_only_the_job_and_its_outputs_are_deleted(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY}, {"id": "b", "prompt": "p", "schedule": DAILY})
    for job_id in ("a", "b"):
        (root / "cron" / "output" / job_id).mkdir(parents=True)
    assert cli.out("delete", "a") == "Deleted a.\n"
    assert [record["id"] for record in stored(root)] == ["b"]
    assert [folder.name for folder in (root / "cron" / "output").iterdir()] == ["b"]


def test_the_outputs_stay_on_request(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY})
    folder = root / "cron" / "output" / "a"
    folder.mkdir(parents=True)
    assert cli.out("delete", "--keep-outputs", "a") == f"Deleted a. Its outputs stay in {folder}.\n"
    assert folder.is_dir()


@pytest.mark.parametrize(("options", "said", "kept"), [
    ((), "goes on; its output is removed when it ends.", False),
    (("--stop",), "was stopped.", False),
    (("--keep-outputs",), "goes on; its output is kept when it ends. Its outputs stay in ", True),
    (("--stop", "--keep-outputs"), "was stopped. Its outputs stay in ", True),
])
def test_it_reports_what_happens_to_a_run_in_progress(cli: Cli, root: Path, options: tuple[str, ...], said: str,
                                                   kept: bool) -> None:
    job_id = make_script(root, 'echo begun\necho $$ > "$HERMES_HOME/started"\nread -t 20 < "$HERMES_HOME/pipe"\n'
                               'echo whole\n')
    os.mkfifo(root / "pipe")
    with firing(job_id, *MANUAL) as runner:
        job = pid_in(root / "started")
        told = cli.out("delete", *options, job_id)
        assert re.match(rf"Deleted {job_id}\. Its run, which began \d+ s ago, {said}", told)
        if "--stop" in options:
            assert not is_alive(job)
        else:
            (root / "pipe").write_text("go on\n")
        assert runner.wait(10) == 0
    written = pages(root, job_id)
    assert bool(written) == kept
    if kept:
        assert "stopped by SIGTERM" in written[0] if "--stop" in options else "whole" in written[0]
    assert stored(root) == [] and not os.listdir(root / "cron" / "oscron" / "runs")


def test_the_output_of_a_run_whose_record_another_program_removes_is_kept(root: Path) -> None:
    job_id = make_script(root, 'echo $$ > "$HERMES_HOME/started"\nread -t 20 < "$HERMES_HOME/pipe"\necho whole\n')
    os.mkfifo(root / "pipe")
    with firing(job_id, *MANUAL) as runner:
        pid_in(root / "started")
        write_jobs(root)
        (root / "pipe").write_text("go on\n")
        log, _ = runner.communicate(timeout=10)
    assert "whole" in page(root, job_id) and not os.listdir(root / "cron" / "oscron" / "runs")
    assert log.endswith("; the job is no longer in jobs.json; its output is kept\n")


def test_a_missing_job_is_an_error(cli: Cli, root: Path) -> None:
    (root / "cron" / "output" / "stray").mkdir(parents=True)
    for job_id in ("stray", "..", "../output"):
        assert "no job" in cli.refused("delete", job_id)
    assert (root / "cron" / "output" / "stray").is_dir()
