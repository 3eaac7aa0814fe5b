"""Jobs as files: export, apply and copy."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_oscron.cli.toml_text import table

from ..conftest import stored, write_jobs, write_script
from .conftest import Cli, Installed

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.booleans() | st.integers(-2**60, 2**60) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_toml_is_read_as_it_was_written(values: dict[str, Any]) -> None:
    text = table(values)
    assert tomllib.loads(text) == values
    assert all(character.isprintable() or character == "\n" for character in text)


@pytest.fixture
def many(cli: Cli, root: Path) -> Path:
    """A root whose jobs have every field that can be set."""
    write_script(root, "a.sh", "echo hi")
    (root / "profiles" / "work").mkdir(parents=True)
    cli.out("create", "every 2h", "--no-agent", "--script", "a.sh", "--name", "disk", "--repeat", "5")
    cli.run("create", "weekdays at 9:00", "-", "--name", 'm"a\\il', "--deliver", "telegram", "--skill", "x", "--skill",
            "y", "--workdir", str(root), "--model", "m", "--provider", "q", "--no-attach-to-session", "--context-from",
            "self", "--run-profile", "work", "--base-url", "http://x/v1", "--reasoning-effort", "low",
            "--failure-deliver", "local", "--enabled-toolset", "t", "--monitor-url", "https://x/", "--policy",
            "timeout=15m", "--policy", "environment.LANG=C", "--policy", "timezone=Europe/Berlin",
            stdin='Read\n\n"""mail"""\u200d\t\x1b[1m \\ ümlaut\n ')
    cli.out("create", "2099-03-15 09:00", "once", "--paused")
    cli.out("create", "0 0 1 * *", "monthly", "--paused", "--paused-reason", "in the holidays")
    assert len(stored(root)) == 4
    return root


STATE = ("created_at", "armed_at", "next_run_at", "paused_at")


def settings(root: Path) -> list[Any]:
    """The records in `root` without times of now, by id."""
    return sorted(({key: value for key, value in record.items() if key not in STATE} for record in stored(root)),
                  key=lambda record: str(record["id"]))


@pytest.mark.parametrize("options", [(), ("--json",), ("--all-profiles",)])
def test_what_was_exported_makes_the_same_jobs_on_an_empty_home(cli: Cli, many: Path, tmp_path: Path,
                                                                options: tuple[str, ...]) -> None:
    before, text = settings(many), cli.out("export", *options)
    file = tmp_path / "jobs"
    file.write_text(text)
    assert cli.out("apply", str(file)) == "0 to create, 0 to change, 0 to delete, 4 unchanged.\n"
    write_jobs(many)
    assert "4 to create, 0 to change, 0 to delete, 0 unchanged." in cli.out("apply", str(file))
    assert settings(many) == before
    assert cli.out("export", *options) == text
    assert cli.json("apply", str(file), "--prune") == {"changes": [], "unchanged": 4, "dry_run": False}


def test_only_differences_are_changed(cli: Cli, many: Path, tmp_path: Path) -> None:
    before = {record["id"]: record for record in stored(many)}
    file = tmp_path / "jobs.toml"
    exported = cli.out("export")
    file.write_text(exported.replace('"every 2h"', '"every 3h"').replace("repeat = 5\n", "")
                    .replace("attach_to_session = false\n", "").replace('skills = ["x", "y"]\n', ""))
    told = cli.out("apply", str(file), "--dry-run")
    assert '    schedule: "every 2h" -> "every 3h"\n    repeat: 5 -> the default\n' in told
    assert {record["id"]: record for record in stored(many)} == before
    assert cli.out("apply", str(file)) == told
    assert told.endswith("\n0 to create, 2 to change, 0 to delete, 2 unchanged.\n")
    assert cli.json("apply", str(file))["changes"] == []
    changed = [record["name"] for record in stored(many) if before[record["id"]] != record]
    assert changed == ["disk", 'm"a\\il']
    file.write_text(exported)
    cli.out("apply", str(file))
    assert cli.out("export") == exported


def test_a_policy_is_the_one_in_the_file(cli: Cli, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "jobs.toml"
    file.write_text('[[job]]\nname = "mail"\nschedule = "CRON_TZ=Europe/Berlin 0 9 * * *"\nprompt = "x"\n'
                    '[job.policy]\ntimeout = "15m"\nnice = 5\n[job.policy.environment]\nA = "1"\nB = "2"\n')
    assert "1 to create" in cli.out("apply", str(file))
    assert "1 unchanged" in cli.out("apply", str(file))
    text = cli.out("export")
    for line in ("nice = 5\n", 'A = "1"\n'):
        assert line in text
        text = text.replace(line, "")
    file.write_text(text)
    assert "1 to change" in cli.out("apply", str(file))
    assert stored(root)[0]["policy"] == {"timeout": 900, "environment": {"B": "2"}, "timezone": "Europe/Berlin"}
    file.write_text(text.partition("[job.policy")[0])
    assert "1 to change" in cli.out("apply", str(file))
    assert "policy" not in stored(root)[0]


def test_a_job_with_jitter_keeps_its_schedule(cli: Cli, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "jobs.toml"
    cli.out("create", "0 9 * * *", "x", "--policy", "jitter=30m")
    exported = cli.out("export")
    assert 'schedule = "0 9 * * *"' in exported and 'jitter = 1800' in exported
    file.write_text(exported)
    assert cli.json("apply", str(file))["changes"] == [] and cli.out("export") == exported


def test_a_pause_and_its_reason_are_applied(cli: Cli, many: Path, tmp_path: Path) -> None:
    file = tmp_path / "jobs.toml"
    text = cli.out("export")
    for changed in (text.replace('paused = true\npaused_reason = "in the holidays"\n', ""),
                    text.replace("in the holidays", "because"), text):
        file.write_text(changed)
        cli.out("apply", str(file))
        assert cli.out("export") == changed


def test_other_jobs_are_deleted_only_on_request(cli: Cli, many: Path, tmp_path: Path) -> None:
    file = tmp_path / "jobs.toml"
    file.write_text(cli.out("export", "disk"))
    write_jobs(many, *stored(many), {"id": "done", "prompt": "p", "schedule": DAILY, "state": "completed"})
    assert "0 to delete, 1 unchanged" in cli.out("apply", str(file))
    written = cli.on_terminal("apply", str(file), "--prune", typed="n\n", code=1)
    assert b"Delete 3 jobs, with all outputs? [y/N]: " in written and len(stored(many)) == 5
    assert "0 to change, 3 to delete, 1 unchanged" in cli.out("apply", str(file), "--prune")
    assert [record["id"] for record in stored(many)] == [stored(many)[0]["id"], "done"]


def test_jobs_without_an_id_are_found_by_their_names(cli: Cli, root: Path) -> None:
    text = '[[job]]\nname = "a"\nschedule = "daily at 9:00"\nprompt = "p"\n'
    assert "1 to create" in cli.run("apply", "-", stdin=text).stdout
    assert "1 unchanged" in cli.run("apply", "-", stdin=text).stdout
    assert "1 to change" in cli.run("apply", "-", stdin=text.replace("9:00", "10:00")).stdout
    assert [record["schedule"]["expr"] for record in stored(root)] == ["0 10 * * *"]


@pytest.mark.parametrize(("text", "sentence"), [
    ('[[job]\n', "standard input: Expected ']]'"),
    ('{"job": [}', "standard input: "),
    ('jobs = 1\n', "standard input: there is no key 'jobs'; jobs are tables [[job]]."),
    ('job = 1\n', "standard input: 'job' must be a list of tables."),
    ('[[job]]\nname = "x"\nprompt = "p"\n', "job 2 (x): 'schedule' is missing."),
    ('[[job]]\nname = "x"\nprompt = "p"\nschedule = "in 2h"\n', "job 2 (x): 'schedule': in 2h is another time"),
    ('[[job]]\nname = "x"\nprompt = "p"\nschedule = "noonish"\n', "job 2 (x): "),
    ('[[job]]\nschedule = "1h"\npaused_reason = "r"\n', "'paused_reason' is for a job that is paused"),
    ('[[job]]\nname = "x"\nschedule = "1h"\ncolour = "red"\n', "job 2 (x): There is no key 'colour'; the keys are id,"),
    ('[[job]]\nid = "../x"\nschedule = "1h"\nprompt = "p"\n', "job 2 (../x): 'id' must be a name like"),
    ('[[job]]\nid = "a"\nschedule = "2h"\nprompt = "p"\n', "job 2 (a): The job a is there twice."),
    ('[[job]]\nname = "x"\nschedule = "1h"\n', "job 2 (x): prompt is missing."),
    ('[[job]]\nname = "x"\nschedule = "1h"\nowner_profile = "nemo"\n', "job 2 (x): There is no profile"),
    ('[[job]]\nname = "x"\nschedule = "1h"\nprompt = "p"\nskills = "y"\n', "job 2 (x): 'skills' must be a list"),
])
def test_a_file_that_is_wrong_changes_nothing(cli: Cli, root: Path, text: str, sentence: str) -> None:
    good = '[[job]]\nid = "a"\nschedule = "1h"\nprompt = "p"\n'
    result = cli.run("apply", "-", stdin=good + text if text.startswith("[[job]]") else text)
    assert (result.returncode, result.stdout) == (1, "") and sentence in result.stderr, result.stderr
    assert result.stderr.count("\n") == 1 and "Traceback" not in result.stderr
    assert stored(root) == []


def test_a_job_is_copied(cli: Cli, many: Path) -> None:
    copy = cli.json_of("copy", "disk")
    assert (copy["name"], copy["script"], copy["repeat"]) == ("disk copy", "a.sh", {"times": 5, "completed": 0})
    other = cli.json_of("copy", "disk", "--name", "d2", "--schedule", "every 4h", "--to", "work", "--paused")
    assert (other["name"], other["owner_profile"], other["state"]) == ("d2", "work", "paused")
    assert other["schedule"]["expression"] == "every 4h"
    assert cli.json_of("copy", "once")["state"] == "paused"
    assert b"Name:        d3" in cli.on_terminal("copy", "disk", "--name", "d3")


def test_a_dry_run_of_create_changes_nothing(cli: Cli, root: Path) -> None:
    (root / "prompt.txt").write_text("from a file\n")
    arguments = ("create", "daily at 9:00", "--prompt-file", str(root / "prompt.txt"), "--dry-run")
    assert "The job would be created:\nId: " in cli.out(*arguments) and stored(root) == []
    assert cli.json(*arguments)["prompt"] == "from a file"
    assert "no prompt" not in cli.refused("create", "60 9 * * *", "p", "--dry-run")
    cli.out(*arguments[:-1])
    assert stored(root)[0]["prompt"] == "from a file"
    assert "Give either a prompt or --prompt-file." in cli.refused(*arguments, "--name", "x", "p", code=2)
    assert "nosuch" in cli.refused("create", "1h", "--prompt-file", "/nosuch", code=2)


def test_root_applies_a_file_that_the_account_cannot_read(as_root: Installed, tmp_path: Path) -> None:
    file = tmp_path / "jobs.toml"
    file.write_text('[[job]]\nid = "a"\nname = "x"\nschedule = "every 1h"\nprompt = "é"\n')
    file.chmod(0o600)
    assert "1 to create" in as_root.out("apply", str(file))
    assert as_root.out("export") == file.read_text()
    file.write_text("")
    assert b"Nothing was changed." in as_root.on_terminal("apply", str(file), "--prune", typed="n\n", code=1)
    assert "1 to delete" in as_root.on_terminal("apply", str(file), "--prune", typed="y\n").decode()
    assert json.loads((as_root.root / "cron" / "jobs.json").read_text())["jobs"] == []
    assert as_root.run("create", "every 1h", "-", stdin="a prompt").returncode == 0
    assert stored(as_root.root)[0]["prompt"] == "a prompt"
