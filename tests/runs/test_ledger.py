"""The ledger has one row for each run and each occurrence, also if the runner is killed."""

import contextlib
import datetime
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.hermes import job_store, outputs
from hermes_oscron.hermes.home import Home
from hermes_oscron.runs import ledger, lock
from hermes_oscron.runs.entries import enter_end
from hermes_oscron.runs.model import Result, Run
from hermes_oscron.runs.recent import ended
from hermes_oscron.runs.totals import used_since
from hermes_oscron.service import bookkeeping
from hermes_oscron.service.run_history import rows_of
from hermes_oscron.service.runs import Filter, listed, of_outputs
from tests.conftest import wait_for, write_jobs
from tests.runner.jobs import (
    MANUAL,
    SLEEPER,
    change_record,
    configure,
    fire,
    firing,
    interrupt,
    kill,
    make_due,
    make_script,
    pid_in,
    reconciler,
    record,
    service,
)

from .ledgers import discrepancies, outcomes, rows

UTC = datetime.UTC
ROWS = 60_000
"""A query that reads them all takes at least 100 thousand steps."""
pytestmark = pytest.mark.usefixtures("without_systemd_environment")


def due_a_minute_ago(root: Path, job_id: str) -> float:
    """Make the minutely job `job_id` due at the last full minute, which is not about to end, and return that."""
    if (second := time.time() % 60) > 45:
        time.sleep(60.1 - second)
    due = datetime.datetime.now(UTC).replace(second=0, microsecond=0)
    change_record(root, job_id, next_run_at=due.isoformat())
    return due.timestamp()


def test_a_scheduled_run_has_a_row_of_the_time_at_which_it_was_due(root: Path) -> None:
    job_id = make_script(root, "echo fine\n", schedule="* * * * *", name="Report")
    due = due_a_minute_ago(root, job_id)
    before = time.time()
    assert fire(job_id).returncode == 0
    [row] = rows(root, job_id)
    assert (row.trigger, row.due, row.attempt, row.outcome, row.exit_code) == ("schedule", due, 1, "ok", 0)
    assert row.started and row.ended and before <= row.started <= row.ended <= time.time()
    assert row.name == "Report" and row.output in os.listdir(root / "cron" / "output" / job_id)
    assert row.host == os.uname().nodename and row.cpu_s is not None and row.memory_bytes
    assert discrepancies(root) == []


def test_a_failed_run_has_its_reason(root: Path) -> None:
    job_id = make_script(root, "echo no >&2; exit 3\n")
    fire(job_id, *MANUAL)
    [row] = rows(root, job_id)
    assert (row.trigger, row.outcome, row.reason, row.exit_code) == (
        "manual", "error", "exited with code 3: no", 3)


def test_a_run_in_progress_has_a_row_and_one_that_is_stopped_ends_it(root: Path) -> None:
    job_id = make_script(root, SLEEPER)
    with firing(job_id, *MANUAL) as runner:
        pid_in(root / "started")
        wait_for(lambda: rows(root, job_id))
        assert outcomes(root, job_id) == [None]
        bookkeeping.keep(job_home(root), datetime.datetime.now(UTC))
        assert outcomes(root, job_id) == [None], "it still runs"
        assert discrepancies(root) == []
        runner.terminate()
        runner.wait(15)
    assert outcomes(root, job_id) == ["stopped"]


def job_home(root: Path) -> Home:
    return service(root).home


def test_a_run_that_exceeds_its_time_has_that_outcome(root: Path) -> None:
    configure(root, "[exec]\ntimeout = 0.2\n")
    job_id = make_script(root, "sleep 30\n")
    fire(job_id, *MANUAL)
    assert outcomes(root, job_id) == ["timeout"]


def test_a_command_that_cannot_be_started_has_a_row(root: Path) -> None:
    job_id = make_script(root, "true\n")
    os.unlink(root / "scripts" / "job.sh")
    fire(job_id, *MANUAL)
    assert outcomes(root, job_id) == ["error"]


