"""A run that ends while jobs.json cannot be read or written: nothing of it is lost, and it is recorded once."""

import contextlib
import datetime
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_oscron.hermes import jobs_file
from hermes_oscron.hermes.home import Home
from hermes_oscron.jobs.record import instant
from hermes_oscron.runner import main, result
from hermes_oscron.runs import lock, model, recent
from hermes_oscron.runs.interrupted import record_interrupted_runs
from tests.conftest import wait_for
from tests.runner.jobs import (
    MANUAL,
    fire,
    firing,
    has_begun,
    make_due,
    make_script,
    pages,
    reconciler,
    record,
    service,
)

FAILS = "echo begun; sleep 1; echo whole; echo oh no >&2; exit 3\n"
UTC = datetime.UTC


@contextlib.contextmanager
def broken(root: Path) -> Iterator[None]:
    """jobs.json is cut to 30 bytes, as by an editor that dies, and whole again afterwards."""
    path = root / "cron" / "jobs.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:30])
    yield
    assert path.read_bytes() == whole[:30], "it is left as it is"
    path.write_bytes(whole)


def result_of(root: Path, job_id: str) -> bool:
    """Return True if the run of `job_id` has its result in its file."""
    return b'"ended_at"' in (root / "cron" / "oscron" / "runs" / job_id).read_bytes()


def end_unrecorded(root: Path, job_id: str, number: int) -> datetime.datetime:
    """Fire `job_id`, whose run ends while jobs.json is broken, and end its runner by `number`; when the run ended."""
    with firing(job_id) as runner:
        wait_for(lambda: has_begun(service(root).home, job_id))
        with broken(root):
            wait_for(lambda: result_of(root, job_id))
            ended = datetime.datetime.now(UTC)
            assert runner.poll() is None, "it waits"
            runner.send_signal(number)
            assert runner.wait(5) == (-number if number == signal.SIGKILL else 2)
    return ended


def test_an_ended_run_waits_while_jobs_json_is_being_repaired(root: Path, home: Home) -> None:
    job_id = make_script(root, FAILS)
    make_due(root, job_id)
    with firing(job_id) as runner:
        wait_for(lambda: has_begun(home, job_id))
        with broken(root):
            wait_for(lambda: result_of(root, job_id))
            ended = datetime.datetime.now(UTC)
            time.sleep(1.5)
            assert runner.poll() is None and list(lock.running(home)) == [job_id]
        assert runner.wait(5) == 1
        assert runner.stderr
        said = runner.stderr.read()
        assert "waits to be recorded: " in said and "jobs.json is not JSON" in said
    after = record(root, job_id)
    assert (after["last_error"], after["repeat"]["completed"]) == ("exited with code 3: oh no", 1)
    recorded = instant(after["last_run_at"])
    assert recorded and abs(recorded - ended) < datetime.timedelta(seconds=1)
    assert "whole" in pages(root, job_id)[0] and os.listdir(home.state.runs) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_later_sync_records_the_real_result_once(root: Path, home: Home, number: int) -> None:
    job_id = make_script(root, FAILS)
    make_due(root, job_id)
    ended = end_unrecorded(root, job_id, number)
    assert fire(job_id, "--settle").returncode == 0
    after = record(root, job_id)
    assert (after["last_status"], after["last_error"]) == ("error", "exited with code 3: oh no")
    recorded = instant(after["last_run_at"])
    assert recorded and abs(recorded - ended) < datetime.timedelta(seconds=1)
    assert after["repeat"]["completed"] == 1 and os.listdir(home.state.runs) == []
    assert len(pages(root, job_id)) == 1 and "whole" in pages(root, job_id)[0]
    assert fire(job_id, "--settle").returncode == 0 and record_interrupted_runs(home) == []
    assert record(root, job_id) == after
    assert "is not due" in fire(job_id).stdout


def test_a_successful_run_is_not_recorded_as_an_error(root: Path, home: Home) -> None:
    job_id = make_script(root, "sleep 1; echo whole\n")
    make_due(root, job_id)
    end_unrecorded(root, job_id, signal.SIGKILL)
    assert not reconciler(root).sync().problems
    after = record(root, job_id)
    assert (after["last_status"], after["last_error"], after["repeat"]["completed"]) == ("ok", None, 1)


