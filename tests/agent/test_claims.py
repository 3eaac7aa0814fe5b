"""Our runs beside runs that the real agent begins: each occurrence runs once, and no run is thrown away."""

import datetime
import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.jobs.record import instant
from tests.agent.conftest import AGENT
from tests.agent.model import USAGE, Call, Model
from tests.agent.test_fire import agent, executions
from tests.conftest import in_seconds, wait_for
from tests.runner.jobs import (
    MANUAL,
    SLEEPER,
    change_record,
    configure,
    fire,
    firing,
    make,
    make_due,
    make_script,
    page,
    pages,
    pid_in,
    reconciler,
    record,
    service,
)
from tests.runs.ledgers import rows

BEHIND_A_CLAIM = """
from cron.jobs import claim_job_for_fire, get_job
from cron.scheduler import run_one_job
assert claim_job_for_fire({job_id!r})
run_one_job(get_job({job_id!r}))
"""
"""A run that the agent's `cron run`, its dashboard or its misfire check has begun."""


def has(module: str, name: str) -> bool:
    """Return True if the agent that is installed has `name` in its `module`."""
    code = f"import importlib, sys; sys.exit(not hasattr(importlib.import_module({module!r}), {name!r}))"
    return subprocess.run([f"{AGENT}/python", "-c", code], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def newer() -> None:
    """The agent has occurrences, which 0.19 has not."""
    if not has("cron.scheduler_provider", "fire_overdue_jobs"):
        pytest.skip("only newer agents do this")


def ledger(root: Path, job_id: str) -> list[dict[str, Any]]:
    """Return the runs of `job_id` in the agent's ledger, newest first."""
    code = f"from cron.executions import *; answer = list_executions(job_id='{job_id}')"
    runs: list[dict[str, Any]] = agent(root, code)
    return runs


def just_due() -> str:
    """Return the start of this minute, at which an every-minute job is due."""
    return datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0).isoformat()


def at_import(root: Path, code: str) -> str:
    """Return a PYTHONPATH with which the agent worker runs `code`, an indented block, before it imports the agent."""
    folder = root / "late"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        f"import sys\nif any('in_agent/worker.py' in each for each in sys.orig_argv):\n{code}")
    return str(folder)


def test_a_run_by_the_agent_goes_on_and_the_timer_s_run_is_skipped(hermes: Path, model: Model) -> None:
    free = threading.Event()

    def slowly(_call: Call) -> str:
        free.wait(60)
        return "Theirs is whole."

    model.answer = slowly
    for schedule in ("0 9 * * *", in_seconds(3600)):
        free.clear()
        model.calls.clear()
        job_id = make(hermes, schedule=schedule)
        theirs = subprocess.Popen([f"{AGENT}/python", "-c", BEHIND_A_CLAIM.format(job_id=job_id)],
                                  env={**os.environ, "HERMES_HOME": str(hermes)}, stderr=subprocess.DEVNULL)
        wait_for(lambda: model.calls, 60)
        make_due(hermes, job_id)
        before = record(hermes, job_id)
        for options in ((), MANUAL):
            ended = fire(job_id, *options)
            assert (ended.returncode, ended.stderr) == (0, "")
            assert ended.stdout == f"Skipped: process {theirs.pid} has claimed {job_id} and runs it.\n"
            assert record(hermes, job_id) == before
        free.set()
        assert theirs.wait(60) == 0
        assert "Theirs is whole." in page(hermes, job_id) and len(model.calls) == 1
        assert executions(hermes, job_id) == ["completed"]
        if schedule.startswith("0"):  # the agent 0.19 deletes a job after its last run
            reconciler(hermes).sync()
            [row] = rows(hermes, job_id)
            assert json.loads(row.usage or "{}")["total_tokens"] == USAGE["total_tokens"]