def test_a_killed_run_is_interrupted_once(root: Path) -> None:
    job_id = make_script(root, SLEEPER)
    interrupt(root, job_id)
    fire(job_id, "--settle")
    [row] = rows(root, job_id)
    assert row.outcome == "interrupted" and row.reason and row.reason.startswith("interrupted: the run begun at ")
    reconciler(root).sync()
    assert outcomes(root, job_id) == ["interrupted"] and discrepancies(root) == []


KILLER = """
import os, signal, sys
step, seen, instance = int(sys.argv[1]), 0, sys.argv[2]
from hermes_oscron.runner import main
def hook(event, _):
    global seen
    if event.startswith(("open", "os.", "fcntl.", "subprocess.", "sqlite3.")):
        seen += 1
        if seen == step + 1:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
sys.exit(main.main([instance]))
"""


def test_a_runner_killed_at_any_step_leaves_one_row_after_the_next_sync(root: Path) -> None:
    """The occurrence is either still due and has no row, or has exactly one, as a run that began has it."""
    job_id = make_script(root, f"echo x >>{root}/starts\n", schedule="0 0 1 1 *")
    ended = set()
    for step in range(0, 3000, 11):
        starts = (root / "starts").read_text().count("x") if (root / "starts").exists() else 0
        before = len(rows(root, job_id))
        change_record(root, job_id, next_run_at=None, last_run_at=None, fire_claim=None)
        killed = subprocess.run([sys.executable, "-c", KILLER, str(step), f"default:{job_id}"], check=False,
                                capture_output=True, text=True, timeout=30)
        fire(job_id, "--settle")
        reconciler(root).sync()
        found = rows(root, job_id)[before:]
        ran = (root / "starts").read_text().count("x") - starts if (root / "starts").exists() else 0
        assert ran <= 1 and (len(found) == 1 if ran else len(found) <= 1), (step, killed.stderr, found)
        assert all(row.outcome in ("ok", "interrupted") for row in found), (step, found)
        ended.add(killed.returncode)
        if killed.returncode == 0:
            break
    assert ended == {0, -signal.SIGKILL}


def test_an_occurrence_during_a_run_is_skipped(root: Path) -> None:
    job_id = make_script(root, "sleep 0.1\n", schedule="every 1m")
    now = datetime.datetime.now(UTC).replace(microsecond=0)
    begin = now - datetime.timedelta(minutes=3)
    note_since(root, job_id, begin - datetime.timedelta(seconds=30), begin)
    run_from_until(root, job_id, begin, now)
    assert outcomes(root, job_id) == ["ok", "skipped", "skipped", "skipped"]
    assert all(row.reason and "still in progress" in row.reason for row in rows(root, job_id)[1:])
    assert discrepancies(root) == []


def note_since(root: Path, job_id: str, since: datetime.datetime, due: datetime.datetime) -> None:
    """Make the job one that has been due as it is since then, and is due next at `due`."""
    change_record(root, job_id, next_run_at=due.isoformat(), armed_at=since.isoformat())
    os.unlink(root / "cron" / "oscron" / "runs.db")
    home = job_home(root)
    bookkeeping.note_changes(home, [job_store.find(home, job_id)], since, since)


def run_from_until(root: Path, job_id: str, began: datetime.datetime, ended: datetime.datetime) -> None:
    """Leave a run that took that long as its runner does, and record it."""
    from hermes_oscron.runs.finish import finish

    home = job_home(root)
    run_lock = lock.acquire(home, job_id)
    assert run_lock
    run = Run(job_id, began.timestamp(), "schedule", due=began.timestamp())
    run_lock.write(run)
    finish(home, run._replace(result=Result(ended.timestamp(), None)))
    run_lock.release()


def test_occurrences_that_were_missed_have_rows_and_one_run(root: Path) -> None:
    job_id = make_script(root, "true\n", schedule="every 1h")
    due = datetime.datetime.now(UTC).replace(microsecond=0) - datetime.timedelta(hours=3, minutes=10)
    note_since(root, job_id, due - datetime.timedelta(minutes=10), due)
    fire(job_id)
    assert outcomes(root, job_id) == ["ok", "missed", "missed", "missed"]
    assert rows(root, job_id)[0].trigger == "catch-up"
    assert discrepancies(root) == []


