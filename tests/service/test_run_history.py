"""The parts of the ledger and of the time to come that a timeline shows."""

import datetime
from itertools import takewhile
from pathlib import Path

import pytest

from hermes_oscron.hermes import job_store
from hermes_oscron.hermes.home import Home
from hermes_oscron.runs import ledger
from hermes_oscron.runs.ledger import End
from hermes_oscron.schedule.occurrences import occurrences
from hermes_oscron.schedulers.active import set_disarmed
from hermes_oscron.service import run_history
from hermes_oscron.service.run_history import Span

from ..conftest import write_jobs

NOW = datetime.datetime(2027, 3, 10, 12, 0, 30, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
MOST, PARTS = 36, 48


def run(home: Home, job: str, due: float, took: float | None, outcome: str = "ok") -> None:
    """Enter a run that began at `due`; without `took` it is in progress."""
    with ledger.writing(home) as books:
        row = ledger.begin_row(books, job, f"name of {job}", "schedule", due, due)
        if took is not None:
            ledger.end_row(books, row, End(due + took, outcome, f"{outcome} at {due:.0f}"))


def record(expr: str) -> dict[str, object]:
    return {"id": "a", "name": "a", "prompt": "x", "enabled": True, "state": "scheduled",
            "schedule": {"kind": "cron", "expr": expr, "display": expr}}


def test_spans_are_those_that_reach_into_the_time(home: Home) -> None:
    for due, took in ((100, 10), (150, 60), (250, 5), (290, None), (301, 1)):
        run(home, "a", due, took)
    run(home, "b", 250, 1)
    with ledger.writing(home) as books:
        ledger.insert_not_run(books, "a", "a", 260, "missed", "off")
    found = list(run_history.spans(home, ["a", "c"], 200, 300))
    assert [(span.due, span.end, span.outcome) for span in found] == [
        (150, 210, "ok"), (250, 255, "ok"), (260, 260, "missed"), (290, None, None)]
    assert found[0] == Span("a", 150, 150, 210, "ok")


def test_spans_of_many_jobs(home: Home) -> None:
    jobs = [f"j{n}" for n in range(1201)]
    for job in (jobs[0], jobs[600], jobs[1200]):
        run(home, job, 250, 1)
    assert len(list(run_history.spans(home, jobs, 200, 300))) == 3


def test_failures_are_grouped_by_job_and_the_last_one_counts(home: Home) -> None:
    for due, outcome in ((100, "error"), (200, "timeout"), (300, "ok"), (310, "stopped"), (50, "error")):
        run(home, "a", due, 1, outcome)
    run(home, "b", 400, 1, "interrupted")
    with ledger.writing(home) as books:
        ledger.insert_not_run(books, "b", "b", 450, "missed", "off")
    found = run_history.failures(home, 60)
    assert [(each.job, each.number, each.due, each.outcome, each.reason) for each in found] == [
        ("b", 1, 400, "interrupted", "interrupted at 400"), ("a", 2, 200, "timeout", "timeout at 200")]
    assert [(each.job, each.due) for each in run_history.missed(home, 60)] == [("b", 450)]


@pytest.mark.parametrize("expr", ["0 9 * * *", "0 * * * *", "*/30 * * * *", "* * * * *", "* 3 * * *", "*/5 9-17 * * *"])
def test_the_times_to_come(root: Path, home: Home, expr: str) -> None:
    write_jobs(root, record(expr))
    [job] = job_store.read(home)
    assert job.schedule
    due = list(takewhile(lambda moment: moment <= NOW + DAY, occurrences(job.schedule, NOW, job.zone)))
    found = run_history.coming(home, [job], NOW, NOW + DAY, MOST, PARTS)["a"]
    assert found.is_sampled == (len(due) > MOST)
    if not found.is_sampled:
        assert found.times == [moment.timestamp() for moment in due]
        return
    part = DAY / PARTS
    first: dict[int, float] = {}
    for moment in due:
        first.setdefault((moment - NOW) // part, moment.timestamp())
    assert found.times == list(first.values())


def test_nothing_comes_while_the_jobs_are_disarmed(root: Path, home: Home) -> None:
    write_jobs(root, record("0 * * * *"))
    set_disarmed(str(root), True)
    assert run_history.coming(home, job_store.read(home), NOW, NOW + DAY, MOST, PARTS) == {}
