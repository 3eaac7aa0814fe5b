"""The policy of a job that the real agent runs."""

import datetime
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.runs import ledger
from tests.agent.model import USAGE, Call, Model, ModelFailure
from tests.agent.test_fire import agent
from tests.conftest import wait_for
from tests.runner.jobs import (
    MANUAL,
    change_record,
    default_home,
    fire,
    firing,
    has_begun,
    make,
    make_due,
    make_script,
    record,
    service,
)


def rows(root: Path, job_id: str) -> list[tuple[int, str, str | None]]:
    """Return attempt, trigger and outcome of each run of `job_id`, oldest first."""
    with ledger.reading(default_home(root)) as books:
        found = ledger.select(books, "job = ? AND started IS NOT NULL ORDER BY started", job_id)
    return [(row.attempt, row.trigger, row.outcome) for row in found]


def test_the_agent_keeps_the_policy_of_a_job(hermes: Path, model: Model) -> None:
    policy = {"timeout": 600, "environment": {"A": "1"}}
    job_id = make(hermes, policy=policy)
    make_due(hermes, job_id)
    assert fire(job_id).returncode == 0
    agent(hermes, f"from cron.jobs import update_job; answer = update_job('{job_id}', {{'name': 'other'}})")
    assert (record(hermes, job_id)["name"], record(hermes, job_id)["policy"]) == ("other", policy)
    assert service(hermes).show(job_id)["effective_policy"] == policy


@pytest.mark.parametrize("policy", [{"timeout": 8, "stop_timeout": 1, "pause_after": 1}, {"overlap": "replace"}])
def test_a_run_by_the_agent_ends_at_its_timeout_or_when_it_is_replaced(
        hermes: Path, model: Model, policy: dict[str, Any]) -> None:
    """Then the next job of its group begins."""
    ended = threading.Event()

    def think(_call: Call) -> str:
        ended.wait(90)
        return "late"

    model.answer = think
    job_id = make(hermes, schedule="every 1m", policy={**policy, "group": "one"})
    script = make_script(hermes, "true", policy={"group": "one"})
    due = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - datetime.timedelta(seconds=51)
    for each in (job_id, script):
        change_record(hermes, each, next_run_at=due.isoformat())
    with firing(job_id) as runner:
        wait_for(lambda: has_begun(default_home(hermes), job_id), 60)
        assert fire(script).returncode == 0
        assert runner.wait(20) == 1
    ended.set()
    [(_, _, outcome)] = rows(hermes, job_id)
    reason = str(record(hermes, job_id)["last_error"])
    if "timeout" in policy:
        assert (reason, outcome) == ("timed out after 8 s.", "timeout")
        assert record(hermes, job_id)["state"] == "paused"
    else:
        assert outcome == "stopped" and " it was due again at " in reason
        again = datetime.datetime.fromisoformat(record(hermes, job_id)["next_run_at"])
        assert due < again <= datetime.datetime.now(datetime.UTC)
    with ledger.reading(default_home(hermes)) as books:
        first, second = ledger.select(books, "started IS NOT NULL ORDER BY started")
    assert second.job == script and second.started and first.ended and second.started >= first.ended


def test_a_run_by_the_agent_is_nice_and_has_its_variables_and_credentials(hermes: Path, model: Model) -> None:
    (hermes / "scripts").mkdir(exist_ok=True)
    nice = max(6, os.getpriority(os.PRIO_PROCESS, 0))
    for file, text in (("variables", "PLACE=here\n"), ("key", "a secret")):
        (hermes / file).write_text(text)
    job_id = make_script(
        hermes, 'echo "nice $(nice) $GREETING $PLACE $(cat "$CREDENTIALS_DIRECTORY/key") $(ulimit -v)"\nexit 3',
        deliver="origin", policy={
            "nice": 6, "environment": {"GREETING": "hello"}, "environment_file": str(hermes / "variables"),
            "credentials": {"key": str(hermes / "key")}, "memory_max": "16G", "success_exit_codes": [3]})
    assert fire(job_id, *MANUAL).returncode == 1, "the exit code of a script that the agent runs counts as the agent's"
    [page] = (hermes / "cron" / "output" / job_id).glob("*.md")
    assert f"nice {nice} hello here a secret {16 * 2**20}" in page.read_text()
    assert not list((hermes / "cron" / "oscron" / "credentials").glob("*"))


@pytest.mark.parametrize("fields", [{}, {"schedule": "in 5h"}])
def test_a_run_by_the_agent_that_failed_is_tried_again(hermes: Path, model: Model, fields: dict[str, Any]) -> None:
    calls = []

    def fail_once(_call: Call) -> str:
        calls.append(1)
        if len(calls) <= 1:
            raise ModelFailure("the model has a headache")
        return "well"

    model.answer = fail_once
    job_id = make(hermes, policy={"retries": 2, "retry_delay": 1}, **fields)
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat()
    if fields:
        change_record(hermes, job_id, schedule={"kind": "once", "run_at": now, "display": now}, next_run_at=now)
    else:
        make_due(hermes, job_id)
    assert fire(job_id).returncode == 1
    held = service(hermes).show(job_id)["held"]
    assert held and held.endswith("retry 1 of 2")
    time.sleep(2.5)
    assert fire(job_id).returncode == 0
    assert [outcome for _, _, outcome in rows(hermes, job_id)] == ["error", "ok"]
    assert rows(hermes, job_id)[1][:2] == (2, "retry")
    if not fields:  # the agent 0.19 deletes a job after its last run
        assert service(hermes).show(job_id)["state"] == "scheduled"


def test_the_ledger_and_the_budget_have_what_the_agent_has_used(hermes: Path, model: Model) -> None:
    """When it is exhausted, and on an excluded day, a run that `hermes cron run` has requested begins all the same."""
    job_id = make(hermes, prompt="Say ping.", policy={"budget": f"{USAGE['total_tokens']} tokens per day"})
    for runs in (1, 2):
        make_due(hermes, job_id)
        if runs == 2:
            assert "The budget of the job is exhausted" in fire(job_id).stdout
            service(hermes).update(job_id, {"policy": {"exclude": ["2026-01-01..2099-12-31"]}})
            agent(hermes, f"from cron.jobs import trigger_job; answer = bool(trigger_job('{job_id}'))")
        assert fire(job_id).returncode == 0
        with ledger.reading(default_home(hermes)) as books:
            rows = ledger.select(books, "job = ? AND started IS NOT NULL ORDER BY id", job_id)
        assert len(model.calls_with("Say ping.")) == len(rows) == runs
        for row in rows:
            usage = json.loads(row.usage or "{}")
            assert usage["model"] == "stub-model" and "estimated_cost_usd" not in usage, "its price is unknown"
            assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (
                USAGE["prompt_tokens"], USAGE["completion_tokens"], USAGE["total_tokens"])
