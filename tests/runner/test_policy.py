"""The policy of a job in its run, whichever scheduler starts the runner."""

import contextlib
import datetime
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.jobs.checks import ValidationError
from hermes_oscron.runner import resources
from hermes_oscron.runs import ledger
from hermes_oscron.service.audit import audits
from tests.runner.jobs import (
    MANUAL,
    SLEEPER,
    change_record,
    configure,
    default_home,
    fire,
    firing,
    kill,
    make,
    make_due,
    make_script,
    pid_in,
    reconciler,
    record,
    service,
)

pytestmark = pytest.mark.usefixtures("without_systemd_environment")


def last_row(root: Path, job_id: str) -> ledger.Row:
    """Return the newest row of `job_id` in the ledger."""
    with ledger.reading(default_home(root)) as books:
        return ledger.select(books, "job = ? ORDER BY due DESC, attempt DESC LIMIT 1", job_id)[0]


def error_of(root: Path, policy: dict[str, Any], script: str, **fields: Any) -> str | None:
    """Return the error of a run of `script` by `policy`, None if it went well."""
    job_id = make_script(root, script, policy=policy, **fields)
    make_due(root, job_id)
    fire(job_id)
    error: str | None = record(root, job_id)["last_error"]
    return error


def test_a_job_that_ignores_sigterm_is_killed_after_its_stop_timeout(root: Path) -> None:
    job_id = make_script(root, "trap '' TERM; sleep 30", policy={"timeout": 1, "stop_timeout": 1})
    make_due(root, job_id)
    begun = time.monotonic()
    assert fire(job_id).returncode == 1
    assert 2 <= time.monotonic() - begun < 8, "the usual time between the signals is 10 s"
    assert record(root, job_id)["last_error"] == "timed out after 1 s."
    assert last_row(root, job_id).outcome == ledger.TIMEOUT


@pytest.mark.parametrize(("code", "error"), [(0, None), (3, None), (75, None), (4, "exited with code 4.")])
def test_a_run_with_a_further_exit_code_of_success_went_well(root: Path, code: int, error: str | None) -> None:
    job_id = make_script(root, f"exit {code}", policy={"success_exit_codes": [3, 75]})
    make_due(root, job_id)
    assert fire(job_id).returncode == (1 if error else 0)
    assert record(root, job_id)["last_error"] == error
    row = last_row(root, job_id)
    assert (row.outcome, row.exit_code) == ("error" if error else "ok", code)


def test_a_signal_is_never_a_success(root: Path) -> None:
    assert error_of(root, {"success_exit_codes": [9, 137]}, "kill -9 $$") == "killed by SIGKILL."


def output_of(root: Path, policy: dict[str, Any], script: str) -> str:
    """Return what `script` prints in a run by `policy`."""
    job_id = make_script(root, script, policy=policy)
    make_due(root, job_id)
    return fire(job_id).stdout


def test_a_job_gets_its_variables_those_of_the_file_last(root: Path) -> None:
    (root / ".env").write_text("A=home\nB=home\nC=home\n")
    (root / "job.env").write_text("# more\nexport C='file'\nD=${B}+${A}\n")
    policy = {"environment": {"B": "own", "C": "own", "HERMES_JOB_ID": "x", "HERMES_HOME": "/"},
              "environment_file": str(root / "job.env")}
    script = 'echo "$A $B $C $D"; [ "$HERMES_HOME" = "$OLD" ] || echo "${#HERMES_JOB_ID}"'
    assert output_of(root, policy, script) == "home own file own+home\n12\n"


@pytest.mark.parametrize("kind", ["missing", "a folder", "unreadable", "too large"])
def test_a_file_of_variables_that_cannot_be_read_fails_the_run_with_the_reason(root: Path, kind: str) -> None:
    path = root / "job.env"
    if kind == "a folder":
        path.mkdir()
    elif kind == "too large":
        path.write_bytes(b"#" * (1024 * 1024 + 1))
    elif kind == "unreadable":
        os.mkfifo(path)
    error = error_of(root, {"environment_file": str(path)}, "echo never")
    assert error and error.startswith(f"The environment file {path} ")


def test_no_variable_of_a_job_is_in_an_argument_the_log_or_the_run_s_file(root: Path) -> None:
    (root / "job.env").write_text("SECRET=treasure\n")
    script = ("cat $HERMES_HOME/cron/oscron/runs/*; tr '\\0' '\\n' </proc/$PPID/cmdline\n"
              "env | grep -c 'SECRET=treasure'")
    job_id = make_script(root, script, policy={"environment_file": str(root / "job.env")})
    make_due(root, job_id)
    ended = fire(job_id)
    assert ended.stdout.endswith("\n1\n") and "treasure" not in f"{ended.stdout}{ended.stderr}{ended.log}"


