"""The agent's maintenance, which its own scheduler does no longer, in the real agent."""

import datetime
import fcntl
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.service import maintenance
from hermes_oscron.state import State
from tests.agent.conftest import AGENT
from tests.conftest import stored, write_jobs

NOW = datetime.datetime.now(datetime.UTC)
LONG_AGO = (NOW - datetime.timedelta(days=30)).isoformat()
ONCE = {"kind": "once", "run_at": LONG_AGO}
DONE = {"id": "done", "name": "done", "prompt": "x", "schedule": ONCE, "enabled": False, "state": "completed",
        "next_run_at": None, "last_run_at": LONG_AGO, "last_status": "ok"}
DAILY = {"id": "daily", "name": "daily", "prompt": "x", "schedule": {"kind": "cron", "expr": "0 9 * * *"},
         "enabled": True, "state": "scheduled", "next_run_at": (NOW + datetime.timedelta(days=1)).isoformat()}


def agent(root: Path, code: str) -> Any:
    """Return `answer` after `code` has run in the agent's own Python with its home in `root`."""
    run = subprocess.run([f"{AGENT}/python", "-c", f"import json\n{code}\nprint(json.dumps(answer, default=str))"],
                         env={**os.environ, "HERMES_HOME": str(root)}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def require(root: Path, module: str, name: str) -> None:
    """Skip the test if this version of the agent does not have `name`."""
    if not agent(root, f"import importlib\ntry: answer = hasattr(importlib.import_module('{module}'), '{name}')\n"
                       "except ImportError: answer = False"):
        pytest.skip(f"this agent has no {module}.{name}")


def maintain(root: Path) -> None:
    """Do the maintenance now."""
    Path(State(str(root)).maintained).unlink(missing_ok=True)
    maintenance.run_if_due(str(root))


def ids(root: Path) -> list[str]:
    return [job["id"] for job in stored(root)]


def test_the_run_of_a_process_that_is_gone_ends_in_the_agent_s_ledger(hermes: Path) -> None:
    write_jobs(hermes, DAILY)
    agent(hermes, "from cron.executions import create_execution\nanswer = create_execution('daily', source='builtin')")
    ledger = "from cron.executions import list_executions\nanswer = [run['status'] for run in list_executions()]"
    assert agent(hermes, ledger) == ["claimed"]
    maintain(hermes)
    assert agent(hermes, ledger) == ["unknown"]
    assert "marked 1 runs unknown" in (hermes / "logs" / "agent.log").read_text()


def test_it_is_done_once_an_hour_and_for_every_profile_with_jobs(hermes: Path) -> None:
    work = hermes / "profiles" / "work"
    work.mkdir(parents=True)
    (hermes / "profiles" / "idle").mkdir()
    write_jobs(hermes, DAILY)
    write_jobs(work, DAILY)
    assert len(maintenance.start_if_due(str(hermes))) == 2
    assert maintenance.start_if_due(str(hermes)) == []
    then = NOW.timestamp() - maintenance.INTERVAL_S - 60
    os.utime(State(str(hermes)).maintained, (then, then))
    assert len(maintenance.start_if_due(str(hermes))) == 2


def test_it_is_left_to_a_gateway_that_looks_for_due_jobs(hermes: Path) -> None:
    write_jobs(hermes, DAILY)
    (hermes / "cron" / "ticker_heartbeat").write_text(str(time.time()))
    assert maintenance.start_if_due(str(hermes)) == []


def test_completed_one_shots_are_removed_after_the_configured_days_and_their_outputs_stay(hermes: Path) -> None:
    require(hermes, "cron.jobs", "_sweep_completed_oneshots")
    recent = {**DONE, "id": "recent", "last_run_at": NOW.isoformat()}
    output = hermes / "cron" / "output" / "done" / "2026-01-01_09-00-00.md"
    output.parent.mkdir(parents=True)
    output.write_text("done")
    write_jobs(hermes, DONE, recent, DAILY)
    config = hermes / "config.yaml"
    text = config.read_text()
    config.write_text(f"{text}\ncron:\n  completed_retention_days: 40\n")
    maintain(hermes)
    assert ids(hermes) == ["done", "recent", "daily"]
    config.write_text(text)
    running = hermes / "cron" / "oscron" / "runs" / "done"
    running.parent.mkdir(parents=True)
    running.touch()
    maintain(hermes)
    assert ids(hermes) == ["done", "recent", "daily"]
    running.unlink()
    maintain(hermes)
    assert ids(hermes) == ["recent", "daily"]
    assert output.exists()


def test_nothing_is_changed_while_a_tick_of_the_agent_runs(hermes: Path) -> None:
    require(hermes, "cron.jobs", "_sweep_completed_oneshots")
    write_jobs(hermes, DONE)
    with open(hermes / "cron" / ".tick.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        maintain(hermes)
    assert ids(hermes) == ["done"]


def test_a_half_paused_job_is_paused(hermes: Path) -> None:
    require(hermes, "cron.jobs", "_self_disable_half_paused")
    write_jobs(hermes, {**DAILY, "paused_at": LONG_AGO})
    maintain(hermes)
    [job] = stored(hermes)
    assert (job["enabled"], job["state"]) == (False, "paused")


def test_a_due_time_that_a_dead_gateway_took_is_due_again(hermes: Path) -> None:
    require(hermes, "cron.jobs", "_restore_unclaimed_slot")
    slot = {"scheduled_at": LONG_AGO, "at": LONG_AGO, "by": "nowhere:1:x"}
    write_jobs(hermes, {**DAILY, "pending_slot": slot})
    maintain(hermes)
    [job] = stored(hermes)
    assert job["next_run_at"] == LONG_AGO and "pending_slot" not in job


def test_a_result_that_waits_for_a_chat_is_delivered(hermes: Path) -> None:
    require(hermes, "cron.bot_chat_delivery", "drain")
    write_jobs(hermes, DAILY)
    agent(hermes, "from pathlib import Path\nfrom cron.bot_chat_delivery import defer\n"
                  f"answer = defer('key', {DAILY!r}, 'the result', '', Path('{hermes}'))")
    pending = hermes / "cron" / "bot_chat_pending" / "key.json"
    assert json.loads(pending.read_text())["status"] == "queued"
    maintain(hermes)
    assert json.loads(pending.read_text())["status"] != "queued"


def test_a_step_that_fails_is_in_the_agent_s_log(hermes: Path) -> None:
    write_jobs(hermes, DAILY)
    (hermes / "cron" / "executions.db").mkdir()
    maintain(hermes)
    assert "_reap_dead_owners failed" in (hermes / "logs" / "agent.log").read_text()