def test_a_start_that_a_pause_of_hermes_prevents_has_a_row_which_the_later_run_takes(root: Path) -> None:
    job_id = make_script(root, "true\n", schedule="* * * * *")
    due = due_a_minute_ago(root, job_id)
    (root / "ESTOP").touch()
    fire(job_id)
    assert [(row.due, row.outcome, row.reason) for row in rows(root, job_id)] == [
        (due, "skipped", "Hermes was paused.")]
    (root / "ESTOP").unlink()
    fire(job_id)
    found = rows(root, job_id)
    assert (found[0].due, found[0].outcome, found[0].reason) == (due, "ok", None)
    assert discrepancies(root) == []


def test_a_run_goes_on_without_a_ledger_and_is_entered_later(root: Path, home: Home) -> None:
    job_id = make_script(root, "echo fine\n")
    os.unlink(home.state.ledger)
    os.mkdir(home.state.ledger)
    assert fire(job_id, *MANUAL).returncode == 0
    assert record(root, job_id)["last_status"] == "ok" and len(os.listdir(home.state.unentered)) == 1
    os.rmdir(home.state.ledger)
    bookkeeping.keep(home, datetime.datetime.now(UTC))
    assert outcomes(root, job_id) == ["ok"] and os.listdir(home.state.unentered) == []


def test_a_job_deleted_during_its_run_keeps_its_row(root: Path) -> None:
    job_id = make_script(root, SLEEPER)
    with firing(job_id, *MANUAL) as runner:
        pid_in(root / "started")
        wait_for(lambda: rows(root, job_id))
        service(root).delete(job_id)
        bookkeeping.keep(job_home(root), datetime.datetime.now(UTC))
        assert outcomes(root, job_id) == [None], "its runner lives"
        runner.terminate()
        runner.wait(15)
    assert outcomes(root, job_id) == ["stopped"] and discrepancies(root) == []


def test_a_deleted_job_whose_runner_was_killed_is_interrupted(root: Path, home: Home) -> None:
    job_id = make_script(root, SLEEPER)
    with firing(job_id, *MANUAL) as runner:
        job = pid_in(root / "started")
        wait_for(lambda: rows(root, job_id))
        service(root).delete(job_id)
        runner.kill()
        runner.wait()
    kill(job)
    bookkeeping.keep(home, datetime.datetime.now(UTC))
    assert outcomes(root, job_id) == ["interrupted"]


@pytest.mark.parametrize("damage", ["delete", "overwrite"])
def test_a_lost_ledger_is_rebuilt_from_the_outputs(root: Path, home: Home, damage: str) -> None:
    job_id = make_script(root, "echo fine\n")
    broken = make_script(root, "exit 1\n", file="broken.sh")
    fire(job_id, *MANUAL)
    fire(broken, *MANUAL)
    if damage == "delete":
        os.unlink(home.state.ledger)
    else:
        Path(home.state.ledger).write_bytes(b"nothing like a database" * 1000)
    reconciler(root).sync()
    assert (outcomes(root, job_id), outcomes(root, broken)) == (["ok"], ["error"])
    assert rows(root, job_id)[0].output == outputs.filenames(home, job_id)[0]
    assert discrepancies(root) == []
    assert os.path.exists(f"{home.state.ledger}.damaged") == (damage == "overwrite")


def test_a_run_of_another_scheduler_is_found_by_its_output(root: Path, home: Home) -> None:
    job_id = make_script(root, "true\n", schedule="every 1h")
    due = datetime.datetime.now(UTC).replace(microsecond=0) - datetime.timedelta(minutes=10)
    note_since(root, job_id, due - datetime.timedelta(minutes=50), due)
    name = outputs.write(home, job_id, due, "# Cron Job: x\n\n**Duration:** 2.0s\n\n## Response\n\nhello\n")
    path = root / "cron" / "output" / job_id / name
    os.utime(path, (due.timestamp() + 3, due.timestamp() + 3))
    change_record(root, job_id, next_run_at=(due + datetime.timedelta(hours=1)).isoformat())
    bookkeeping.keep(home, datetime.datetime.now(UTC))
    [row] = rows(root, job_id)
    assert (row.due, row.outcome, row.output) == (due.timestamp(), "ok", name)
    assert discrepancies(root) == []


