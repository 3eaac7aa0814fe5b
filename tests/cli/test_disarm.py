from .conftest import Cli


def test_it_is_refused_while_a_server_fires(cli: Cli, server: str) -> None:
    assert "stop it first" in cli.refused("disarm")


def test_jobs_stay(cli: Cli) -> None:
    job = cli.json("create", "every 2h", "hello")
    assert cli.out("disarm") == ""
    assert cli.json("show", job["id"]) == job
