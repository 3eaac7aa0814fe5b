import json
from pathlib import Path

from ..conftest import stored, write_jobs, write_script
from .conftest import Cli


def test_it_makes_the_job_and_shows_it(cli: Cli, root: Path) -> None:
    shown = cli.out("create", "0 9 * * 1-5", "say hello", "--name", "Hello")
    record, = stored(root)
    assert (record["name"], record["prompt"], record["schedule"]["expr"]) == ("Hello", "say hello", "0 9 * * 1-5")
    for line in (f"Id: {record['id']}", "Name: Hello", "Schedule: Weekdays at 9:00 AM", "State: scheduled",
                 "Prompt: say hello"):
        assert line in [" ".join(shown_line.split()) for shown_line in shown.splitlines()]


def test_json_prints_the_job_as_the_api_returns_it(cli: Cli, root: Path) -> None:
    job = cli.json("create", "every 2h", "say hello")
    assert (job["schedule"], job["state"], job["owner_profile"]) == (
        {"kind": "interval", "expression": "every 2h"}, "scheduled", "default")
    assert [record["id"] for record in stored(root)] == [job["id"]]


def test_a_script_needs_no_prompt(cli: Cli, root: Path) -> None:
    script = write_script(root, "a.sh", "echo hi")
    job = cli.json("create", "in 2h", "--no-agent", "--script", script, "--repeat", "1")
    assert (job["no_agent"], job["script"], job["prompt"], job["repeat"]["times"]) == (True, script, "", 1)


def test_invalid_input_is_refused_in_one_sentence_and_creates_nothing(cli: Cli, root: Path) -> None:
    assert "0 0 30 2 *" in cli.refused("create", "0 0 30 2 *", "p")
    assert "prompt" in cli.refused("create", "30m")
    assert "past" in cli.refused("create", "2020-01-01T00:00", "p")
    assert "script" in cli.refused("create", "30m", "p", "--no-agent")
    assert "script" in cli.refused("create", "30m", "--no-agent", "--script", "../../etc/passwd")
    assert stored(root) == []


def test_a_missing_schedule_or_a_wrong_option_is_a_usage_error(cli: Cli, root: Path) -> None:
    for arguments in ((), ("30m", "p", "--repeat", "0"), ("30m", "p", "--colour"), ("30m", "p", "q")):
        cli.refused("create", *arguments, code=2)
    assert stored(root) == []


def test_an_unreadable_jobs_json_is_not_changed(cli: Cli, root: Path) -> None:
    path = root / "cron" / "jobs.json"
    path.parent.mkdir()
    path.write_text('{"jobs": [')
    assert str(path) in cli.refused("create", "30m", "p")
    assert path.read_text() == '{"jobs": ['


def test_an_invalid_configuration_is_refused_with_the_name_of_its_key(cli: Cli, root: Path) -> None:
    (root / "oscron.toml").write_text('[scheduler]\nkind = "sundial"\n')
    assert "scheduler.kind" in cli.refused("create", "30m", "p")
    assert stored(root) == []


def test_a_job_that_nothing_can_run_is_created_with_a_note(cli: Cli, root: Path) -> None:
    (root / "oscron.toml").write_text('[scheduler]\nkind = "foreground"\n[exec]\nagent = "none"\n')
    created = cli.run("create", "every 2h", "p")
    assert created.returncode == 0 and len(stored(root)) == 1
    assert created.stderr.startswith("NOTE: the job will not run as it should. No program can run the prompt")
    (root / "oscron.toml").write_text('[scheduler]\nkind = "foreground"\n[exec]\ncommand = ["not-there-at-all"]\n')
    assert "There is no program not-there-at-all in " in cli.run("create", "every 2h", "p").stderr


def test_a_surprising_schedule_is_created_with_a_warning_beside_the_answer(cli: Cli, root: Path) -> None:
    created = cli.run("create", "30m", "p", "--json")
    assert created.returncode == 0 and len(stored(root)) == 1
    assert "WARNING: It runs every 30 minutes from now; once is `in 30m`." in created.stderr
    assert "WARNING" not in created.stdout