def test_a_second_run_for_one_time_is_another_attempt(root: Path, home: Home) -> None:
    with ledger.writing(home) as books:
        for started in (100.5, 101.5):
            ledger.end_row(books, ledger.begin_row(books, "a", "", "schedule", 100.0, started),
                           ledger.End(started + 0.1, "ok"))
    assert [(row.due, row.attempt, row.seq) for row in rows(root)] == [(100.0, 1, 1), (100.0, 2, 2)]


def test_a_time_that_comes_again_after_the_clock_was_set_back_has_that_reason(root: Path, home: Home) -> None:
    with ledger.writing(home) as books:
        for due, started in ((3600.0, 3600.5), (7200.0, 7200.5), (3600.0, 3600.7)):
            row = ledger.begin_row(books, "a", "", "schedule", due, started)
            ledger.end_row(books, row, ledger.End(started + 0.1, "ok"))
    assert rows(root)[1].reason == ledger.CLOCK_SET_BACK


def test_the_ledger_is_private(root: Path, home: Home) -> None:
    make_script(root, "true\n")
    assert os.stat(home.state.ledger).st_mode & 0o777 == 0o600


def test_an_unknown_job_does_not_damage_the_ledger(root: Path, home: Home) -> None:
    write_jobs(root, {"id": "bad", "schedule": {"kind": "moon"}}, {"id": "worse", "schedule": "x", "state": []})
    bookkeeping.keep(home, datetime.datetime.now(UTC))
    assert rows(root) == [] and discrepancies(root) == []


def test_make_due_of_long_ago_is_one_run(root: Path) -> None:
    """A time from before the ledger had the job is not an orphan."""
    job_id = make_script(root, "true\n")
    make_due(root, job_id)
    fire(job_id)
    assert outcomes(root, job_id) == ["ok"] and discrepancies(root) == []


def test_a_ledger_is_not_created_by_reading(root: Path, home: Home) -> None:
    with ledger.reading(home) as books:
        assert ledger.select(books, "TRUE") == []
    assert not os.path.exists(home.state.ledger)


ORDER = """
import sys
from hermes_oscron.runner import main
sys.addaudithook(lambda event, arguments: event in ("subprocess.Popen", "sqlite3.connect", "import") and (
    event != "import" or arguments[0] == "sqlite3") and print("EVENT", event, flush=True))
sys.exit(main.main([sys.argv[1]]))
"""


def test_the_ledger_is_not_even_imported_before_the_job_starts(root: Path) -> None:
    job_id = make_script(root, "true\n")
    make_due(root, job_id)
    ended = subprocess.run([sys.executable, "-c", ORDER, f"default:{job_id}"], check=True, capture_output=True,
                           text=True, timeout=30)
    events = [line.removeprefix("EVENT ") for line in ended.stdout.splitlines() if line.startswith("EVENT ")]
    assert events == ["subprocess.Popen", "import", "sqlite3.connect", "sqlite3.connect"]


def test_a_missed_occurrence_without_catch_up_has_that_reason(root: Path) -> None:
    (root / "config.yaml").write_text("cron:\n  catch_up_missed: false\n")
    job_id = make_script(root, "true\n", schedule="every 10h")
    due = datetime.datetime.now(UTC).replace(microsecond=0) - datetime.timedelta(hours=4)
    note_since(root, job_id, due - datetime.timedelta(hours=1), due)
    assert "catch_up_missed is false" in fire(job_id).stdout
    [row] = rows(root, job_id)
    assert (row.due, row.outcome, row.reason) == (
        due.timestamp(), "missed", "It was missed, and cron.catch_up_missed is false.")
    assert discrepancies(root) == []


@contextlib.contextmanager
def no_ledger(home: Home) -> Iterator[None]:
    """There is a folder where the ledger should be."""
    if os.path.exists(home.state.ledger):
        os.unlink(home.state.ledger)
    os.mkdir(home.state.ledger)
    yield
    os.rmdir(home.state.ledger)