def test_a_job_is_nice_and_has_its_limit_of_memory(root: Path) -> None:
    nice = max(7, os.getpriority(os.PRIO_PROCESS, 0))
    assert output_of(root, {"nice": 7, "memory_max": "1G"}, "nice; ulimit -v") == f"{nice}\n1048576\n"


def test_a_job_that_needs_more_memory_than_its_limit_fails(root: Path) -> None:
    error = error_of(root, {"memory_max": "64M"}, "x=$(head -c 200M /dev/zero | tr '\\0' x); echo ${#x}")
    assert error


def test_a_run_that_the_kernel_has_killed_in_its_unit_has_that_reason(tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / resources.cgroup_of("self").partition("::")[2].lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(resources, "CGROUPS", str(tmp_path))
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n")
    (folder / "memory.max").write_text("67108864\n")
    assert resources.out_of_memory(64 * 1024**2) is None, "it is no unit"
    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(os.getpid()))
    assert resources.out_of_memory(64 * 1024**2) == (
        "killed by the kernel: it needed more memory than its memory_max of 64 MiB.")
    (folder / "memory.events").write_text("max 31\noom 0\noom_kill 0\n")
    assert resources.out_of_memory(64 * 1024**2) is None
    (folder / "memory.max").write_text("max\n")
    assert not resources.is_limited()


def test_a_limit_that_the_scheduler_cannot_apply_is_refused_and_fails_a_run(root: Path) -> None:
    with pytest.raises(ValidationError, match=r"'policy\.cpu_quota' needs systemd, and foreground fires the jobs"):
        make_script(root, "echo never", policy={"cpu_quota": 50})
    job_id = make_script(root, "echo never")
    change_record(root, job_id, policy={"cpu_quota": 50})
    make_due(root, job_id)
    fire(job_id)
    assert record(root, job_id)["last_error"].startswith("'policy.cpu_quota' needs systemd")
    with pytest.raises(ValidationError, match="needs systemd"):
        service(root).update(job_id, {"policy": {"tasks_max": 50}})
    assert record(root, job_id)["policy"] == {"cpu_quota": 50}


def wait_for_second(second: float) -> None:
    """Sleep until `second` of a minute, if it is not past."""
    time.sleep(max(0.0, second - time.time() % 60))


@pytest.mark.parametrize("overlap", ["queue", "replace"])
def test_an_occurrence_that_comes_during_a_run_runs_after_it_or_replaces_it(root: Path, overlap: str) -> None:
    if time.time() % 60 > 55:
        time.sleep(6)
    wait_for_second(50)
    job_id = make_script(root, "sleep 15; echo whole", schedule="* * * * *", policy={"overlap": overlap})
    due = datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0)
    change_record(root, job_id, next_run_at=due.isoformat())
    following = due + datetime.timedelta(minutes=1)
    ended = fire(job_id)
    row = last_row(root, job_id)
    assert datetime.datetime.fromisoformat(record(root, job_id)["next_run_at"]) == following
    if overlap == "queue":
        assert (row.outcome, ended.stdout) == ("ok", "whole\n")
    else:
        assert row.outcome == "stopped" and row.reason and row.reason.startswith("stopped by its policy before")
        assert row.ended and 0 <= row.ended - following.timestamp() < 2
    assert row.due == due.timestamp()
    change_record(root, job_id, policy={"timeout": 1})
    fire(job_id)
    assert last_row(root, job_id).due == following.timestamp() and last_row(root, job_id).trigger == "schedule"


def missed_days(root: Path, days: int, **policy: Any) -> tuple[str, list[float]]:
    """Return a daily job that was missed for `days`, and these times, oldest first."""
    now = datetime.datetime.now(datetime.UTC)
    latest = now - datetime.timedelta(hours=3)
    schedule = f"{latest.minute} {latest.hour} * * *"
    latest = latest.replace(second=0, microsecond=0)
    missed = [latest - datetime.timedelta(days=back) for back in range(days - 1, -1, -1)]
    job_id = make_script(root, "echo ran", schedule=schedule, policy=policy or None)
    change_record(root, job_id, next_run_at=missed[0].isoformat(), created_at="2026-01-01T00:00:00+00:00")
    return job_id, [each.timestamp() for each in missed]


