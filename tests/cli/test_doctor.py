from pathlib import Path

from ..conftest import Api, write_jobs
from ..service.world import cut_off_run
from .conftest import Cli

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def complaints(cli: Cli) -> list[str]:
    result = cli.run("doctor")
    assert result.stderr == ""
    found = [line for line in result.stdout.splitlines() if line.startswith("WRONG: ")]
    assert result.returncode == (1 if found else 0)
    return found


def test_a_foreground_installation_without_a_server_is_a_problem(cli: Cli) -> None:
    complaint, = complaints(cli)
    assert "serve" in complaint


def test_a_running_foreground_server_is_not_a_problem(cli: Cli, api: Api) -> None:
    api.create()
    said = cli.out("doctor")
    assert "1 scheduled job," in said and "foreground" in said and "UTC" in said
    assert said.splitlines()[-1] == "OK: no problems found."


def test_a_schedule_that_never_fires_is_a_problem(cli: Cli, server: str, root: Path) -> None:
    write_jobs(root, {"id": "good", "schedule": DAILY}, {"id": "bad", "schedule": {**DAILY, "expr": "61 * * * *"}})
    complaint, = complaints(cli)
    assert "default:bad" in complaint


def test_an_unrecorded_cut_off_run_is_a_problem(cli: Cli, server: str, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY})
    cut_off_run(root, "a")
    complaint, = complaints(cli)
    assert "default:a" in complaint
    cli.out("sync")
    assert complaints(cli) == []


def test_disabled_authentication_is_reported(cli: Cli, root: Path) -> None:
    (root / "oscron.toml").write_text('[scheduler]\nkind = "foreground"\n[web]\nauth = "none"\n')
    assert 'auth = "none"' in cli.run("doctor").stdout


def test_an_unreadable_jobs_json_is_reported(cli: Cli, server: str, root: Path) -> None:
    path = root / "cron" / "jobs.json"
    path.write_text("{")
    result = cli.run("doctor")
    assert result.returncode == 1 and str(path) in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
