import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Api, write_jobs
from ..wrong_reading import CLI
from .conftest import Cli

SOURCE = Path(__file__).parents[2]
DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def complaints(cli: Cli) -> list[str]:
    result = cli.run("doctor")
    assert result.stderr == ""
    found = [line for line in result.stdout.splitlines() if line.startswith(("WRONG: ", "WARNING: "))]
    assert result.returncode == (2 if "WRONG" in str(found) else 1 if found else 0)
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


def test_disabled_authentication_is_reported(cli: Cli, root: Path) -> None:
    (root / "oscron.toml").write_text('[scheduler]\nkind = "foreground"\n[web]\nauth = "none"\n')
    assert 'auth = "none"' in cli.run("doctor").stdout


def test_an_unreadable_jobs_json_is_reported(cli: Cli, server: str, root: Path) -> None:
    path = root / "cron" / "jobs.json"
    path.write_text("{")
    result = cli.run("doctor")
    assert result.returncode == 2 and str(path) in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_verify_reports_its_result_in_the_last_line(cli: Cli, server: str, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY}, {"id": "b", "prompt": "p", "schedule": DAILY})
    assert cli.out("doctor", "--verify").splitlines()[-2:] == [
        "OK: no problems found.",
        "Verified 2 jobs against croniter only, because the scheduler is foreground: no differences."]


@pytest.mark.parametrize(("schedules", "told"), [
    ([], "Verified 0 jobs against croniter only, because the scheduler is foreground: there is none to compare."),
    ([{"kind": "interval", "minutes": 60}],
     "Verified 0 jobs against croniter only, because the scheduler is foreground: there is none to compare."),
    ([DAILY, {"kind": "interval", "minutes": 60}],
     "Verified 1 job against croniter only, because the scheduler is foreground: no differences."),
])
def test_verify_counts_the_jobs_that_it_has_compared(
    cli: Cli, server: str, root: Path, schedules: list[Any], told: str,
) -> None:
    write_jobs(root, *({"id": f"a{n}", "prompt": "p", "schedule": schedule} for n, schedule in enumerate(schedules)))
    assert cli.out("doctor", "--verify").splitlines()[-1] == told


def test_verify_prints_a_line_for_each_job_that_differs(cli: Cli, server: str, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY},
               {"id": "b", "prompt": "p", "schedule": {"kind": "cron", "expr": "5 9 * * 1"}})
    told = subprocess.run([*CLI, "doctor", "--verify"], capture_output=True, text=True, timeout=60, cwd=SOURCE)
    assert (told.returncode, told.stderr) == (1, "")
    *_, difference, last = told.stdout.splitlines()
    assert difference.startswith("DIFFERS: default:b: '5 9 * * 1' is due at ") and told.stdout.count("DIFFERS") == 1
    assert last == "Verified 2 jobs against croniter only, because the scheduler is foreground: 1 difference."


def test_it_prints_zone_path_and_python_of_the_jobs_with_their_sources(cli: Cli, root: Path) -> None:
    (root / "config.yaml").write_text("timezone: Asia/Tokyo\n")
    (root / "oscron.toml").write_text('[exec]\nagent = "none"\npath = "/usr/local/bin:/usr/bin:/bin"\n')
    shown = cli.run("doctor", HERMES_TIMEZONE="").stdout
    assert f"default: times without a zone are in Asia/Tokyo (timezone: in {root}/config.yaml).\n" in shown
    assert f"default: PATH is /usr/local/bin:/usr/bin:/bin ([exec] of {root}/oscron.toml).\n" in shown
    assert "python3 (the first in PATH; there is no agent).\n" in shown
    (root / ".env").write_text("PATH=/bin\nHERMES_TIMEZONE=Asia/Kolkata\n")
    shown = cli.run("doctor", HERMES_TIMEZONE="").stdout
    assert f"default: PATH is /bin ({root}/.env).\n" in shown
    assert f"default: times without a zone are in Asia/Kolkata (HERMES_TIMEZONE in {root}/.env).\n" in shown


def test_the_exit_status_is_0_then_1_for_warnings_and_2_for_problems(cli: Cli, server: str, root: Path) -> None:
    sound = {"id": "a", "prompt": "p", "schedule": DAILY}
    for records, status, word in (([sound], 0, "ok"), ([{**sound, "schedule": {**DAILY, "expr": "5-5 9 * * *"}}], 1,
                                                      "warnings"),
                                  ([{**sound, "schedule": {**DAILY, "expr": "61 * * * *"}}], 2, "problems")):
        write_jobs(root, *records)
        told = cli.run("doctor", "--json")
        assert told.returncode == status == cli.run("doctor").returncode
        report = json.loads(told.stdout)
        assert (report["status"], report["scheduler"], report["root"]) == (word, "foreground", str(root))
        assert [each["subject"] for each in report["findings"]] == ["default:a"] * bool(status)
        assert all(each["sentence"].startswith("default:a: ") for each in report["findings"])


def test_json_has_the_result_of_verify(cli: Cli, server: str, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY})
    assert json.loads(cli.out("doctor", "--json"))["verification"] is None
    assert json.loads(cli.out("doctor", "--verify", "--json"))["verification"] == {
        "checked": 1, "against": "croniter only, because the scheduler is foreground", "differences": {}}


def test_a_configuration_by_which_doctor_cannot_start_is_a_problem(cli: Cli, root: Path) -> None:
    (root / "oscron.toml").write_text("[exec\n")
    told = cli.run("doctor")
    assert told.returncode == 2 and told.stderr.startswith("Error: ") and "oscron.toml" in told.stderr
