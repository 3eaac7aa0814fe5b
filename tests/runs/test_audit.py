"""The audit compares the ledger with every version of a job's schedule."""

import datetime
import json
import os
from pathlib import Path

import pytest

from hermes_oscron.hermes import job_store, outputs
from hermes_oscron.hermes.home import Home
from hermes_oscron.runs import ledger, schedule_versions
from hermes_oscron.runs.audit import audit
from hermes_oscron.runs.rebuild import rebuild
from hermes_oscron.runs.schedule_versions import Version
from hermes_oscron.service import bookkeeping
from tests.conftest import write_jobs
from tests.service.world import DAILY_JOB

from .ledgers import add_session, discrepancies, outcomes, rows

UTC = datetime.UTC
START = datetime.datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
HOUR, DAY = datetime.timedelta(hours=1), datetime.timedelta(days=1)


@pytest.fixture
def daily(root: Path, home: Home) -> str:
    """A job that is due daily at nine, since START, and next on the third day."""
    write_jobs(root, {**DAILY_JOB, "next_run_at": (START + 2 * DAY + HOUR).isoformat()})
    bookkeeping.note_changes(home, [job_store.find(home, "a")], START, START)
    return "a"


def ran(home: Home, due: datetime.datetime, trigger: str = "schedule", late_s: float = 0.5) -> None:
    """Enter a run of the job `a` for the time `due`."""
    started = due.timestamp() + late_s
    with ledger.writing(home) as books:
        ledger.end_row(books, ledger.begin_row(books, "a", "", trigger, due.timestamp(), started),
                       ledger.End(started + 1, "ok"))


def kinds(root: Path, now: datetime.datetime) -> list[tuple[str, datetime.datetime]]:
    return [(each.kind, datetime.datetime.fromtimestamp(each.time, UTC)) for each in discrepancies(root, now)]


def test_occurrences_without_a_run_are_decided_as_missed(root: Path, home: Home, daily: str) -> None:
    ran(home, START + HOUR)
    now = START + 2 * DAY
    assert kinds(root, now) == [] and outcomes(root) == ["ok", "missed"]


def test_a_row_that_is_gone_is_missing(root: Path, home: Home, daily: str) -> None:
    ran(home, START + HOUR)
    now = START + 2 * DAY
    bookkeeping.keep(home, now)
    with ledger.writing(home) as books:
        books.execute("DELETE FROM runs WHERE outcome = 'missed'")
    assert kinds(root, now) == [("missing", START + DAY + HOUR)]


def test_a_second_run_of_a_time_is_a_duplicate(root: Path, home: Home, daily: str) -> None:
    ran(home, START + HOUR)
    ran(home, START + HOUR, late_s=60)
    assert kinds(root, START + DAY) == [("duplicate", START + HOUR)]


def test_a_run_during_another_is_a_duplicate(root: Path, home: Home, daily: str) -> None:
    with ledger.writing(home) as books:
        first = ledger.begin_row(books, "a", "", "schedule", (START + HOUR).timestamp(), (START + HOUR).timestamp())
        second = ledger.begin_row(books, "a", "", "manual", (START + HOUR).timestamp() + 5.5,
                                  (START + HOUR).timestamp() + 5.5)
        ledger.end_row(books, second, ledger.End((START + HOUR).timestamp() + 6, "ok"))
        ledger.end_row(books, first, ledger.End((START + HOUR).timestamp() + 60, "ok"))
    assert [kind for kind, _ in kinds(root, START + DAY)] == ["duplicate"]


def test_a_scheduled_run_at_a_time_of_no_schedule_is_an_orphan(root: Path, home: Home, daily: str) -> None:
    ran(home, START + HOUR)
    ran(home, START + 3 * HOUR)
    ran(home, START + 4 * HOUR, trigger="manual")
    assert kinds(root, START + DAY) == [("orphan", START + 3 * HOUR)]


def test_a_row_in_progress_without_a_run_is_ended_by_the_books(root: Path, home: Home, daily: str) -> None:
    with ledger.writing(home) as books:
        ledger.begin_row(books, "a", "", "schedule", (START + HOUR).timestamp(), (START + HOUR).timestamp() + 0.5)
    assert kinds(root, START + DAY) == [] and outcomes(root) == ["interrupted"]


