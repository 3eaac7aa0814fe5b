import time
from pathlib import Path

from .conftest import Cli

CONFIG = "model: m  # mine\n"


def test_install_and_remove_print_where_the_plugin_is(cli: Cli, root: Path) -> None:
    (root / "config.yaml").write_text(CONFIG)
    said = cli.out("plugin", "install")
    assert f"default: cron.provider is oscron in {root}/config.yaml." in said and "hermes gateway restart" in said
    assert (root / "config.yaml").read_text() == f"{CONFIG}cron:\n  provider: oscron\n"
    assert "restored" in cli.out("plugin", "remove")
    assert (root / "config.yaml").read_text() == CONFIG
    assert cli.out("plugin", "remove") == ""


def test_a_configuration_that_cannot_be_edited_is_refused_with_a_sentence(cli: Cli, root: Path) -> None:
    (root / "config.yaml").write_text("cron: [\n")
    assert "config.yaml was not changed" in cli.refused("plugin", "install")


def test_doctor_reports_a_gateway_that_also_fires_until_it_stops(cli: Cli, root: Path, server: str) -> None:
    beat = root / "cron" / "ticker_heartbeat"
    beat.parent.mkdir(exist_ok=True)
    beat.write_text(str(time.time()))
    told = cli.run("doctor")
    assert told.returncode == 1
    assert "the agent's gateway fires these jobs too" in told.stdout and "plugin install" in told.stdout
    cli.out("plugin", "install")
    assert "OK: no problems found." in cli.out("doctor")
    beat.write_text(str(time.time()))
    assert "'hermes gateway restart' stops it" in cli.run("doctor").stdout
