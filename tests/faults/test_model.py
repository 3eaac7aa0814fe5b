"""The judge of the fault injection on a machine (tests/machine/model.py) finds each kind of mistake."""

from collections import Counter

import pytest

from tests.machine.model import Call, Change, Evidence, Fault, Record, Row, Run, Schedule, judge

MINUTELY = Schedule(0, 60)
UNTIL = 300.0


def run(start: float, seconds: float = 2.0, code: int = 0, killed: bool = False) -> Run:
    return Run(f"token{start:.0f}", start, None if killed else start + seconds, code, 1, seconds)


def record_of(run: Run) -> Record:
    assert run.end
    return Record(run.end + 0.1, *(("error", f"exited with code {run.code}.") if run.code else ("ok", "")))


def evidence(runs: list[Run], *, schedule: Schedule = MINUTELY, records: list[Record] | None = None,
             **others: object) -> Evidence:
    """A job that exists from 30 on, with `runs` that are recorded as they were unless `records` are given."""
    if records is None:
        records = [record_of(run) for run in runs if run.end]
    outputs = [f"# {run.token}" for run in runs if run.end]
    return Evidence(**{"name": "job", "late_s": 5.0, "changes": [Change(29.5, 30, schedule)], "runs": runs,
                       "records": records, "outputs": outputs, **others})  # type: ignore[arg-type]


def well() -> list[Run]:
    return [run(at + 0.3) for at in (60, 120, 180, 240)]


def found(job: Evidence) -> str:
    return "\n".join(judge(job, UNTIL - 10))


def test_a_correct_history_has_no_fault() -> None:
    tally: Counter[str] = Counter()
    assert judge(evidence(well()), UNTIL - 10, tally) == []
    assert tally == {"punctual": 4}


def test_the_calendar_counts_from_its_first_occurrence() -> None:
    assert Schedule(100, 60).due(0, 220) == [100, 160, 220]
    assert Schedule(100, 60).due(100, 219) == [160]
    assert Schedule(100, 0).due(99, 100) == [100] and Schedule(100, 0).due(100, 900) == []


def test_a_lost_occurrence_is_found() -> None:
    runs = well()
    del runs[1]
    assert "due at 120 and did not run" in found(evidence(runs))
    assert "due at 100 and did not run" in found(evidence([], schedule=Schedule(100, 0)))


def test_a_run_that_was_too_late_is_found() -> None:
    runs = well()
    runs[1] = run(150)
    assert "due at 120 and did not run" in found(evidence(runs))


def test_an_occurrence_delayed_by_a_fault_must_run_soon_after_it() -> None:
    delay = Fault(115, 140, "the disk was full", delays=True)
    runs = well()
    runs[1] = run(142)
    assert found(evidence(runs, faults=[delay])) == ""
    runs[1] = run(160)
    assert "not made up for by 145" in found(evidence(runs, faults=[delay]))
    del runs[1]
    assert "not made up for by 145" in found(evidence(runs, faults=[delay]))


def test_one_run_catches_up_several_occurrences_and_a_second_is_a_fault() -> None:
    off = Fault(100, 200, "the machine was off", delays=True)
    runs = [run(60.3), run(203), run(240.3)]
    assert found(evidence(runs, faults=[off])) == ""
    runs.insert(2, run(207))
    assert "ran at 207.00 (token207), for which nothing had asked" in found(evidence(runs, faults=[off]))


def test_a_doubled_occurrence_is_found() -> None:
    runs = well()
    runs.insert(2, run(124))
    assert "ran at 124.00 (token124), for which nothing had asked" in found(evidence(runs))


def test_two_runs_at_once_are_found() -> None:
    runs = well()
    runs.insert(2, run(121))
    assert "ran twice at once" in found(evidence(runs))


def test_an_occurrence_during_a_run_is_skipped() -> None:
    assert found(evidence([run(60.3, seconds=70), *well()[2:]])) == ""


def test_a_manual_run_runs_once_per_request() -> None:
    calls = [Call(70, 70.5)]
    runs = [run(60.3), run(70.8), *well()[1:]]
    assert found(evidence(runs, calls=calls)) == ""
    assert "was to run by hand at 70.00 and did not" in found(evidence(well(), calls=calls))
    runs.insert(2, run(75))
    assert "nothing had asked" in found(evidence(runs, calls=calls))


def test_a_paused_or_deleted_job_does_not_run() -> None:
    changes = [Change(29.5, 30, MINUTELY), Change(100, 100.5, None)]
    assert found(evidence(well()[:1], changes=changes)) == ""
    assert "ran at 120.30" in found(evidence(well()[:2], changes=changes))


def test_an_occurrence_during_a_change_may_run_or_not() -> None:
    changes = [Change(29.5, 30, MINUTELY), Change(119.5, 120.5, None)]
    assert found(evidence(well()[:1], changes=changes)) == found(evidence(well()[:2], changes=changes)) == ""


@pytest.mark.parametrize("record", [Record(122.4, "error", "interrupted: it was killed."),
                                    Record(122.4, "error", "exited with code 4."), Record(122.4, "error", "")])
def test_a_success_that_is_recorded_as_something_else_is_found(record: Record) -> None:
    records = [record_of(run) for run in well()]
    records[1] = record
    assert "recorded at 122.40" in found(evidence(well(), records=records))