def test_an_output_without_a_row_is_missing(root: Path, home: Home, daily: str) -> None:
    bookkeeping.keep(home, START + 2 * HOUR)
    folder = root / "cron" / "output" / "a"
    folder.mkdir(parents=True)
    (folder / "2026-03-02_12-00-00.md").write_text("# Cron Job: a\n")
    noon = (START + 4 * HOUR).timestamp()
    os.utime(folder / "2026-03-02_12-00-00.md", (noon, noon))
    [found] = discrepancies(root, START + 5 * HOUR)
    assert found.kind == "missing" and "2026-03-02_12-00-00.md" in found.sentence


def test_a_run_of_another_scheduler_at_any_time_has_a_row(root: Path, home: Home, daily: str) -> None:
    """Only its record, and its output if there is one, show it."""
    ran(home, START + HOUR)
    bookkeeping.keep(home, START + 2 * HOUR)
    last = START + 4 * HOUR
    job_store.change(home, "a", lambda job: job.with_fields({"last_run_at": last.isoformat(), "last_status": "ok"}))
    assert kinds(root, START + 5 * HOUR) == []
    assert [(row.trigger, row.ended, row.outcome) for row in rows(root)][1:] == [("manual", last.timestamp(), "ok")]
    last = START + 6 * HOUR
    name = outputs.write(home, "a", last, "# Cron Job: a\n\n**Duration:** 60.0s\n\n## Response\n\nx\n")
    os.utime(root / "cron" / "output" / "a" / name, (last.timestamp(),) * 2)
    job_store.change(home, "a", lambda job: job.with_fields({"last_run_at": last.isoformat(), "last_status": "ok"}))
    assert kinds(root, START + 7 * HOUR) == []
    assert [(row.started, row.output) for row in rows(root)][2:] == [(last.timestamp() - 60, name)]


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_run_of_the_gateway_has_the_usage_of_its_session(root: Path, home: Home, is_lost: bool) -> None:
    """Also if the ledger was lost; the session of a run that was cut off, and of which no row is known, is not its."""
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": {"kind": "cron", "expr": "0 * * * *"},
                      "next_run_at": (START + 6 * HOUR).isoformat()})
    bookkeeping.note_changes(home, [job_store.find(home, "a")], START, START)
    ends = [START + number * HOUR + datetime.timedelta(minutes=5) for number in (1, 2, 4)]
    for number, end in enumerate(ends):
        name = outputs.write(home, "a", end, "# Cron Job: a\n\n## Response\n\nx\n")
        os.utime(root / "cron" / "output" / "a" / name, (end.timestamp(),) * 2)
        if number != 1:
            add_session(root, "a", end.timestamp() - 240, 100 + number)
    add_session(root, "a", (START + 3 * HOUR).timestamp() + 1, 7)
    if is_lost:
        os.unlink(home.state.ledger)
        with ledger.writing(home):
            pass
        rebuild(home, {job.id: job for job in job_store.read(home)})
    else:
        bookkeeping.keep(home, START + 5 * HOUR)
    assert [json.loads(row.usage or "{}").get("total_tokens") for row in rows(root) if row.started] == [100, None, 102]


def test_a_run_that_claimed_the_job_first_takes_the_row_of_the_one_that_was_skipped(
        root: Path, home: Home, daily: str) -> None:
    due = (START + HOUR).timestamp()
    with ledger.writing(home) as books:
        row = ledger.begin_row(books, "a", "", "schedule", due, due + 2)
        ledger.end_row(books, row, ledger.End(due + 9, "skipped", "Another scheduler has it."))
    bookkeeping.keep(home, START + 2 * HOUR)
    assert outcomes(root) == ["skipped"]
    last = START + HOUR + datetime.timedelta(seconds=5)
    name = outputs.write(home, "a", last, "# Cron Job: a\n\n**Duration:** 4.0s\n\n## Response\n\nx\n")
    os.utime(root / "cron" / "output" / "a" / name, (last.timestamp(),) * 2)
    job_store.change(home, "a", lambda job: job.with_fields({"last_run_at": last.isoformat(), "last_status": "ok"}))
    assert kinds(root, START + 3 * HOUR) == []
    assert [(row.trigger, row.due, row.started, row.outcome, row.output) for row in rows(root)] == [
        ("schedule", due, due + 1, "ok", name)]


