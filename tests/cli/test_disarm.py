from .conftest import Cli


def test_disarm_is_refused_while_a_foreground_server_runs(cli: Cli, server: str) -> None:
    assert "stop it first" in cli.refused("disarm")


def test_disarm_keeps_the_jobs(cli: Cli) -> None:
    job = cli.json("create", "every 2h", "hello")
    assert cli.out("disarm") == ""
    assert cli.json("show", job["id"]) == job