def fires_until_done(root: Path, job_id: str) -> list[tuple[float, str, str]]:
    """Fire `job_id` as long as it is due; return due time, trigger and outcome of each run, oldest first."""
    while fire(job_id).stdout == "ran\n":
        pass
    with ledger.reading(default_home(root)) as books:
        found = ledger.select(books, "job = ? AND started IS NOT NULL ORDER BY started", job_id)
    return [(row.due, row.trigger, str(row.outcome)) for row in found]


@pytest.mark.parametrize(("policy", "ran"), [
    ({}, [0]), ({"catch_up": "once"}, [0]), ({"catch_up": "none"}, []),
    ({"catch_up": "all", "catch_up_window": "5d"}, [0, 1, 2, 3]), ({"catch_up": "all"}, [3]),
    ({"catch_up": "all", "catch_up_window": "2d"}, [2, 3]), ({"catch_up_window": "2d"}, [2]),
    ({"catch_up": "all", "catch_up_window": "1h"}, []), ({"start_deadline": "30h"}, [2]),
    ({"start_deadline": "1h"}, []), ({"catch_up_window": "1h"}, []),
])
def test_which_missed_occurrences_run_late(root: Path, policy: dict[str, Any], ran: list[int]) -> None:
    job_id, missed = missed_days(root, 4, **policy)
    assert fires_until_done(root, job_id) == [(missed[nth], "catch-up", "ok") for nth in ran]
    following = datetime.datetime.fromisoformat(record(root, job_id)["next_run_at"]).timestamp()
    assert following == missed[-1] + 86400


def test_the_policy_of_a_job_comes_before_the_setting_of_the_agent(root: Path) -> None:
    (root / "config.yaml").write_text("cron:\n  catch_up_missed: false\n")
    job_id, missed = missed_days(root, 2, catch_up="once")
    assert [due for due, _, _ in fires_until_done(root, job_id)] == [missed[0]]
    job_id, _ = missed_days(root, 2)
    assert fires_until_done(root, job_id) == []


def test_an_occurrence_that_is_too_late_has_a_row_with_the_reason(root: Path) -> None:
    job_id, missed = missed_days(root, 1, start_deadline="1h")
    reconciler(root).sync()  # stores since when the schedule holds
    with ledger.writing(default_home(root)) as books:
        books.execute("UPDATE schedules SET since = ?", (missed[0] - 60,))
        books.execute("DELETE FROM accounted")
        books.execute("DELETE FROM runs")
    change_record(root, job_id, next_run_at=datetime.datetime.fromtimestamp(missed[0], datetime.UTC).isoformat())
    assert "is too late to begin, by its policy; it is due next at " in fire(job_id).stdout
    row = last_row(root, job_id)
    assert (row.due, row.outcome, row.reason) == (
        missed[0], "missed", "It was too late to begin, by the policy of the job.")


def test_a_one_shot_that_is_too_late_is_completed(root: Path) -> None:
    job_id = make_script(root, "echo never", schedule="in 5h", policy={"start_deadline": "5m"})
    due = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=6)).replace(microsecond=0).isoformat()
    change_record(root, job_id, next_run_at=due, schedule={"kind": "once", "run_at": due})
    assert "is too late to begin" in fire(job_id).stdout
    assert record(root, job_id)["state"] == "completed"


def test_a_run_by_hand_is_never_too_late(root: Path) -> None:
    job_id, _ = missed_days(root, 1, start_deadline="1h")
    assert fire(job_id, *MANUAL).stdout == "ran\n"


def rows_of(root: Path, job_id: str) -> list[tuple[float, int, str, str | None]]:
    """Return due time, attempt, trigger and outcome of each run of `job_id`, oldest first."""
    with ledger.reading(default_home(root)) as books:
        found = ledger.select(books, "job = ? AND started IS NOT NULL ORDER BY started", job_id)
    return [(row.due, row.attempt, row.trigger, row.outcome) for row in found]