def test_the_agent_s_fields_are_options_of_create_and_update(cli: Cli) -> None:
    created = cli.run("create", "every 2h", "say hello", "--skill", "a", "--skill", "b", "--context-from", "self",
                      "--enabled-toolset", "web", "--deliver", "telegram", "--no-attach-to-session", "--model", "m",
                      "--reasoning-effort", "low", "--base-url", "http://127.0.0.1:1", "--paused",
                      "--paused-reason", "r", "--json")
    job = json.loads(created.stdout)
    assert (job["skills"], job["context_from"], job["enabled_toolsets"]) == (["a", "b"], ["self"], ["web"])
    assert (job["deliver"], job["attach_to_session"], job["reasoning_effort"]) == ("telegram", False, "low")
    assert (job["state"], job["paused_reason"]) == ("paused", "r")
    updated = cli.run("update", job["id"], "--skill", "", "--model", "", "--attach-to-session", "--json")
    changed = json.loads(updated.stdout)
    assert (changed["skills"], changed["model"], changed["attach_to_session"]) == ([], None, True)
    assert changed["reasoning_effort"] == "low"


def test_fields_that_only_the_agent_uses_are_noted_if_it_does_not_run_the_job(cli: Cli, root: Path) -> None:
    only = "only the Hermes agent uses"
    script = ("every 2h", "--no-agent", "--script", write_script(root, "a.sh", "echo hi"))
    (root / "oscron.toml").write_text('[scheduler]\nkind = "foreground"\n[exec]\nagent = "none"\ncommand = ["cat"]\n')
    created = cli.run("create", *script, "--deliver", "telegram")
    assert created.returncode == 0 and len(stored(root)) == 1
    assert created.stderr == f"NOTE: 'deliver' has no effect: {only} it, and it does not run this job.\n"
    created = cli.run("create", "every 2h", "p", "--deliver", "telegram", "--model", "m", "--skill", "s")
    assert created.stderr == (f"NOTE: 'deliver', 'skills' and 'model' have no effect: {only} them, and it does not run "
                              f"this job.\n")
    job_id = stored(root)[1]["id"]
    assert only in cli.run("update", job_id, "--name", "x").stderr
    cli.out("update", job_id, "--deliver", "local", "--model", "", "--skill", "", "--workdir", str(root))
    (root / "oscron.toml").write_text('[scheduler]\nkind = "foreground"\n[exec]\nagent = "none"\n')
    assert only not in cli.run("create", "every 2h", "p", "--deliver", "telegram").stderr, "there is another note"


def test_an_unknown_job_for_the_context_is_refused(cli: Cli, root: Path) -> None:
    daily = {"kind": "cron", "expr": "0 9 * * *", "display": "x"}
    write_jobs(root, *({"id": job_id, "prompt": "p", "schedule": daily} for job_id in ("abcdef", "abcd99", "target")))
    write_jobs(root / "profiles" / "work", {"id": "foreign", "prompt": "p", "schedule": daily})
    before = stored(root)
    for command in (["create", "every 2h", "p"], ["update", "target"]):
        for unknown in ("123456789abc", "foreign", "work:foreign"):
            assert cli.refused(*command, "--context-from", "abcdef", "--context-from", unknown) == (
                f"'context_from': There is no job '{unknown}' in profile default.")
        assert "abcdef, abcd99" in cli.refused(*command, "--context-from", "abcd")
    assert stored(root) == before
    cli.run("update", "target", "--context-from", "abcde", "--context-from", "default:abcd99", "--context-from", "self")
    assert stored(root)[2]["context_from"] == ["abcdef", "abcd99", "self"]
    cli.out("update", "target", "--context-from", "")
    assert not stored(root)[2]["context_from"]