def test_a_run_that_was_cut_off_is_not_one_of_another_scheduler(root: Path, home: Home, daily: str) -> None:
    """Its end is its begin, and the record has microseconds only."""
    cut_off = (START + HOUR).timestamp()
    with ledger.writing(home) as books:
        row = ledger.begin_row(books, "a", "", "schedule", cut_off, cut_off + 4e-7)
        ledger.end_row(books, row, ledger.End(cut_off + 4e-7, "interrupted"))
    job_store.change(home, "a", lambda job: job.with_fields({"last_run_at": (START + HOUR).isoformat()}))
    assert kinds(root, START + 2 * HOUR) == [] and outcomes(root) == ["interrupted"]


def test_a_run_that_only_jobs_json_has_is_missing(root: Path, home: Home, daily: str) -> None:
    ran(home, START + HOUR)
    last = START + 4 * HOUR
    job_store.change(home, "a", lambda job: job.with_fields({"last_run_at": last.isoformat()}))
    bookkeeping.keep(home, last + HOUR)
    with ledger.writing(home) as books:
        books.execute("DELETE FROM runs WHERE ended = ?", (last.timestamp(),))
    with ledger.reading(home) as books:
        job = job_store.find(home, "a")
        audited = audit(home, books, {"a": job}, "a", 0.0, (last + HOUR).timestamp())
    assert audited
    [found] = audited.discrepancies
    assert found.kind == "missing" and "jobs.json" in found.sentence


def test_each_version_of_a_schedule_counts_while_it_held(root: Path, home: Home, daily: str) -> None:
    versions = [("scheduled", "0 9 * * *", 0), ("scheduled", "0 10 * * *", 5), ("paused", "0 10 * * *", 30),
                ("scheduled", "0 10 * * *", 60), ("disarmed", "0 10 * * *", 80)]
    found = [Version("a", (START + hours * HOUR).timestamp(), state, "cron", expression, "UTC")
             for state, expression, hours in versions]
    due = [datetime.datetime.fromtimestamp(each, UTC) for each in
           schedule_versions.due_between(found, START.timestamp(), (START + 200 * HOUR).timestamp())]
    assert due == [START + HOUR, START + DAY + 2 * HOUR, START + 3 * DAY + 2 * HOUR]


def test_a_change_of_a_schedule_is_noted_and_the_old_one_still_counts(root: Path, home: Home, daily: str) -> None:
    changed = START + 5 * HOUR
    write_jobs(root, {**DAILY_JOB, "schedule": {"kind": "cron", "expr": "0 20 * * *", "display": "x"},
                      "next_run_at": (START + 12 * HOUR).isoformat()})
    os.utime(home.jobs_file, (changed.timestamp(), changed.timestamp()))
    bookkeeping.keep(home, changed + HOUR)
    with ledger.reading(home) as books:
        assert [(each.since, each.expression) for each in schedule_versions.of_job(books, "a")] == [
            (START.timestamp(), "0 9 * * *"), (changed.timestamp(), "0 20 * * *")]
    ran(home, START + HOUR)
    ran(home, START + 12 * HOUR)
    job_store.change(home, "a", lambda job: job.with_fields({"next_run_at": (START + 36 * HOUR).isoformat()}))
    assert kinds(root, START + DAY) == []


def test_a_paused_a_resumed_and_a_deleted_job_are_due_only_in_between(root: Path, home: Home, daily: str) -> None:
    job = job_store.find(home, "a")
    for hours, fields in ((2, {"enabled": False, "state": "paused"}), (50, {"enabled": True, "state": "scheduled"})):
        bookkeeping.note_changes(home, [job.with_fields(fields)], START + hours * HOUR, START + hours * HOUR)
    ran(home, START + HOUR)
    ran(home, START + 3 * DAY + HOUR)
    write_jobs(root)
    bookkeeping.note_deleted(home, "a", START + 3 * DAY + 2 * HOUR)
    os.utime(home.jobs_file, ((START + 80 * HOUR).timestamp(),) * 2)
    assert kinds(root, START + 9 * DAY) == [] and outcomes(root) == ["ok", "ok"]


