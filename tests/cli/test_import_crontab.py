"""The kinds of lines that crontabs have."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.service.crontab_import import Line, lines_of, script

from ..conftest import stored
from .conftest import Cli, Installed

CRONTAB = r"""# m h  dom mon dow   command
# For example, you can run a backup of all your user accounts
# 0 5 * * 1 tar -zcf /var/backups/home.tgz /home/
MAILTO=root
10 5 * * * echo plain
SHELL=/bin/bash
A = b c
"Q"='x y'
PATH=/opt/bin:$PATH
	*/5	9-17	*	*	1-5	echo "tabs # inside"
@daily echo daily
@reboot /usr/bin/start
0 0 1-31 * 1 mail -s report%first\%%second
#30 2 * * * echo off
# a sentence with more than six words in it
5-5 * * * * echo narrow
0 9 * * 1#1 echo first
61 * * * * echo wrong
0 9 * *
CRON_TZ=Asia/Tokyo
0 9 * * * echo tokyo
CRON_TZ=UTC
*/60 * * * * echo hourly
0 9 * * * hermes-cron-exec default:aaaa11112222
"""


def lines(text: str, with_users: bool = False) -> dict[int, Line]:
    return {line.number: line for line in lines_of(text, with_users)}


def test_the_lines_that_are_jobs_are_found() -> None:
    found = lines(CRONTAB)
    assert {number: (line.schedule, line.command, line.enabled) for number, line in found.items()} == {
        5: ("10 5 * * *", "echo plain", True), 10: ("*/5 9-17 * * 1-5", 'echo "tabs # inside"', True),
        11: ("@daily", "echo daily", True), 12: ("@reboot", "/usr/bin/start", True),
        13: ("0 0 1-31 * 1", "mail -s report", True), 14: ("30 2 * * *", "echo off", False),
        16: ("5-5 * * * *", "echo narrow", True), 17: ("0 9 * * 1#1", "echo first", True),
        18: ("61 * * * *", "echo wrong", True), 19: ("0 9 * *", "", True), 21: ("0 9 * * *", "echo tokyo", True),
        23: ("*/60 * * * *", "echo hourly", True)}
    assert found[13].stdin == "first%\nsecond" and found[5].stdin is None


def test_variables_hold_from_their_line_on() -> None:
    found = lines(CRONTAB)
    assert found[5].environment == {"SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", "MAILTO": "root"}
    assert found[10].environment == {"SHELL": "/bin/bash", "PATH": "/opt/bin:$PATH", "MAILTO": "root", "A": "b c",
                                     "Q": "x y"}
    assert any("'$', which cron does not expand" in note for note in found[10].notes)
    assert any(note.startswith("MAILTO is not used") for note in found[5].notes)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_user_is_before_the_command_in_the_crontab_of_the_system(end: str) -> None:
    found = lines(f"17 * * * * root cd / && run-parts x{end}@daily www-data x{end}* * * * * root{end}", True)
    assert [(line.user, line.command) for line in found.values()] == [
        ("root", "cd / && run-parts x"), ("www-data", "x"), ("", "")]
    assert found[3].why_not


def run_script(line: Line, tmp_path: Path) -> str:
    path = tmp_path / "script.sh"
    path.write_text(script(line))
    return subprocess.run(["bash", path], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
                          env={"HOME": str(tmp_path)}).stdout


def test_a_script_runs_the_command_as_cron_does(tmp_path: Path) -> None:
    text = "A = it's\nSHELL=/bin/bash\n* * * * * pwd; echo \"$A $PATH $0 \\%\"; cat%one%two \\% three\n"
    assert run_script(lines(text)[3], tmp_path) == f"{tmp_path}\nit's /usr/bin:/bin /bin/bash %\none\ntwo % three\n"
    assert run_script(lines("* * * * * cat; echo '#' # no comment in '")[1]._replace(command="cat; echo '#'"),
                      tmp_path) == "#\n"


def shown(cli: Cli, *arguments: str) -> dict[int, Any]:
    return {line["number"]: line for line in cli.json("import", "crontab", *arguments)}


def test_it_shows_what_becomes_of_each_line_and_changes_nothing(cli: Cli, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "crontab"
    file.write_text(CRONTAB)
    found = shown(cli, str(file))
    refused = {number: line["why_not"] for number, line in found.items() if line["why_not"]}
    assert set(refused) == {12, 16, 18, 19}
    assert refused[12] == "@reboot: a start of the machine is not a time."
    assert any(note.startswith("CRON_TZ=Asia/Tokyo: the job's times") for note in found[21]["notes"])
    assert any("every Monday" in note for note in found[13]["notes"]), "the day of month and of week"
    text = cli.out("import", "crontab", str(file))
    assert "14 (commented out): 30 2 * * *  echo off\n" in text and "    NOT IMPORTED: @reboot: " in text
    assert text.endswith("\nNothing was changed: --lines or --all imports lines.\n")
    assert stored(root) == [] and not list((root / "scripts").iterdir())
    assert b"NOT IMPORTED" in cli.on_terminal("import", "crontab", str(file))


def test_the_chosen_lines_become_paused_jobs(cli: Cli, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "crontab"
    file.write_text(CRONTAB)
    found = shown(cli, str(file), "--lines", "14, 5")
    [five, off] = stored(root) if stored(root)[0]["name"] == "echo plain" else stored(root)[::-1]
    assert (found[5]["job_id"], found[14]["job_id"], found[10]["job_id"]) == (five["id"], off["id"], None)
    assert (five["state"], five["schedule"]["expr"], five["script"]) == ("paused", "10 5 * * *", "cron-5-echo.sh")
    assert cli.out("run", "--wait", five["id"]) == "plain\n"
    assert "Comment out line 10, 11, 13, 17, 23, 5 in" not in cli.out("import", "crontab", str(file), "--all")
    assert len(stored(root)) == 9


def imported(cli: Cli, root: Path, text: str, **environment: str) -> list[dict[str, Any]]:
    """Return the jobs of the crontab `text`, in the order of its lines."""
    (root / "crontab").write_text(text)
    lines = json.loads(cli.out("import", "crontab", str(root / "crontab"), "--all", "--json", TZ="UTC", **environment))
    by_id = {job["id"]: job for job in stored(root)}
    return [by_id[line["job_id"]] for line in lines]


def test_a_job_keeps_the_zone_of_its_line(cli: Cli, root: Path) -> None:
    """Without CRON_TZ it is that of the machine, also if the Hermes zone is another one."""
    text = "0 9 * * * echo local\nCRON_TZ=Asia/Tokyo\n0 9 * * * echo tokyo\nCRON_TZ=\n@daily echo again\n"
    local, tokyo, again = imported(cli, root, text)
    assert (local.get("policy"), tokyo["policy"], again.get("policy")) == (None, {"timezone": "Asia/Tokyo"}, None)
    cli.out("resume", tokyo["id"])
    assert cli.json("show", tokyo["id"])["next_run_at"].endswith("T09:00:00+09:00")
    assert "CRON_TZ" not in (root / "scripts" / tokyo["script"]).read_text().partition("cd ")[2]
    local, tokyo, again = imported(cli, root, text, HERMES_TIMEZONE="Asia/Tokyo")
    assert (local["policy"], tokyo.get("policy"), again["policy"]) == (
        {"timezone": "UTC"}, None, {"timezone": "UTC"})
    (root / "oscron.toml").write_text((root / "oscron.toml").read_text() + '[policy]\ntimezone = "Asia/Tokyo"\n')
    assert [job.get("policy") for job in imported(cli, root, text)] == [{"timezone": "UTC"}, None, {"timezone": "UTC"}]


def test_a_line_in_an_unknown_zone_is_not_imported(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "crontab"
    file.write_text("CRON_TZ=Nowhere/Here\n0 9 * * * echo x\n")
    assert shown(cli, str(file))[2]["why_not"] == "CRON_TZ=Nowhere/Here: there is no such zone."


def test_lines_that_are_not_jobs_or_cannot_be_imported_change_nothing(cli: Cli, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "crontab"
    file.write_text(CRONTAB)
    assert "Line 4 is not a job; the jobs are lines 5, 10," in cli.refused("import", "crontab", str(file), "--lines",
                                                                          "5,4", code=2)
    assert "Line 12 cannot be imported: @reboot" in cli.refused("import", "crontab", str(file), "--lines", "5,12")
    file.write_text("* * * * * root x\n")
    assert "--users" in cli.refused("import", "crontab", str(file))
    file.write_text("")
    assert cli.out("import", "crontab", str(file)) == "There are no jobs in the crontab.\n"
    assert stored(root) == []


def test_the_crontab_of_the_system_belongs_to_several_accounts(cli: Cli, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "crontab"
    file.write_text("17 * * * * nobody x\n")
    assert shown(cli, str(file), "--users")[1]["why_not"].startswith("it runs as nobody, and the jobs run as ")


@pytest.mark.skipif(not shutil.which("crontab"), reason="needs crontab(1)")
def test_the_imported_lines_are_commented_out_on_request(cli: Cli, root: Path, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    if subprocess.run(["crontab", "-l"], capture_output=True, check=False).stdout:
        pytest.skip("this account has a crontab of its own")
    subprocess.run(["crontab", "-"], input=b"A=b\r\n0 9 * * * echo one\n0 10 * * *\techo two\n", check=True)
    try:
        assert b"Comment out 1 line of the crontab? [y/N]: " in cli.on_terminal(
            "import", "crontab", "--lines", "2", "--comment-out", typed="n\n", code=1)
        assert stored(root) == []
        text = cli.out("import", "crontab", "--lines", "3", "--comment-out")
        assert text.splitlines()[-1] == f"hermes-oscron resume {stored(root)[0]['id']}"
        content = subprocess.run(["crontab", "-e"], capture_output=True, check=True,
                                 env={**os.environ, "VISUAL": "cat"}).stdout
        assert content == b"A=b\r\n0 9 * * * echo one\n# imported by hermes-oscron: 0 10 * * *\techo two\n"
    finally:
        subprocess.run(["crontab", "-r"], check=True)


def test_root_imports_lines_for_the_account(as_root: Installed, tmp_path: Path) -> None:
    file = tmp_path / "crontab"
    file.write_text("17 * * * * nobody id -un\n18 * * * * root id -un\n")
    file.chmod(0o600)
    assert "Created" in as_root.out("import", "crontab", "--users", "--all", str(file))
    [job] = stored(as_root.root)
    assert job["name"] == "id -un"
