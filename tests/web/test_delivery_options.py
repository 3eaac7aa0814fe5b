import os
from pathlib import Path

import pytest

from hermes_oscron.hermes import delivery

from ..conftest import Api

SOURCE = '''import os
raise SystemExit("nobody is to run this")
_KNOWN_DELIVERY_PLATFORMS = frozenset({
    "telegram", "home_pigeon",  # "not this"
    'sms',
})
'''


def write_source(folder: Path, text: str = SOURCE) -> None:
    (folder / "cron").mkdir(parents=True)
    (folder / "cron" / "scheduler.py").write_text(text)


def install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command `hermes` on the path, and the environment whose Python it names."""
    environment, commands = tmp_path / "venv", tmp_path / "bin"
    for folder in (environment / "bin", commands):
        folder.mkdir(parents=True)
    command = commands / "hermes"
    command.write_text(f"#!{environment}/bin/python3\n")
    command.chmod(0o700)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    return environment


def test_local_and_origin_come_first_with_labels_for_people(api: Api) -> None:
    platforms = api.get("/api/crons/delivery-options")["platforms"]
    assert [platform["value"] for platform in platforms[:2]] == ["local", "origin"]
    assert all(set(platform) == {"value", "label"} and platform["label"] for platform in platforms)


def test_without_an_agent_there_are_its_usual_ones(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    values = list(delivery.platforms(str(root)))
    assert values[:2] == ["local", "origin"]
    assert set(values) >= {"telegram", "discord", "slack", "signal", "matrix", "feishu"}


def test_a_checkout_in_the_root_says_what_it_offers_and_is_not_run(root: Path) -> None:
    write_source(root / "hermes-agent")
    assert list(delivery.platforms(str(root)).items())[2:] == [
        ("telegram", "Telegram"), ("home_pigeon", "Home pigeon"), ("sms", "SMS")]


def test_an_agent_that_is_installed_as_a_package_is_found_by_its_command(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = install_command(tmp_path, monkeypatch)
    write_source(environment / "lib" / "python3.12" / "site-packages")
    assert "home_pigeon" in delivery.platforms(str(root))


def test_a_checkout_is_found_by_the_command_too(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_command(tmp_path, monkeypatch)
    write_source(tmp_path)
    assert "home_pigeon" in delivery.platforms(str(root))


def test_a_source_that_names_none_leaves_the_usual_ones(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    write_source(root / "hermes-agent", "PLATFORMS = load()\n")
    assert "telegram" in delivery.platforms(str(root))


def test_every_option_may_be_a_job_s_deliver(api: Api) -> None:
    for platform in api.get("/api/crons/delivery-options")["platforms"]:
        assert api.create(deliver=platform["value"])["deliver"] == platform["value"]