def test_a_claim_lost_while_the_agent_is_imported_is_skipped_and_not_recorded(
        hermes: Path, model: Model) -> None:
    """Another program claims the job after our runner has begun, and before the agent in it claims."""
    other = subprocess.Popen(["sleep", "60"])
    try:
        job_id = make(hermes)
        make_due(hermes, job_id)
        claim = {"at": datetime.datetime.now(datetime.UTC).isoformat(), "by": f"{os.uname().nodename}:{other.pid}:f00d"}
        path = str(hermes / "cron" / "jobs.json")
        ended = fire(job_id, PYTHONPATH=at_import(
            hermes, f"    import json\n    content = json.load(open({path!r}))\n"
                    f"    content['jobs'][0]['fire_claim'] = {claim!r}\n    json.dump(content, open({path!r}, 'w'))\n"))
        assert ended.returncode == 0 and "Skipped: another scheduler of the agent has claimed" in ended.stdout, ended
        after = record(hermes, job_id)
        assert after["fire_claim"] == claim and after["last_status"] is None and after["repeat"]["completed"] == 0
        assert model.calls == [] and pages(hermes, job_id) == []
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("schedule", ["0 9 * * *", "in 1h"])
def test_a_manual_run_of_a_job_that_is_resumed_while_the_agent_is_imported_is_not_lost(
        hermes: Path, model: Model, schedule: str) -> None:
    job_id = make(hermes, schedule=schedule)
    service(hermes).pause(job_id)
    late = at_import(hermes, f"    import os, time\n    open({str(hermes / 'importing')!r}, 'w').close()\n"
                             f"    while not os.path.exists({str(hermes / 'go')!r}):\n        time.sleep(0.05)\n")
    with firing(job_id, *MANUAL, PYTHONPATH=late) as runner:
        wait_for(lambda: (hermes / "importing").exists(), 60)
        due = service(hermes).resume(job_id)["next_run_at"]
        (hermes / "go").touch()
        output = "".join(runner.communicate(timeout=60))
        assert runner.returncode == 0 and "Skipped" not in output, output
    after = record(hermes, job_id)
    assert len(model.calls) == 1 and executions(hermes, job_id) == ["completed"] and len(pages(hermes, job_id)) == 1
    assert (after["last_status"], after.get("fire_claim")) == ("ok", None)
    assert (after["state"], after["next_run_at"]) == ("scheduled", due)


def test_a_script_that_runs_is_started_by_no_part_of_the_agent(hermes: Path) -> None:
    code = ("from cron.jobs import claim_job_for_fire, get_due_jobs; from cron import scheduler_provider as p\n"
            "answer = [get_due_jobs(), claim_job_for_fire('{job_id}')]\n"
            "if hasattr(p, 'fire_overdue_jobs'):\n"
            "    p._misfire_grace_minutes = lambda: 0.001\n"
            "    class Other(p.CronScheduler):\n        name = 'x'\n        def start(self, *a, **k): pass\n"
            "    answer.append(p.fire_overdue_jobs(Other()))\n")
    for schedule in ("0 9 * * *", in_seconds(3600)):
        job_id = make_script(hermes, SLEEPER, schedule=schedule)
        make_due(hermes, job_id)
        with firing(job_id) as runner:
            pid_in(hermes / "started")
            answer = agent(hermes, code.format(job_id=job_id))
            assert answer[:2] == [[], False] and answer[2:] in ([], [0])
            (hermes / "started").unlink()
            runner.terminate()
            runner.wait(20)
        assert record(hermes, job_id)["fire_claim"] is None
        assert "stopped by SIGTERM" in record(hermes, job_id)["last_error"]


@pytest.mark.usefixtures("newer")
def test_a_slot_that_a_dead_gateway_took_runs_once(hermes: Path) -> None:
    job_id = make_script(hermes, 'date >>"$HERMES_HOME/ran"\n')
    make_due(hermes, job_id)
    gone = subprocess.Popen(["true"])
    gone.wait()
    change_record(hermes, job_id, pending_slot={"scheduled_at": record(hermes, job_id)["next_run_at"],
                                                "at": in_seconds(-9), "by": f"{os.uname().nodename}:{gone.pid}"})
    assert fire(job_id).returncode == 0
    agent(hermes, "from cron.scheduler import tick; answer = tick(verbose=False)")
    assert len((hermes / "ran").read_text().splitlines()) == 1
    assert record(hermes, job_id)["repeat"]["completed"] == 1