def test_a_run_that_is_stopped_does_not_wait(root: Path, home: Home) -> None:
    job_id = make_script(root, "echo begun; exec sleep 30\n")
    make_due(root, job_id)
    with firing(job_id) as runner:
        wait_for(lambda: (run := lock.find(home, job_id)) and run.group)
        with broken(root):
            runner.terminate()
            assert runner.wait(5) == 2
    assert fire(job_id, "--settle").returncode == 0
    assert record(root, job_id)["last_error"] == "stopped by SIGTERM before it had ended."


def test_a_run_does_not_wait_forever_and_logs_where_its_result_is(
    root: Path, home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:
    job_id = make_script(root, 'cp "$HERMES_HOME/cron/jobs.json" "$HERMES_HOME/whole"\n'
                               'echo broken > "$HERMES_HOME/cron/jobs.json"\n')
    monkeypatch.setattr(result, "RECORD_TIMEOUT_S", 0.1)
    assert main.main([f"default:{job_id}", *MANUAL]) == 2
    said = capfd.readouterr().err
    assert "jobs.json is not JSON" in said and f"its result is in {home.state.runs}/{job_id}" in said
    assert (root / "cron" / "jobs.json").read_text() == "broken\n"
    (root / "whole").rename(root / "cron" / "jobs.json")
    assert [job.record["last_status"] for job in record_interrupted_runs(home)] == ["ok"]


def test_a_result_that_is_not_recorded_yet_is_shown(
    root: Path, home: Home, monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = make_script(root, FAILS)
    make_due(root, job_id)
    end_unrecorded(root, job_id, signal.SIGKILL)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", f"{root}/cron/jobs.json")

    monkeypatch.setattr(jobs_file, "write_atomic", full)
    before = record(root, job_id)
    here = service(root)
    shown = here.show(job_id)
    assert (shown["last_error"], shown["repeat"]["completed"]) == ("exited with code 3: oh no", 1)
    assert here.list_jobs()["jobs"][0]["last_error"] == shown["last_error"]
    [completion] = recent.ended_since(home, 0)
    assert completion.status == "error"
    assert "default" in [problem.subject for problem in reconciler(root).sync().problems]
    assert record(root, job_id) == before and len(os.listdir(home.state.runs)) == 1, "reading writes nothing"


def test_the_next_run_first_records_the_result_of_the_last_one(root: Path, home: Home) -> None:
    job_id = make_script(root, FAILS)
    make_due(root, job_id)
    end_unrecorded(root, job_id, signal.SIGKILL)
    fire(job_id, *MANUAL)
    assert record(root, job_id)["repeat"]["completed"] == 2 and len(pages(root, job_id)) == 2


def test_the_run_file_holds_an_error_of_any_length_and_kind(home: Home) -> None:
    claim = lock.acquire(home, "a")
    assert claim
    for error in ("é" * 5000, "\0\ud800" * 3000, '"' * 9000):
        run = model.Run("a", 1.5, "manual")
        claim.write(run)
        claim.write_result(run, model.Result(2.5, error))
        left = claim.stale_run()
        assert left and left.result and left.result.error
        assert error.startswith(left.result.error) and len(left.result.error) > 300
        assert os.path.getsize(claim.path) == 2 * lock.PART_BYTES
    claim.release()


STARTED = time.time()
SOUND = {"started_at": STARTED, "ended_at": STARTED, "error": None, "delivery_error": None, "by_agent": False}


@pytest.mark.parametrize("result", ["x", [], 5, {}, {**SOUND, "ended_at": "x"}, {**SOUND, "ended_at": 1e300},
                                    {**SOUND, "ended_at": float("nan")}, {**SOUND, "started_at": STARTED - 60}])
def test_an_invalid_result_is_recorded_as_interrupted(root: Path, home: Home, result: object) -> None:
    job_id = make_script(root, "echo\n")
    os.makedirs(home.state.runs)
    run = json.dumps({"started_at": STARTED, "trigger": "manual"}).ljust(lock.PART_BYTES)
    Path(home.state.runs, job_id).write_text(run + json.dumps(result))
    record_interrupted_runs(home)
    assert record(root, job_id)["last_error"].startswith("interrupted: ")