def test_an_interval_that_is_moved_is_another_version(root: Path, home: Home) -> None:
    interval = {**DAILY_JOB, "schedule": {"kind": "interval", "minutes": 60, "display": "x"}}
    write_jobs(root, {**interval, "next_run_at": (START + HOUR).isoformat()})
    job = job_store.find(home, "a")
    bookkeeping.note_changes(home, [job], START, START)
    same = job.with_fields({"next_run_at": (START + 5 * HOUR).isoformat()})
    bookkeeping.note_changes(home, [same], START + HOUR, START + HOUR)
    moved = job.with_fields({"next_run_at": (START + 5.5 * HOUR).isoformat()})
    bookkeeping.note_changes(home, [moved], START + 2.7 * HOUR, START + 2.7 * HOUR)
    with ledger.reading(home) as books:
        versions = schedule_versions.of_job(books, "a")
    assert len(versions) == 2
    due = schedule_versions.due_between(versions, START.timestamp(), (START + 4 * HOUR).timestamp())
    assert [(each - START.timestamp()) / 3600 for each in due] == [1, 2, 3.5]


def test_a_clock_that_was_ahead_leaves_nothing_that_is_to_come(root: Path, home: Home, daily: str) -> None:
    job_store.change(home, "a", lambda job: job.with_fields({"next_run_at": (START + 300 * DAY).isoformat()}))
    bookkeeping.keep(home, START + 100 * DAY)
    assert len(rows(root)) == 100
    job_store.change(home, "a", lambda job: job.with_fields({"next_run_at": (START + DAY + HOUR).isoformat()}))
    bookkeeping.keep(home, START + DAY)
    assert outcomes(root) == ["missed"]
    ran(home, START + DAY + HOUR)
    job_store.change(home, "a", lambda job: job.with_fields({"next_run_at": (START + 2 * DAY + HOUR).isoformat()}))
    assert kinds(root, START + 2 * DAY) == []


def test_a_minutely_job_that_missed_a_month_has_its_last_thousand_rows(root: Path, home: Home) -> None:
    now = START + 30 * DAY
    write_jobs(root, {**DAILY_JOB, "schedule": {"kind": "cron", "expr": "* * * * *", "display": "x"},
                      "next_run_at": (now + HOUR).isoformat()})
    bookkeeping.note_changes(home, [job_store.find(home, "a")], START, START)
    bookkeeping.keep(home, now)
    assert 0 < len(rows(root)) <= 1000 and kinds(root, now) == []


def test_retention_removes_old_rows_and_the_audit_begins_later(root: Path, home: Home, daily: str) -> None:
    (root / "oscron.toml").write_text("[history]\ndays = 3\nruns_per_job = 2\n")
    for day in range(5):
        ran(home, START + day * DAY + HOUR)
    job_store.change(home, "a", lambda job: job.with_fields({"next_run_at": (START + 9 * DAY).isoformat()}))
    now = START + 5 * DAY
    bookkeeping.keep(home, now)
    assert [row.due for row in rows(root)] == [(START + day * DAY + HOUR).timestamp() for day in (3, 4)]
    assert kinds(root, now) == []


def test_retention_keeps_the_rows_that_a_budget_counts(root: Path, home: Home, daily: str) -> None:
    (root / "oscron.toml").write_text("[history]\ndays = 3\nruns_per_job = 2\n")
    for day in range(5):
        ran(home, START + day * DAY + HOUR)
    for policy, kept, hours in (({"budget": "1 USD per month"}, 5, 0), ({}, 2, 2)):
        job_store.change(home, "a", lambda job, policy=policy: job.with_fields(  # type: ignore[misc]
            {"next_run_at": (START + 9 * DAY).isoformat(), "policy": policy}))
        bookkeeping.keep(home, START + 5 * DAY + hours * HOUR)
        assert len(rows(root)) == kept
        assert kinds(root, START + 5 * DAY + hours * HOUR) == []