def test_a_run_that_failed_is_tried_again_until_it_goes_well(root: Path) -> None:
    script = f"echo x >>'{root}/tries'; [ $(wc -l <'{root}/tries') = 3 ]"
    job_id = make_script(root, script, policy={"retries": 5, "retry_delay": 1, "retry_backoff": 1})
    due = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    change_record(root, job_id, schedule={"kind": "cron", "expr": "0 0 * * *"}, next_run_at=due.isoformat())
    assert fire(job_id).returncode == 1
    assert "is not due before" in fire(job_id).stdout
    held = service(root).show(job_id)
    assert held["held"] and held["held"].endswith("retry 1 of 5") and held["repeat"]["completed"] == 0
    for code in (1, 0):
        time.sleep(2.1)
        assert fire(job_id).returncode == code
    moment = due.timestamp()
    assert rows_of(root, job_id) == [(moment, 1, "catch-up", "error"), (moment, 2, "retry", "error"),
                                     (moment, 3, "retry", "ok")]
    after = record(root, job_id)
    assert after["next_run_at"] == (due + datetime.timedelta(days=1)).isoformat() and "policy_retry" not in after
    assert after["repeat"]["completed"] == 1
    reconciler(root).sync()
    assert audit_of(root) == ""


def audit_of(root: Path) -> str:
    """Return what the audit of the ledger finds, each discrepancy on a line."""
    found = audits(default_home(root), None, None, datetime.datetime.now(datetime.UTC))
    return "\n".join(str(each) for report in found for each in report.discrepancies)


def test_a_run_that_was_cut_off_is_tried_again(root: Path) -> None:
    job_id = make_script(root, SLEEPER, policy={"retries": 1, "retry_delay": 1})
    make_due(root, job_id)
    with firing(job_id) as runner:
        job = pid_in(root / "started")
        runner.kill()
        runner.wait()
    kill(job)
    reconciler(root).sync()
    assert service(root).show(job_id)["held"].endswith("retry 1 of 1")
    assert [row[3] for row in rows_of(root, job_id)] == ["interrupted"]


def test_a_manual_run_is_not_tried_again(root: Path) -> None:
    job_id = make_script(root, "exit 1", policy={"retries": 3})
    fire(job_id, *MANUAL)
    assert "policy_retry" not in record(root, job_id)


def test_a_job_is_skipped_on_an_excluded_day_with_a_row(root: Path) -> None:
    (root / "holidays").write_text(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}  # today\n")
    job_id = make_script(root, "echo never", policy={"exclude": [str(root / "holidays")]})
    due = datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat()
    change_record(root, job_id, next_run_at=due)
    ended = fire(job_id)
    assert ended.returncode == 0 and "is excluded by the policy of the job. " in ended.stdout
    row = last_row(root, job_id)
    assert (row.outcome, row.due) == ("skipped", datetime.datetime.fromisoformat(due).timestamp())
    assert row.reason and row.reason.endswith("is excluded by the policy of the job.")
    assert datetime.datetime.fromisoformat(record(root, job_id)["next_run_at"]) > datetime.datetime.now(datetime.UTC)
    assert fire(job_id, *MANUAL).stdout == "never\n", "by hand it runs all the same"


@pytest.mark.parametrize("content", [None, "today"])
def test_a_calendar_that_cannot_be_used_fails_the_run_with_the_reason(root: Path, content: str | None) -> None:
    if content:
        (root / "holidays").write_text(content)
    error = error_of(root, {"exclude": [str(root / "holidays")]}, "echo never")
    assert error and error.startswith(f"The calendar {root}/holidays cannot be ")


def test_a_job_that_is_due_after_its_last_day_is_completed(root: Path) -> None:
    job_id = make_script(root, "echo never", policy={"not_after": "2026-01-01"})
    change_record(root, job_id, next_run_at=datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat())
    assert "the last day of the job by its policy" in fire(job_id).stdout
    assert record(root, job_id)["state"] == "completed"


def test_a_job_that_fails_again_and_again_is_paused_and_logged(root: Path) -> None:
    job_id = make_script(root, "exit 3", policy={"pause_after": 2})
    for failures in (1, 2):
        make_due(root, job_id)
        ended = fire(job_id)
        assert record(root, job_id)["failure_streak"] == failures
    assert record(root, job_id)["state"] == "paused"
    assert "Paused by its policy after 2 failed runs in a row. The last one: exited with code 3. " in ended.stderr
    assert service(root).show(job_id)["paused_reason"].startswith("Paused by its policy after 2")