def test_a_deleted_job_that_ends_without_a_ledger_is_entered_later(root: Path, home: Home) -> None:
    job_id = make_script(root, SLEEPER)
    with no_ledger(home), firing(job_id, *MANUAL) as runner:
        pid_in(root / "started")
        service(root).delete(job_id)
        runner.terminate()
        runner.wait(15)
    bookkeeping.keep(home, datetime.datetime.now(UTC))
    assert outcomes(root, job_id) == ["stopped"] and os.listdir(home.state.unentered) == []


NOW = float(int(time.time()))


def recorded(root: Path, job_id: str, ended: float, **fields: object) -> None:
    """Give the job the record of a run that `ended`."""
    change_record(root, job_id, last_run_at=datetime.datetime.fromtimestamp(ended, UTC).isoformat(), **fields)


def test_a_run_that_the_agent_recorded_keeps_its_own_end_while_it_waits_to_be_entered(root: Path, home: Home) -> None:
    """By the time at which it is entered, the record is that of a later run."""
    job_id = make_script(root, "true\n")
    run_lock = lock.acquire(home, job_id)
    assert run_lock
    run = Run(job_id, NOW - 60, "manual", result=Result(NOW - 51, "no trace", by_agent=True))
    run_lock.write(run)
    with no_ledger(home):
        recorded(root, job_id, NOW - 53, last_status="ok")
        enter_end(home, run, job_store.find(home, job_id))
    run_lock.release()
    recorded(root, job_id, NOW - 20, last_status="error", last_error="x")
    bookkeeping.keep(home, datetime.datetime.now(UTC))
    row, later = rows(root, job_id)
    assert (row.started, row.ended, row.outcome) == (NOW - 60, NOW - 53, "ok")
    assert (later.ended, later.outcome) == (NOW - 20, "error")


def test_a_lost_end_is_not_that_of_a_later_run(root: Path, home: Home) -> None:
    job_id = make_script(root, "true\n")
    with ledger.writing(home) as books:
        ledger.begin_row(books, job_id, "", "manual", NOW - 60, NOW - 60)
        later = ledger.begin_row(books, job_id, "", "manual", NOW - 40, NOW - 40)
        ledger.end_row(books, later, ledger.End(NOW - 30, "ok"))
    recorded(root, job_id, NOW - 30, last_status="ok")
    bookkeeping.keep(home, datetime.datetime.now(UTC))
    assert [(row.ended, row.outcome) for row in rows(root, job_id)] == [
        (NOW - 60, "interrupted"), (NOW - 30, "ok")]


def test_a_run_of_another_scheduler_is_skipped_also_if_it_is_entered_later(root: Path, home: Home) -> None:
    job_id = make_script(root, "true\n")
    run_lock = lock.acquire(home, job_id)
    assert run_lock
    run = Run(job_id, NOW - 60, "manual", result=Result(NOW - 59, "Another one has it.", outcome="skipped"))
    run_lock.write(run)
    with no_ledger(home):
        enter_end(home, run, job_store.find(home, job_id))
    run_lock.release()
    bookkeeping.keep(home, datetime.datetime.now(UTC))
    assert [(row.outcome, row.reason) for row in rows(root, job_id)] == [("skipped", "Another one has it.")]


def test_a_value_that_this_version_does_not_know_stops_no_run(root: Path, home: Home) -> None:
    job_id = make_script(root, "true\n")
    with ledger.writing(home) as books:
        books.execute("UPDATE schedules SET zone = 'Moon/Base', since = since - 90000")
    assert fire(job_id, *MANUAL).returncode == 0
    assert record(root, job_id)["last_status"] == "ok" and len(os.listdir(home.state.unentered)) == 1
    with pytest.raises(ledger.LedgerError, match="cannot be used: ZoneInfoNotFoundError"):
        bookkeeping.keep(home, datetime.datetime.now(UTC))


def test_a_row_that_ends_again_keeps_its_place(root: Path, home: Home) -> None:
    """Clients that poll get it once, though the runner was killed between the ledger and its own file."""
    with ledger.writing(home) as books:
        first, second = (ledger.begin_row(books, "a", "", "manual", due, due) for due in (100.5, 200.5))
        for row in (first, second, first):
            ledger.end_row(books, row, ledger.End(300.0, "ok"))
    assert [row.seq for row in rows(root)] == [1, 2]