def test_a_failure_that_is_recorded_as_success_or_by_another_code_is_found() -> None:
    runs = well()
    runs[1] = run(120.3, code=3)
    assert found(evidence(runs)) == ""
    for record in (Record(122.4, "ok", ""), Record(122.4, "error", "exited with code 4.")):
        assert "recorded at 122.40" in found(evidence(runs, records=[record_of(well()[0]), record,
                                                                     *map(record_of, runs[2:])]))


def test_a_killed_run_is_an_error_and_is_not_run_again() -> None:
    runs = well()
    runs[1] = run(120.3, killed=True)
    faults = [Fault(121, 121.1, "kill -9 of the runner", kills=True)]
    cut = Record(120.1, "error", "interrupted: it was killed.")
    records = [record_of(runs[0]), cut, *map(record_of, runs[2:])]
    assert found(evidence(runs, faults=faults, records=records)) == ""
    assert "recorded at 122.00" in found(evidence(runs, faults=faults, records=[*records, Record(122, "ok", "")]))
    again = [*runs[:2], run(125), *runs[2:]]
    assert "ran at 125.00" in found(evidence(again, faults=faults, records=[*records, record_of(run(125))]))


def test_a_killed_run_without_an_injected_kill_is_found() -> None:
    runs = well()
    runs[1] = run(120.3, killed=True)
    assert "never ended; nothing killed it" in found(evidence(runs))


def test_an_end_without_a_record_or_an_output_is_found() -> None:
    records = [record_of(run) for run in well()]
    del records[1]
    assert "recorded nowhere" in found(evidence(well(), records=records))
    assert "there is no output of it" in found(evidence(well(), outputs=[]))
    outputs = [f"# {run.token}" for run in well()]
    assert "there are 2 outputs" in found(evidence(well(), outputs=[*outputs, outputs[0]]))
    assert "not whole" in found(evidence(well(), outputs=[f"{page} {page}" for page in outputs]))


def test_a_record_without_a_run_is_found() -> None:
    records = [*map(record_of, well()), Record(45, "ok", "")]
    assert "its script wrote: nothing" in found(evidence(well(), records=records))


def test_a_runner_killed_before_its_script_has_a_record_or_a_catch_up_run() -> None:
    runs = [*well()[:1], *well()[2:]]
    faults = [Fault(120, 120.2, "kill -9 of the runner at its start", kills=True)]
    assert "not made up for" in found(evidence(runs, faults=faults))
    cut = Record(120.1, "error", "interrupted: it was killed.")
    records = [record_of(runs[0]), cut, *map(record_of, runs[1:])]
    assert found(evidence(runs, faults=faults, records=records)) == ""


def test_on_a_full_disk_a_missing_output_must_be_in_the_record() -> None:
    faults = [Fault(121, 130, "the disk was full", delays=True, fills=True)]
    outputs = [f"# {run.token}" for run in well() if run.start != 120.3]
    records = [record_of(run) for run in well()]
    records[1] = Record(122.4, "error", "it went well, but its output could not be saved: No space left on device.")
    assert found(evidence(well(), faults=faults, outputs=outputs, records=records)) == ""
    records[1] = Record(122.4, "error", "interrupted: it was killed.")
    assert "recorded at 122.40" in found(evidence(well(), faults=faults, outputs=outputs, records=records))


def test_a_one_shot_run_by_hand_before_its_time_is_not_missed() -> None:
    calls = [Call(50, 50.5)]
    assert found(evidence([run(50.7)], schedule=Schedule(100, 0), calls=calls)) == ""
    assert "ran at 100.30" in found(evidence([run(50.7), run(100.3)], schedule=Schedule(100, 0), calls=calls))


def row_of(run: Run) -> Row:
    reason = f"exited with code {run.code}" if run.code else None
    return Row(run.start // 60 * 60, run.start - 0.1, "error" if run.code else "ok", reason)


def entered(runs: list[Run], rows: list[Row], **others: object) -> str:
    """Return the faults with `rows` in the ledger. The time that is judged ends later than that of `found`."""
    return "\n".join(judge(evidence(runs, rows=rows, **others), UNTIL + 20))


def test_each_start_and_each_occurrence_has_a_row_of_its_own() -> None:
    runs = [*well(), run(300.3)]
    rows = [row_of(run) for run in runs]
    tally: Counter[str] = Counter()
    assert judge(evidence(runs, rows=rows), UNTIL + 10, tally) == [] and tally["starts in the ledger"] == 5
    assert entered(runs, rows) == ""
    without = entered(runs, rows[1:])
    assert "due at 60, and the ledger has 0 rows of it" in without
    assert "ran at 60.30 (token60), and the ledger has no row of it" in without
    assert "started 2 times" in entered(runs, [rows[0], *rows[2:]])
    assert "due at 120, and the ledger has 2 rows of it" in entered(runs, [*rows, rows[1]._replace(started=None)])


def test_a_row_without_a_start_or_with_another_end_is_found() -> None:
    runs = [*well(), run(300.3)]
    rows = [row_of(run) for run in runs]
    extra = Row(150, 150.5, "interrupted", "interrupted: it was killed")
    assert "began at 150.50 (interrupted, interrupted: it was killed), and its script did not start" in entered(
        runs, [*rows, extra])
    kill = Fault(150, 150.6, "kill -9 of the runner at its start", kills=True)
    assert entered(runs, [*rows, extra], faults=[kill]) == ""
    for outcome, reason in (("error", "exited with code 4"), ("interrupted", "interrupted: x"), (None, None)):
        rows[1] = rows[1]._replace(outcome=outcome, reason=reason)
        assert "began at 120.20" in entered(runs, rows)