SPENDING = """#!/usr/bin/env python3
import os, sqlite3, sys, time
books = sqlite3.connect(os.environ["HERMES_HOME"] + "/state.db")
books.execute("CREATE TABLE IF NOT EXISTS sessions (id TEXT, source TEXT, parent_session_id TEXT, started_at REAL, "
              "model TEXT, billing_provider TEXT, input_tokens INTEGER, cache_read_tokens INTEGER, cache_write_tokens "
              "INTEGER, output_tokens INTEGER, cost_status TEXT, actual_cost_usd REAL, estimated_cost_usd REAL)")
run = f"cron_{os.environ['HERMES_JOB_ID']}_{time.strftime('%Y%m%d_%H%M%S')}_{time.time()}"
for name, parent in ((run, None), (f"{run}_subagent", run), ("cron_other_20260101_000000", None)):
    books.execute("INSERT INTO sessions VALUES (?, 'cron', ?, ?, 'm', 'p', 100, 20, 3, 7, 'estimated', NULL, 0.4)",
                  (name, parent, time.time()))
books.commit()
"""
"""The agent's record of a run with a subagent: 260 tokens and 0.8 USD."""


def make_spending(root: Path, budget: str, **fields: Any) -> str:
    """Create a job with `budget` that uses SPENDING in each run; its id."""
    program = root / "agent"
    program.write_text(SPENDING)
    program.chmod(0o755)
    configure(root, f'[exec]\nagent = "none"\ncommand = ["{program}"]\n')
    job_id: str = make(root, policy={"budget": budget}, **fields)
    return job_id


def due_today(root: Path, job_id: str) -> float:
    """Make `job_id` due for the beginning of this day; its time."""
    due = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    change_record(root, job_id, next_run_at=due.isoformat())
    return due.timestamp()


@pytest.mark.parametrize(("budget", "runs", "used"), [
    ("1 USD per day", 2, "1.6"), ("0.80 USD per month", 1, "0.8"), ("260 tokens per day", 1, "260"),
    ("261 tokens per month", 2, "520")])
def test_a_job_is_skipped_when_its_budget_is_exhausted_and_runs_by_hand_all_the_same(
        root: Path, budget: str, runs: int, used: str) -> None:
    job_id = make_spending(root, budget, schedule="0 0 * * *")
    for _ in range(runs):
        due_today(root, job_id)
        assert fire(job_id).returncode == 0
        assert last_row(root, job_id).outcome == "ok"
    with ledger.writing(default_home(root)) as books:
        books.execute("UPDATE runs SET due = due - 3600")
    due = due_today(root, job_id)
    ended = fire(job_id)
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"Skipped: The budget of the job is exhausted: of {budget}, its runs have used "
                                   f"{used} since {datetime.datetime.now(datetime.UTC):%Y-%m-}")
    row = last_row(root, job_id)
    assert (row.outcome, row.trigger, row.due, row.started) == ("skipped", "schedule", due, None)
    assert row.reason and row.reason.startswith("The budget of the job is exhausted: ")
    assert datetime.datetime.fromisoformat(record(root, job_id)["next_run_at"]) > datetime.datetime.now(datetime.UTC)
    assert fire(job_id, *MANUAL).returncode == 0
    assert last_row(root, job_id).outcome == "ok", "a run by hand is not skipped, and counts"


def test_a_job_whose_budget_was_exhausted_runs_again_on_the_next_day(root: Path) -> None:
    job_id = make_spending(root, "260 tokens per day", schedule="0 0 * * *")
    assert fire(job_id, *MANUAL).returncode == 0
    due_today(root, job_id)
    assert "is exhausted" in fire(job_id).stdout
    with ledger.writing(default_home(root)) as books:
        books.execute("UPDATE runs SET ended = ended - 86400")
    due_today(root, job_id)
    assert fire(job_id).returncode == 0 and last_row(root, job_id).outcome == "ok", "the skipped row becomes its own"
    reconciler(root).sync()
    assert audit_of(root) == ""


def test_a_retry_of_a_job_whose_budget_is_exhausted_is_left_out(root: Path) -> None:
    job_id = make_spending(root, "1 tokens per day")
    (root / "agent").write_text(f"{SPENDING}sys.exit(3)\n")
    service(root).update(job_id, {"policy": {"retries": 3, "retry_delay": 1}})
    make_due(root, job_id)
    assert fire(job_id).returncode == 1
    time.sleep(2.1)
    assert "The budget of the job is exhausted" in fire(job_id).stdout
    with ledger.reading(default_home(root)) as books:
        [row] = ledger.select(books, "job = ? AND outcome != 'missed'", job_id)
    assert (row.outcome, row.attempt) == ("error", 1) and "policy_retry" not in record(root, job_id)
    assert service(root).show(job_id)["held"] is None
    reconciler(root).sync()
    assert audit_of(root) == ""