@pytest.mark.parametrize(("query", "index"), [
    (f"SELECT {ledger.LAST_SEQ}", "in_order"),
    ("SELECT * FROM runs WHERE outcome = ? ORDER BY due DESC, id DESC LIMIT 51", "by_outcome"),
    ("SELECT * FROM runs WHERE trigger = ? ORDER BY due DESC, id DESC LIMIT 51", "by_trigger"),
    ("SELECT * FROM runs WHERE job = ? AND output IN (?, ?)", "by_output"),
    ("SELECT * FROM runs WHERE seq > ? AND started IS NOT NULL ORDER BY seq LIMIT 500", "in_order"),
    ("SELECT * FROM runs WHERE seq IS NOT NULL AND started IS NOT NULL ORDER BY seq DESC LIMIT 500", "in_order"),
    ("SELECT * FROM runs WHERE outcome IS NULL", "by_outcome"),
])
def test_no_query_of_a_run_or_a_client_reads_the_whole_table(home: Home, query: str, index: str) -> None:
    with ledger.reading(home) as books:
        plan = [row[3] for row in books.execute(f"EXPLAIN QUERY PLAN {query}", ["x"] * query.count("?"))]
    assert any(index in step for step in plan) and "TEMP B-TREE" not in " ".join(plan), plan


def test_an_answer_from_the_ledger_reads_few_rows_however_many_there_are(
        home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work of SQLite is counted in thousands of steps, which no load of the machine changes."""
    since = 1_800_000_000.0
    with ledger.writing(home) as books:
        ledger.set_fact(books, ledger.COMPLETE_SINCE, since)
        generation = ledger.fact(books, "generation")
        books.executemany(
            "INSERT INTO runs (job, trigger, due, started, ended, outcome, usage, output, seq) "
            "VALUES (?, ?, ?, ?, ?, ?, '{\"total_tokens\": 5}', ?, ?)",
            ((f"job{n % 5}", "manual" if n % 7 == 0 else "schedule", since + n, since + n, since + n + 0.5,
              "error" if n % 9 == 0 else "ok", f"{n}.md", n + 1) for n in range(ROWS)))
    steps, connect = [0], sqlite3.connect

    def count() -> None:
        steps[0] += 1

    def counted(*given: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*given, **options)
        connection.set_progress_handler(count, 1000)
        return connection

    def used() -> float:
        with ledger.reading(home) as books:
            return used_since(books, "job3", since + ROWS - 50, "total_tokens")

    monkeypatch.setattr(sqlite3, "connect", counted)
    last = since + ROWS
    for question in (
            lambda: of_outputs(home, "job3", [f"{n}.md" for n in range(3, 250, 5)]),
            lambda: of_outputs(home, "job3", ["8.md"]),
            lambda: ended(home, last - 9),
            lambda: ended(home, 0, f"{generation}-{ROWS - 9}")[0],
            lambda: listed(home, Filter(), None, 50).runs,
            lambda: listed(home, Filter(job_id="job3", since=last - 50), None, 50).runs,
            lambda: listed(home, Filter(), f"{since + 60!r}_60", 50).runs,
            lambda: rows_of(home, "job3", 50), used):
        steps[0] = 0
        assert question()
        assert steps[0] < 30, (question, steps)


def test_all_jobs_are_accounted_for_some_at_a_time(root: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeping, "JOBS_AT_ONCE", 2)
    now = datetime.datetime.now(UTC)
    write_jobs(root, *({"id": f"job{n}", "prompt": "p", "schedule": {"kind": "cron", "expr": "0 * * * *"},
                        "next_run_at": (now + datetime.timedelta(hours=2)).isoformat()} for n in range(5)))
    long_ago = now - datetime.timedelta(hours=1, seconds=1)
    bookkeeping.note_changes(home, job_store.read(home), long_ago, long_ago)
    bookkeeping.keep(home, now)
    assert sorted({row.job for row in rows(root)}) == [f"job{n}" for n in range(5)]
