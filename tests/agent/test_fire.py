"""One fire of one job by the real agent, whose doing it is and whose record of it is what clients see."""

import datetime
import json
import os
import shutil
import signal
import subprocess
import threading
import venv
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.hermes.home import Home
from hermes_oscron.jobs.record import instant
from hermes_oscron.runs import lock
from tests.agent.conftest import AGENT
from tests.agent.model import Call, Model, ModelFailure
from tests.conftest import in_seconds, stored, wait_for, write_jobs, write_script
from tests.runner.jobs import (
    MANUAL,
    change_record,
    command_line,
    configure,
    fire,
    firing,
    make,
    make_due,
    make_script,
    page,
    pages,
    reconciler,
    record,
    service,
)


def agent(root: Path, code: str) -> Any:
    """Return `answer` after `code` has run in the agent's own Python with its home in `root`."""
    run = subprocess.run([f"{AGENT}/python", "-c", f"import json\n{code}\nprint(json.dumps(answer, default=str))"],
                         env={**os.environ, "HERMES_HOME": str(root)}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def executions(root: Path, job_id: str) -> list[str]:
    """Return the states of the runs of `job_id` in the agent's ledger, newest first."""
    return [str(run["status"]) for run in agent(
        root, f"from cron.executions import list_executions; answer = list_executions(job_id='{job_id}')")]


@pytest.fixture
def unreachable(hermes: Path) -> str:
    """A delivery target that the agent accepts, whose server refuses all connections."""
    (hermes / ".env").write_text("SIGNAL_HTTP_URL=http://127.0.0.1:9\nSIGNAL_ACCOUNT=+15550100\n")
    return "signal:+15550101"


def test_the_agent_runs_a_prompt_and_hermes_oscron_records_it(hermes: Path, model: Model) -> None:
    job_id = make(hermes, prompt="Say ping.", name="pinger", model="special-model")
    make_due(hermes, job_id)
    ended = fire(job_id)
    assert ended.returncode == 0, ended.stderr
    [call] = model.calls_with("Say ping.")
    assert call.model == "special-model"
    assert "The model was here." in page(hermes, job_id).partition("## Response")[2]
    job = service(hermes).show(job_id)
    assert (job["last_status"], job["last_error"], job["last_delivery_error"], job["state"]) == (
        "ok", None, None, "scheduled")
    assert job["repeat"] == {"times": None, "completed": 1}
    assert executions(hermes, job_id) == ["completed"]
    sessions = agent(hermes, "from hermes_state import SessionDB; answer = SessionDB().list_sessions_rich(limit=9)")
    assert any(job_id in json.dumps(session) for session in sessions)
    assert "Say ping." not in " ".join(ended.log)
    assert job_id in (hermes / "logs" / "agent.log").read_text()


def test_an_interval_keeps_its_grid_when_the_agent_counts_from_the_end_of_a_run(hermes: Path) -> None:
    job_id = make(hermes, schedule="every 2h")
    write_jobs(hermes, {**record(hermes, job_id), "next_run_at": "2026-01-01T00:30:00+00:00"})
    assert fire(job_id).returncode == 0
    due = instant(record(hermes, job_id)["next_run_at"])
    assert due and (due.hour % 2, due.minute, due.second, due.microsecond) == (0, 30, 0, 0)


def test_a_model_error_is_a_failed_run_with_a_readable_error(hermes: Path, model: Model) -> None:
    def fail(_call: Call) -> str:
        raise ModelFailure("the model has a headache")

    model.answer = fail
    job_id = make(hermes)
    ended = fire(job_id, *MANUAL)
    assert ended.returncode == 1 and ": failed after " in ended.log[-1]
    job = record(hermes, job_id)
    assert job["last_status"] == "error" and "headache" in job["last_error"]
    assert executions(hermes, job_id) == ["failed"]
    assert len(pages(hermes, job_id)) == 1


def test_a_silent_response_is_saved_and_not_delivered(hermes: Path, model: Model, unreachable: str) -> None:
    model.answer = lambda _call: "[SILENT]"
    job_id = make(hermes, deliver=unreachable)
    assert fire(job_id, *MANUAL).returncode == 0
    job = record(hermes, job_id)
    assert (job["last_status"], job["last_delivery_error"]) == ("ok", None)
    assert "[SILENT]" in page(hermes, job_id)


def test_a_failed_delivery_is_reported_and_the_run_still_succeeds(hermes: Path, unreachable: str) -> None:
    """The agent 0.22 has a status of its own for it, 0.19 does not."""
    job_id = make(hermes, deliver=unreachable)
    ended = fire(job_id, *MANUAL)
    assert ended.returncode == 0, ended.stderr
    job = service(hermes).show(job_id)
    assert job["last_status"] in ("ok", "delivery_failed") and job["last_error"] is None
    assert "Signal" in job["last_delivery_error"]
    assert "; not delivered: " in ended.log[-1]
    assert "The model was here." in page(hermes, job_id)


def test_the_agent_runs_a_script_whose_output_is_delivered(hermes: Path, model: Model) -> None:
    job_id = make_script(hermes, "echo from the script\n", deliver="telegram:1")
    assert fire(job_id, *MANUAL).returncode == 0
    assert "from the script" in page(hermes, job_id) and "no_agent" in page(hermes, job_id)
    assert "telegram" in record(hermes, job_id)["last_delivery_error"]
    assert model.calls == []


def test_without_an_agent_a_missing_delivery_is_reported(hermes: Path) -> None:
    configure(hermes, '[exec]\nagent = "none"\n')
    job_id = make_script(hermes, "echo\n", deliver="telegram:1")
    assert fire(job_id, *MANUAL).returncode == 0
    assert "only the Hermes agent delivers" in record(hermes, job_id)["last_delivery_error"]


def test_a_script_with_local_delivery_runs_without_the_agent(hermes: Path) -> None:
    job_id = make_script(hermes, "echo plain\n")
    assert fire(job_id, *MANUAL).returncode == 0
    assert executions(hermes, job_id) == [] and "plain" in page(hermes, job_id)


def test_a_configured_command_runs_prompts_instead_of_the_agent(hermes: Path, model: Model) -> None:
    configure(hermes, f'[exec]\nagent = "{AGENT}/hermes"\ncommand = ["cat"]\n')
    job_id = make(hermes, prompt="to the command")
    assert fire(job_id, *MANUAL).returncode == 0
    assert "to the command" in page(hermes, job_id) and model.calls == []


def test_the_output_of_another_job_a_skill_and_a_script_reach_the_model(hermes: Path, model: Model) -> None:
    model.answer = lambda _call: "The cat is on the mat."
    first = make(hermes, prompt="Where is the cat?")
    assert fire(first, *MANUAL).returncode == 0
    skill = hermes / "skills" / "herding" / "SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text("---\nname: herding\ndescription: Herd cats.\n---\n\nCats are herded with fish.\n")
    job_id = make(hermes, prompt="Herd it.", context_from=[first], skills=["herding"],
                  script=write_script(hermes, "weather.sh", "echo it rains\n"))
    assert fire(job_id, *MANUAL).returncode == 0
    [call] = model.calls_with("Herd it.")
    for told in ("The cat is on the mat.", "herded with fish", "it rains"):
        assert told in call.text


def test_a_paused_job_that_is_run_by_hand_stays_paused(hermes: Path, model: Model) -> None:
    for schedule in ("0 9 * * *", in_seconds(3600)):
        job_id = make(hermes, schedule=schedule, enabled=False)
        assert fire(job_id, *MANUAL).returncode == 0
        job = record(hermes, job_id)
        assert (job["state"], job["enabled"], job["next_run_at"], job["last_status"]) == ("paused", False, None, "ok")
    assert len(model.calls) == 2


def test_a_job_that_has_had_its_last_run_is_done_and_keeps_its_outputs(hermes: Path) -> None:
    """The agent 0.19 removes such a job, 0.22 keeps it as completed."""
    for fields in ({"schedule": in_seconds(3600)}, {"repeat": 1}):
        job_id = make(hermes, **fields)
        assert fire(job_id, *MANUAL).returncode == 0
        left = [(job["state"], job["enabled"], job["next_run_at"]) for job in stored(hermes) if job["id"] == job_id]
        assert left in ([], [("completed", False, None)])
        assert len(pages(hermes, job_id)) == 1
        assert service(hermes).outputs(job_id, 5)


def test_a_one_shot_that_has_had_its_runs_is_not_run_by_hand(hermes: Path, model: Model) -> None:
    """The agent would remove such a job instead, or fail."""
    job_id = make(hermes, schedule=in_seconds(3600))
    change_record(hermes, job_id, state="completed", enabled=False, next_run_at=None,
                  repeat={"times": 1, "completed": 1})
    before = stored(hermes)
    skipped = fire(job_id, *MANUAL)
    assert f"{job_id} runs once and has run" in skipped.stdout and "update --schedule TIME" in skipped.stdout
    assert stored(hermes) == before and pages(hermes, job_id) == [] and model.calls == []
    assert os.listdir(hermes / "cron" / "oscron" / "runs") == []
    service(hermes).update(job_id, {"schedule": in_seconds(7200)})
    assert fire(job_id, *MANUAL).returncode == 0 and len(pages(hermes, job_id)) == 1


def test_a_completed_job_that_recurs_runs_by_hand(hermes: Path, model: Model) -> None:
    """`hermes-oscron resume` names this way to run it again. The agent 0.19 removes it then."""
    job_id = make(hermes)
    change_record(hermes, job_id, state="completed", enabled=False, next_run_at=None,
                  repeat={"times": 3, "completed": 3})
    assert fire(job_id, *MANUAL).returncode == 0
    assert len(pages(hermes, job_id)) == 1 and len(model.calls) == 1
    assert [(job["state"], job["last_status"]) for job in stored(hermes)] in ([], [("completed", "ok")])


def test_a_job_deleted_while_the_agent_runs_it_leaves_nothing(hermes: Path, model: Model) -> None:
    def delete(_call: Call) -> str:
        service(hermes).delete(job_id)
        return "too late"

    model.answer = delete
    for fields in ({}, {"schedule": in_seconds(3600)}):
        job_id = make(hermes, **fields)
        assert fire(job_id, *MANUAL).returncode == 0
        assert stored(hermes) == [] and not (hermes / "cron" / "output" / job_id).exists()
        assert os.listdir(hermes / "cron" / "oscron" / "runs") == []


def test_a_killed_run_is_recorded_and_not_confused_with_the_next_one(hermes: Path, home: Home, model: Model) -> None:
    held = model.answer

    def kill(_call: Call) -> str:
        os.kill(runner.pid, signal.SIGKILL)
        runner.wait()
        recorded.wait(30)
        return "nobody hears"

    recorded = threading.Event()
    model.answer = kill
    job_id = make(hermes)
    make_due(hermes, job_id)
    runner = subprocess.Popen(command_line(job_id), stderr=subprocess.DEVNULL)
    wait_for(lambda: lock.unrecorded(home), 30)
    job = service(hermes).show(job_id)
    recorded.set()
    assert job["last_status"] == "error" and "interrupted" in job["last_error"]
    model.answer = held
    assert fire(job_id, *MANUAL).returncode == 0
    assert record(hermes, job_id)["last_status"] == "ok"


def test_an_agent_that_exceeds_the_timeout_is_a_failed_run(hermes: Path, model: Model) -> None:
    configure(hermes, f'[exec]\nagent = "{AGENT}/hermes"\ntimeout = 4\n')
    model.answer = lambda _call: str(wait_for(lambda: record(hermes, job_id)["last_status"], 30))
    job_id = make(hermes)
    assert fire(job_id, *MANUAL).returncode == 1
    assert "timed out after 4 s" in record(hermes, job_id)["last_error"]
    assert record(hermes, job_id)["fire_claim"] is None


@pytest.mark.parametrize("modules", [
    {}, {"jobs": "get_job = use_cron_store = None"},
    {"executions": "latest_execution = None", "jobs": "get_job = use_cron_store = None",
     "scheduler": "run_one_job = None", "scheduler_provider": "class CronScheduler: pass"},
])
def test_an_agent_without_the_entry_point_is_a_failed_run_with_a_readable_error(hermes: Path, tmp_path: Path,
                                                                                modules: dict[str, str]) -> None:
    """One of before it had one, and one that has moved it."""
    venv.create(tmp_path / "other", symlinks=True)
    command = tmp_path / "other" / "bin" / "hermes"
    command.write_text(f"#!{tmp_path}/other/bin/python\n")
    command.chmod(0o755)
    [packages] = (tmp_path / "other").glob("lib/python*/site-packages")
    (packages / "cron").mkdir()
    for name, text in modules.items():
        (packages / "cron" / f"{name}.py").write_text(text)
    configure(hermes, f'[exec]\nagent = "{command}"\n')
    job_id = make(hermes)
    assert fire(job_id, *MANUAL).returncode == 1
    assert "cannot run a single job" in record(hermes, job_id)["last_error"]
    assert record(hermes, job_id)["last_error"] in page(hermes, job_id)


def test_a_missing_agent_command_is_a_failed_run_that_names_it(hermes: Path) -> None:
    configure(hermes, '[exec]\nagent = "/nowhere/hermes"\n')
    job_id = make(hermes)
    assert fire(job_id, *MANUAL).returncode == 1
    assert "/nowhere/hermes" in record(hermes, job_id)["last_error"]


def test_the_agent_is_found_on_the_path(hermes: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(hermes, "")
    monkeypatch.setenv("PATH", f"{AGENT}:{os.environ['PATH']}")
    job_id = make(hermes)
    assert fire(job_id, *MANUAL).returncode == 0
    assert len(model.calls) == 1


def test_a_job_runs_in_the_profile_it_names_and_is_recorded_in_its_owner(hermes: Path, model: Model) -> None:
    work = hermes / "profiles" / "work"
    (work / "cron").mkdir(parents=True)
    (work / "config.yaml").write_text(model.config.replace("stub-model", "work-model"))
    job_id = make(hermes, prompt="Say ping.", profile="work")
    assert fire(job_id, *MANUAL).returncode == 0
    assert model.calls_with("Say ping.")[0].model == "work-model"
    assert record(hermes, job_id)["last_status"] == "ok" and len(pages(hermes, job_id)) == 1
    assert not (work / "cron" / "output").exists() or not any((work / "cron" / "output").iterdir())


def test_a_job_with_a_deleted_profile_runs_in_its_owner_and_logs_that(hermes: Path, model: Model) -> None:
    (hermes / "profiles" / "work").mkdir(parents=True)
    job_id = make(hermes, profile="work")
    shutil.rmtree(hermes / "profiles" / "work")
    ended = fire(job_id, *MANUAL)
    assert ended.returncode == 0 and "no profile 'work'" in ended.stdout
    assert model.calls[0].model == "stub-model"


def test_an_occurrence_claimed_by_the_agent_s_scheduler_is_not_run_again(hermes: Path, model: Model) -> None:
    interval, once = make(hermes, schedule="every 2h"), make(hermes, schedule=in_seconds(3600))
    for job_id in (interval, once):
        change_record(hermes, job_id, next_run_at=in_seconds(-5))  # the agent skips or retires what is later
    taken = agent(hermes, "from cron.jobs import *\nrecord_ticker_heartbeat()\ndue = get_due_jobs()\n"
                          "answer = [advance_next_run(job['id']) for job in due]")
    assert len(taken) == 2
    for job_id in (interval, once):
        ended = fire(job_id)
        assert ended.returncode == 0 and "Skipped" in ended.stdout
    assert model.calls == []


def test_a_running_job_is_not_due_for_the_agent_s_scheduler(hermes: Path, model: Model) -> None:
    due_to_the_ticker: list[Any] = []

    def tick(_call: Call) -> str:
        due_to_the_ticker.append(agent(hermes, "from cron.jobs import *\nanswer = get_due_jobs()"))
        return "ran"

    model.answer = tick
    agent(hermes, "from cron.jobs import *\nrecord_ticker_heartbeat()\nanswer = 1")
    for fields in ({}, {"schedule": in_seconds(3600)}):
        job_id = make(hermes, **fields)
        make_due(hermes, job_id)
        assert fire(job_id).returncode == 0
    script = make_script(hermes, f"""
        {AGENT}/python -c 'from cron.jobs import *; print("due:", get_due_jobs())'
    """)
    make_due(hermes, script)
    assert fire(script).returncode == 0
    assert due_to_the_ticker == [[], []] and "due: []" in page(hermes, script)


def test_the_agent_stores_jobs_of_each_kind_as_hermes_oscron_does(hermes: Path) -> None:
    """The agent's own create_job and hermes-oscron write the same fields, for each kind of schedule."""
    ours_alone = {"armed_at", "profile", "toast_notifications"}
    differ = {"id", "created_at", "schedule", "schedule_display", "next_run_at"}
    for schedule, minutes in (("0 9 * * 1-5", None), ("every 2h", 120), (in_seconds(3600), None)):
        made = agent(hermes, f"from cron.jobs import create_job, get_job; "
                             f"answer = get_job(create_job('do it', {schedule!r}, name='n')['id'])")
        ours = agent(hermes, f"from cron.jobs import get_job; "
                             f"answer = get_job({make(hermes, schedule=schedule, prompt='do it', name='n')!r})")
        assert set(ours) - set(made) <= ours_alone
        for key in set(made) & set(ours) - differ:
            assert ours[key] == made[key], key
        assert ours["schedule"]["kind"] == made["schedule"]["kind"]
        assert ours["schedule"].get("minutes") == made["schedule"].get("minutes") == minutes
        assert ours["schedule"].get("expr") == made["schedule"].get("expr")
        for job in (made, ours):
            seen = service(hermes).show(job["id"])
            assert seen["state"] == "scheduled" and seen["next_run_at"]
        due, theirs = (datetime.datetime.fromisoformat(job["next_run_at"]) for job in (ours, made))
        assert abs((due - theirs).total_seconds()) < 10


def test_a_change_that_the_agent_makes_to_a_job_is_shown(hermes: Path) -> None:
    job_id = make(hermes, schedule="0 9 * * *")
    here = service(hermes)
    agent(hermes, f"from cron.jobs import *; answer = pause_job('{job_id}', 'because')")
    assert (here.show(job_id)["state"], here.show(job_id)["paused_reason"]) == ("paused", "because")
    agent(hermes, f"from cron.jobs import *; answer = resume_job('{job_id}')")
    assert here.show(job_id)["state"] == "scheduled"
    agent(hermes, f"from cron.jobs import *; answer = update_job('{job_id}', {{'schedule': 'every 3h', 'name': 'x'}})")
    assert (here.show(job_id)["schedule"]["expression"], here.show(job_id)["name"]) == ("every 3h", "x")
    listed = agent(hermes, "from cron.jobs import *; answer = list_jobs()")
    assert [job["id"] for job in listed] == [job_id]
    agent(hermes, f"from cron.jobs import *; answer = remove_job('{job_id}')")
    assert here.list_jobs()["jobs"] == []


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_an_agent_run_that_ends_while_jobs_json_is_broken_is_recorded_later(
    hermes: Path, home: Home, model: Model, is_killed: bool, fails: bool,
) -> None:
    jobs = hermes / "cron" / "jobs.json"
    whole: list[bytes] = []

    def answer(_call: Call) -> str:
        if not whole:
            whole.append(jobs.read_bytes())
            jobs.write_bytes(whole[0][:30])
        if fails:
            raise ModelFailure("the model has a headache")
        return "The model was here."

    model.answer = answer
    job_id = make(hermes)
    make_due(hermes, job_id)
    with firing(job_id) as runner:
        wait_for(lambda: whole, 60)
        wait_for(lambda: b'"ended_at"' in Path(home.state.runs, job_id).read_bytes(), 60)
        if is_killed:
            runner.kill()
            runner.wait()
        jobs.write_bytes(whole[0])
        if not is_killed:
            assert runner.wait(20) == (1 if fails else 0)
    reconciler(hermes).sync()
    job = record(hermes, job_id)
    assert (job["last_status"], job["repeat"]["completed"]) == ("error" if fails else "ok", 1)
    assert "headache" in job["last_error"] if fails else job["last_error"] is None
    assert instant(job["next_run_at"]) > datetime.datetime.now(datetime.UTC)
    assert ("headache" if fails else "The model was here.") in page(hermes, job_id)
