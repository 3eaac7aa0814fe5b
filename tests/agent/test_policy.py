"""The policy of a job that the real agent runs."""

import datetime
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.runs import ledger
from tests.agent.model import USAGE, Call, Model, ModelFailure
from tests.agent.test_fire import agent
from tests.runner.jobs import MANUAL, change_record, default_home, fire, make, make_due, make_script, record, service


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


def test_a_run_by_the_agent_ends_at_its_timeout(hermes: Path, model: Model) -> None:
    def think(_call: Call) -> str:
        time.sleep(20)
        return "late"

    model.answer = think
    job_id = make(hermes, policy={"timeout": 8, "stop_timeout": 1})
    make_due(hermes, job_id)
    begun = time.monotonic()
    assert fire(job_id).returncode == 1
    assert time.monotonic() - begun < 18
    assert record(hermes, job_id)["last_error"] == "timed out after 8 s."
    assert rows(hermes, job_id)[-1][2] == "timeout"


def test_a_run_by_the_agent_is_nice_and_has_its_variables(hermes: Path, model: Model) -> None:
    (hermes / "scripts").mkdir(exist_ok=True)
    nice = max(6, os.getpriority(os.PRIO_PROCESS, 0))
    job_id = make_script(hermes, 'echo "nice $(nice) $GREETING"', deliver="origin",
                         policy={"nice": 6, "environment": {"GREETING": "hello"}})
    fire(job_id, *MANUAL)
    [page] = (hermes / "cron" / "output" / job_id).glob("*.md")
    assert f"nice {nice} hello" in page.read_text()


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


def test_the_ledger_has_what_the_agent_has_used(hermes: Path, model: Model) -> None:
    job_id = make(hermes, prompt="Say ping.")
    for runs in (1, 2):
        make_due(hermes, job_id)
        assert fire(job_id, *(MANUAL if runs > 1 else ())).returncode == 0  # a newer agent runs an occurrence once
        with ledger.reading(default_home(hermes)) as books:
            rows = ledger.select(books, "job = ? ORDER BY id", job_id)
        assert len(model.calls_with("Say ping.")) == len(rows) == runs
        for row in rows:
            usage = json.loads(row.usage or "{}")
            assert usage["model"] == "stub-model" and "estimated_cost_usd" not in usage, "its price is unknown"
            assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (
                USAGE["prompt_tokens"], USAGE["completion_tokens"], USAGE["total_tokens"])