def test_a_run_whose_budget_cannot_be_checked_fails_with_the_reason(root: Path) -> None:
    job_id = make_spending(root, "2 USD per day")
    books = root / "cron" / "oscron" / "runs.db"
    books.write_bytes(b"no database" * 1000)
    make_due(root, job_id)
    assert fire(job_id).returncode == 1
    assert record(root, job_id)["last_error"].startswith(f"The budget of the job cannot be checked: {books} is damaged")
    assert not (root / "state.db").exists()


@pytest.mark.parametrize(("limit", "together"), [(1, 1), (2, 2), (3, 3)])
def test_of_a_group_only_so_many_jobs_run_at_once(root: Path, limit: int, together: int) -> None:
    script = f"touch '{root}'/now/$$; ls '{root}/now' | wc -l >>'{root}/most'; sleep 1; rm '{root}'/now/$$"
    (root / "now").mkdir()
    jobs = [make_script(root, script, policy={"group": "backups", "max_parallel": limit}) for _ in range(3)]
    other = make_script(root, "echo at once", file="other.sh", policy={"group": "others"})
    for job_id in (*jobs, other):
        change_record(root, job_id, next_run_at=datetime.datetime.now(datetime.UTC).isoformat())
    with contextlib.ExitStack() as running:
        runners = [running.enter_context(firing(job_id)) for job_id in jobs]
        begun = time.monotonic()
        assert fire(other).stdout == "at once\n" and time.monotonic() - begun < 3
        assert [runner.wait(60) for runner in runners] == [0, 0, 0]
    assert max(map(int, (root / "most").read_text().split())) <= together
    queued = [last_row(root, job_id).queued for job_id in jobs]
    assert sum(each is not None for each in queued) >= 3 - together


def copies(root: Path) -> list[str]:
    """Return the credentials of runs that exist."""
    return [str(path) for path in (root / "cron" / "oscron" / "credentials").rglob("*")]


def test_a_run_has_private_copies_of_its_credentials_while_it_is_in_progress(root: Path) -> None:
    (root / "key").write_text("treasure")
    script = 'cd "$CREDENTIALS_DIRECTORY"; cat token; stat -c " %a %n" . token; env | grep -c treasure'
    job_id = make_script(root, script, policy={"credentials": {"token": str(root / "key")}})
    make_due(root, job_id)
    ended = fire(job_id)
    assert ended.stdout == "treasure 700 .\n 400 token\n0\n"
    assert copies(root) == [] and "treasure" not in json.dumps(service(root).show(job_id))


@pytest.mark.parametrize("kind", ["missing", "a pipe", "too large"])
def test_a_credential_that_cannot_be_copied_fails_the_run(root: Path, kind: str) -> None:
    path = root / "key"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "too large":
        path.write_bytes(b"x" * (1024 * 1024 + 1))
    (root / "other").write_text("treasure")
    error = error_of(root, {"credentials": {"a": str(root / "other"), "key": str(path)}}, "echo never")
    assert error and error.startswith(f"The credential {path} cannot be copied: ")
    assert copies(root) == []


def test_the_credentials_of_a_run_that_was_cut_off_are_removed(root: Path) -> None:
    (root / "key").write_text("treasure")
    job_id = make_script(root, SLEEPER, policy={"credentials": {"token": str(root / "key")}})
    with firing(job_id, *MANUAL) as runner:
        job = pid_in(root / "started")
        assert copies(root)
        runner.kill()
        runner.wait()
    kill(job)
    reconciler(root).sync()
    assert copies(root) == []


@pytest.mark.parametrize(("settings", "policy", "error"), [
    ("[exec]\ntimeout = 60\n[policy]\ntimeout = 1", {}, "timed out after 1 s."),
    ("[policy]\ntimeout = 60\n[profile.default.policy]\ntimeout = 1", {}, "timed out after 1 s."),
    ("[profile.work.policy]\ntimeout = 1\n", {}, None),
    ("[policy]\ntimeout = 1", {"timeout": 60}, None),
])
def test_the_job_comes_before_its_profile_and_that_before_all(root: Path, settings: str, policy: dict[str, Any],
                                                              error: str | None) -> None:
    configure(root, settings)
    assert error_of(root, policy, "sleep 2") == error


def test_a_run_by_hand_with_an_unusable_policy_fails_with_the_reason(root: Path) -> None:
    job_id = make_script(root, "echo never")
    change_record(root, job_id, policy={"timeout": "soon"})
    assert fire(job_id, *MANUAL).returncode == 1
    assert record(root, job_id)["last_error"].startswith("'policy.timeout' must be a time")
