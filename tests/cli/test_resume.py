import re
from pathlib import Path

from ..conftest import stored, wait_for, write_jobs
from .conftest import Cli

ONCE = {"kind": "once", "run_at": "2024-03-15T09:00:00+00:00", "display": "x"}
HOURLY = {"kind": "interval", "minutes": 60, "display": "x"}


def test_it_resumes_the_job_from_its_next_occurrence(cli: Cli, root: Path) -> None:
    job = cli.json("create", "0 9 * * *", "say hello")
    cli.out("pause", job["id"])
    resumed = cli.json("resume", job["id"])
    assert (resumed["state"], resumed["next_run_at"]) == ("scheduled", job["next_run_at"])
    assert stored(root)[0]["enabled"] is True


def test_a_past_one_shot_is_refused_and_stays_paused(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": ONCE, "state": "paused", "enabled": False})
    assert "past" in cli.refused("resume", "a")
    assert stored(root)[0]["state"] == "paused"


def test_a_completed_job_is_refused_with_the_commands_that_run_it_again(cli: Cli, root: Path, server: str) -> None:
    done = {"prompt": "p", "state": "completed", "enabled": False}
    write_jobs(root, {"id": "once", **done, "schedule": ONCE, "repeat": {"times": 1, "completed": 1}},
               {"id": "thrice", **done, "schedule": HOURLY, "repeat": {"times": 3, "completed": 3}},
               {"id": "never", **done, "schedule": {"kind": "cron", "expr": "0 0 31 2 *"},
                "repeat": {"times": 3, "completed": 1}})
    for job_id, reason in (("once", "it runs once"), ("thrice", "all of its 3 runs"), ("never", "no occurrence left")):
        sentence = cli.refused("resume", job_id)
        assert f"{job_id} cannot be resumed: it is completed, because it" in sentence and reason in sentence
        *run_now, run_again = re.findall(r"'hermes-oscron ([^']+)'", sentence)
        assert run_now == ([f"run default:{job_id}"] if job_id != "once" else [])
        for command in run_now:
            assert cli.out(*command.split()) == f"Started {job_id}.\n"
            wait_for(lambda job_id=job_id: " ok" in cli.out("show", job_id))
        if job_id != "thrice":
            cli.out(*("2099-01-01 09:00" if word == "TIME" else word for word in run_again.split()))
            assert cli.json("show", job_id)["state"] == "scheduled"


def test_a_completed_job_that_gets_more_runs_is_resumed(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "thrice", "prompt": "p", "state": "completed", "enabled": False, "schedule": HOURLY,
                      "repeat": {"times": 3, "completed": 3}})
    again, = re.findall(r"'hermes-oscron (update [^']+)'", cli.refused("resume", "thrice"))
    cli.out(*again.split())
    assert "Runs:        3 of 4" in cli.out("resume", "thrice")
    assert cli.json("show", "thrice")["state"] == "scheduled"


def test_a_missing_job_is_an_error(cli: Cli) -> None:
    assert "never-was" in cli.refused("resume", "never-was")
