import re
import signal
import subprocess
from pathlib import Path

from ..conftest import release_script, wait_for, write_jobs, write_waiting_script
from .conftest import COMMAND, Cli, Installed

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
FAILED = {"id": "f", "name": "flaky", "prompt": "p", "schedule": DAILY, "last_status": "error",
          "last_run_at": "2026-03-01T09:00:00+00:00", "last_error": "exited with\ncode 3."}


def test_one_screen_has_all_that_matters(cli: Cli, root: Path, server: str) -> None:
    for profile, count in (("", 12), ("profiles/work", 1)):
        write_jobs(root / profile, FAILED | {"id": f"f{count}"}, *(
            {"id": f"{i:012}", "name": "n" * 200, "prompt": "p", "schedule": DAILY} for i in range(count)))
    job_id = cli.json("create", "every 1h", "--no-agent", "--script", write_waiting_script(root), "--name", "w")["id"]
    cli.start(job_id)
    result = cli.run("status", COLUMNS="80", TZ="UTC")
    lines = result.stdout.splitlines()
    assert result.returncode == 0 and result.stderr == "", result
    assert len(lines) <= 24 and all(len(line) <= 80 for line in lines)
    assert lines[0].endswith("UTC: 16 scheduled, 2 failed; fired by 'hermes-oscron serve'.")
    text = "\n".join(lines)
    assert re.search(rf"^RUNNING: 1\n  {job_id}  w +\d+s\nQUEUED: none\nNEXT: 1[56], the first 5\n", text, re.M)
    assert "\nFAILED: 2\n  f12           flaky                     exited with code 3.\n  work:f1 " in text
    assert lines[-1] == "HEALTH: OK, no problems found."
    release_script(root)
    wait_for(lambda: cli.json_of("status")["running"] == [])


def test_json_has_every_job_in_progress_to_come_and_failed(cli: Cli, root: Path) -> None:
    write_jobs(root, FAILED, *({"id": f"{i:012}", "prompt": "p", "schedule": DAILY} for i in range(12)))
    answer = cli.json_of("status")
    assert answer["counts"] == {"scheduled": 13, "paused": 0, "completed": 0, "error": 0, "failed": 1}
    assert [entry["job_id"] for entry in answer["failed"]] == ["f"] and len(answer["next"]) == 13
    health = r"^HEALTH: 1 problem, 0 warnings; 'hermes-oscron doctor' has the remedies\.\n  WRONG: Nothing fires"
    assert re.search(health, cli.run("status").stdout, re.M)
    assert answer["status"] == "problems" and answer["findings"][0]["severity"] == "problem"
    assert cli.run("status").returncode == 2, "the foreground scheduler does not run"


def test_nothing_wrong_is_success(cli: Cli, root: Path, server: str) -> None:
    write_jobs(root, {"id": "a", "no_agent": True, "script": write_waiting_script(root), "schedule": DAILY})
    result = cli.run("status")
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "HEALTH: OK, no problems found."), result


def test_disarmed_jobs_are_mentioned(cli: Cli) -> None:
    cli.out("disarm")
    assert "No job fires: the jobs are disarmed." in cli.run("status").stdout


def test_top_shows_the_screen_again_and_again(cli: Cli, root: Path) -> None:
    write_jobs(root, FAILED)
    assert cli.out("top", "-n", "0.2", "--count", "3").count("RUNNING: none") == 3
    written = cli.on_terminal("top", "-n", "0.2", "--count", "2")
    assert written.count(b"\x1b[H\x1b[2J") == 2 and written.count(b"RUNNING: none") == 2


def test_top_ends_quietly(cli: Cli, root: Path) -> None:
    process = subprocess.Popen([*COMMAND, "top", "-n", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[1] == b"" and process.returncode == 130
    done = subprocess.run(f"{' '.join(COMMAND)} top -n 0.2 | head -1", shell=True, capture_output=True, timeout=60,
                          check=False)
    assert done.stderr == b"" and done.stdout.count(b"\n") == 1


def test_root_sees_the_jobs_of_the_account(as_root: Installed) -> None:
    write_jobs(as_root.root, FAILED)
    as_root.own()
    written = as_root.on_terminal("status", code=2).decode()
    assert "flaky" in written and all(len(line) <= 80 for line in written.splitlines())
    assert as_root.run("top", "-n", "0.2", "--count", "2").stdout.count("flaky") >= 2
