from pathlib import Path

import pytest

from ..conftest import stored, write_jobs
from .conftest import Cli, Installed

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
JOB = {"id": "aaaa11112222", "name": "disk", "prompt": "look\nclosely", "schedule": DAILY, "deliver": "local"}


def editor(folder: Path, text: str) -> str:
    """Return an editor that is a shell script of `text`, of which `$1` is the file."""
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def job(root: Path) -> str:
    write_jobs(root, JOB)
    return "disk"


def test_the_job_is_changed_in_the_editor(cli: Cli, root: Path, tmp_path: Path, job: str) -> None:
    edit = editor(tmp_path, 'cp "$1" "$0.seen"; sed -i "s/0 9/0 10/; s/closely/again/" "$1"\n'
                            'echo \'model = "m"\' >>"$1"')
    result = cli.run("edit", job, EDITOR=edit)
    assert result.returncode == 0 and "Schedule:    Daily at 10:00 AM" in result.stdout, result
    [record] = stored(root)
    assert (record["schedule"]["expr"], record["prompt"], record["model"]) == ("0 10 * * *", "look\nagain", "m")
    seen = Path(f"{edit}.seen").read_text()
    assert seen.startswith("# Job default:aaaa11112222\n") and 'prompt = """\nlook\nclosely"""\n' in seen
    assert "# workdir: The folder that the job runs in.\n" in seen and "# schedule" not in seen


def test_a_text_that_is_left_as_it_is_changes_nothing(cli: Cli, root: Path, tmp_path: Path, job: str) -> None:
    before = (root / "cron" / "jobs.json").read_bytes()
    assert cli.out("edit", job, EDITOR="true") == "Nothing was changed.\n"
    assert (root / "cron" / "jobs.json").read_bytes() == before


@pytest.mark.parametrize(("command", "sentence"), [
    ("s/^schedule = .*/schedule = /", ": line 6: Invalid value"),
    ('s/"0 9/"70 9/', ": line 6: '70 9 * * *' has a bad minute"),
    ("s/^name/colour/", ": line 5: There is no key 'colour'"),
    ("/^schedule/d", ": 'schedule' is missing."),
    ('s/^name/id/', ": line 5: 'id' cannot be changed."),
])
def test_an_error_names_the_line_and_the_text_is_kept(cli: Cli, root: Path, tmp_path: Path, job: str, command: str,
                                                      sentence: str) -> None:
    before = (root / "cron" / "jobs.json").read_bytes()
    result = cli.run("edit", job, EDITOR=editor(tmp_path, f"sed -i '{command}' \"$1\""), TMPDIR=str(tmp_path))
    assert result.returncode == 1 and result.stdout == ""
    error, kept = result.stderr.splitlines()
    assert error.startswith(f"Error: {tmp_path}") and sentence in error, error
    assert Path(kept.removeprefix("Nothing was changed. The text is in ").removesuffix(".")).read_text()
    assert (root / "cron" / "jobs.json").read_bytes() == before


def test_a_terminal_may_edit_again(cli: Cli, root: Path, tmp_path: Path, job: str) -> None:
    edit = editor(tmp_path, 'if [ -e "$0.second" ]; then sed -i "s/70 9/0 11/" "$1"; else sed -i "s/0 9/70 9/" "$1"; '
                            'touch "$0.second"; fi')
    written = cli.on_terminal("edit", job, typed="y\n", EDITOR=edit)
    assert b"Edit again? [Y/n]: " in written and b"Daily at 11:00 AM" in written
    assert stored(root)[0]["schedule"]["expr"] == "0 11 * * *"


def test_a_change_by_another_program_is_kept(cli: Cli, root: Path, tmp_path: Path, job: str) -> None:
    path = root / "cron" / "jobs.json"
    other = f"sed -i 's/0 9 /5 5 /; s/\"disk\"/\"other\"/' '{path}'"
    result = cli.run("edit", job, EDITOR=editor(tmp_path, f'{other}; sed -i "s/0 9/0 10/" "$1"'), TMPDIR=str(tmp_path))
    assert result.returncode == 1 and "'schedule' was changed by another program" in result.stderr
    assert (stored(root)[0]["schedule"]["expr"], stored(root)[0]["name"]) == ("5 5 * * *", "other")
    write_jobs(root, JOB)
    assert cli.run("edit", job, EDITOR=editor(tmp_path, f'{other}; sed -i "s/closely/again/" "$1"')).returncode == 0
    assert (stored(root)[0]["prompt"], stored(root)[0]["name"]) == ("look\nagain", "other")


def test_an_editor_that_fails_changes_nothing(cli: Cli, root: Path, job: str) -> None:
    assert "The editor 'nosuch-editor' failed with status 127" in cli.run("edit", job, EDITOR="nosuch-editor").stderr
    assert stored(root) == [JOB]
    assert "no job 'nemo'" in cli.refused("edit", "nemo")


def test_root_edits_a_job_of_the_account_with_an_editor_of_its_own(as_root: Installed, tmp_path: Path) -> None:
    write_jobs(as_root.root, JOB)
    as_root.own()
    edit = editor(tmp_path, 'id -un >"$0.account"; sed -i "s/0 9/0 10/" "$1"')
    tmp_path.chmod(0o700)
    written = as_root.on_terminal("edit", "disk", EDITOR=edit)
    assert b"Daily at 10:00 AM" in written and Path(f"{edit}.account").read_text() == "root\n"
    assert stored(as_root.root)[0]["schedule"]["expr"] == "0 10 * * *"
    wrong = editor(tmp_path, 'sed -i "s/0 10/70 9/" "$1"')
    result = as_root.run("edit", "disk", EDITOR=wrong, TMPDIR=str(tmp_path))
    assert result.returncode == 1 and ": line 6: " in result.stderr and "The text is in " in result.stderr
    assert "no job 'nemo'" in as_root.run("edit", "nemo").stderr