@pytest.mark.usefixtures("newer")
@pytest.mark.parametrize("heartbeat", [False, True])
def test_the_agent_books_a_scheduled_run_on_its_occurrence(hermes: Path, heartbeat: bool) -> None:
    if heartbeat:
        agent(hermes, "from cron.jobs import *\nrecord_ticker_heartbeat()\nanswer = 1")
    job_id = make(hermes, schedule="* * * * *")
    due = just_due()
    change_record(hermes, job_id, next_run_at=due)
    assert fire(job_id).returncode == 0
    [run] = ledger(hermes, job_id)
    assert instant(run["scheduled_instant"]) == instant(due) and run["status"] == "completed"


@pytest.mark.usefixtures("newer")
def test_a_manual_run_uses_up_no_occurrence(hermes: Path, model: Model) -> None:
    job_id = make(hermes, schedule="* * * * *")
    time.sleep(max(0, 30 - datetime.datetime.now().second))  # less than a minute before the next one
    assert fire(job_id, *MANUAL).returncode == 0
    [run] = ledger(hermes, job_id)
    assert run["scheduled_instant"] is None
    change_record(hermes, job_id, next_run_at=just_due())
    ended = fire(job_id)
    assert ended.returncode == 0 and "Skipped" not in ended.stdout
    assert len(model.calls) == 2 and record(hermes, job_id)["last_status"] == "ok"


@pytest.mark.usefixtures("newer")
def test_an_occurrence_that_the_agent_has_completed_is_skipped(hermes: Path, model: Model) -> None:
    job_id = make(hermes, schedule="* * * * *")
    due = just_due()
    change_record(hermes, job_id, next_run_at=due)
    assert fire(job_id).returncode == 0
    before = record(hermes, job_id)["last_run_at"]
    change_record(hermes, job_id, next_run_at=due)
    ended = fire(job_id)
    assert ended.returncode == 0 and "Skipped: " in ended.stdout
    after = record(hermes, job_id)
    assert (after["last_status"], after["last_run_at"], after["repeat"]["completed"]) == ("ok", before, 1)
    assert len(model.calls) == 1


@pytest.mark.usefixtures("newer")
def test_a_run_requested_through_the_agent_has_its_prompt_once(hermes: Path, model: Model) -> None:
    for command in ("", 'command = ["cat"]\n'):
        configure(hermes, f'[exec]\nagent = "{AGENT}/hermes"\n{command}')
        job_id = make(hermes, prompt="Say ping.")
        agent(hermes, f"from cron.jobs import *; answer = trigger_job('{job_id}', extra_prompt='Be brief.')")
        assert fire(job_id).returncode == 0
        assert "Be brief." in (page(hermes, job_id) if command else model.calls_with("Say ping.")[0].text)
        after = record(hermes, job_id)
        assert not after.get("manual_run_at") and not after.get("manual_run_prompt")
        assert instant(after["next_run_at"]) > datetime.datetime.now(datetime.UTC)


@pytest.mark.usefixtures("newer")
def test_a_blocked_configuration_is_a_failed_run_each_time(hermes: Path, model: Model) -> None:
    job_id = make(hermes, deliver="telegram:1")
    for _ in range(2):
        ended = fire(job_id, *MANUAL)
        assert ended.returncode == 1 and ": failed after " in ended.log[-1] and "[blocked_config" not in ended.log[-1]
        job = service(hermes).show(job_id)
        assert job["last_status"] == "blocked_config" and "[blocked" not in job["last_error"]
        assert "[blocked_config" in record(hermes, job_id)["last_error"], "the agent's own field is kept"
    assert model.calls == []


def test_a_delivery_that_fails_is_a_run_that_went_well(hermes: Path, model: Model) -> None:
    (hermes / "config.yaml").write_text(model.config + "\ncron:\n  preflight: false\n")
    job_id = make(hermes, deliver="telegram:1")
    ended = fire(job_id, *MANUAL)
    assert ended.returncode == 0 and "; not delivered: " in ended.log[-1]
    assert record(hermes, job_id)["last_status"] in ("ok", "delivery_failed")
    assert json.dumps(record(hermes, job_id)["last_error"]) == "null"
