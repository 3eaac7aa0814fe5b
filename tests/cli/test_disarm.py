import json

from .conftest import Cli

DISARMED = "No job fires: the jobs are disarmed. 'hermes-oscron arm' arms them again.\n"


def test_disarm_is_refused_while_a_foreground_server_runs(cli: Cli, server: str) -> None:
    assert "stop it first" in cli.refused("disarm")
    cli.json("create", "every 2h", "hello")
    assert "disarmed" not in cli.out("list")


def test_disarm_keeps_the_jobs_and_is_shown_until_arm(cli: Cli) -> None:
    job = cli.json("create", "every 2h", "hello")
    for _ in range(2):
        assert cli.out("disarm") == DISARMED
    assert cli.json("list")["jobs"] == [job]
    for arguments in (["list"], ["sync"], ["adopt"], ["adopt", "--dry-run"], ["show", job["id"]]):
        result = cli.run(*arguments)
        assert "disarmed" in result.stdout + result.stderr, arguments
        assert "'hermes-oscron arm'" in result.stdout + result.stderr, arguments
    assert cli.out("arm") == "The jobs are armed.\n"
    assert cli.json("list")["armed"] is True and "disarmed" not in cli.out("list") + cli.out("show", job["id"])



def test_commands_that_schedule_a_job_report_that_none_fires(cli: Cli) -> None:
    cli.out("disarm")
    created = cli.run("create", "0 9 * * *", "x", "--json")
    job_id = json.loads(created.stdout)["id"]
    assert "disarmed" in created.stderr
    assert "disarmed" in cli.run("update", job_id, "--name", "new").stderr
    cli.out("pause", job_id)
    assert "disarmed" in cli.run("resume", job_id).stderr
