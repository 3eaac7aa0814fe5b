"""The plugin in the homes of all profiles, and out of them again."""

import json
import os
from pathlib import Path

import pytest

from hermes_oscron.hermes import plugin
from hermes_oscron.hermes.home import Home, profile_names
from hermes_oscron.hermes.plugin import PluginError

PROGRAM = "/opt/bin/hermes-oscron"
CONFIG = "model: m  # mine\ncron:\n  a: 1\n"


def write_config(path: Path, text: str = CONFIG) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.yaml").write_text(text)
    return path / "config.yaml"


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_install_and_remove_leave_every_profile_as_it_was(root: Path, home: Home) -> None:
    write_config(root)
    write_config(root / "profiles" / "work", "cron:\r\n  provider: chronos # theirs\r\n")
    (root / "profiles" / "bare").mkdir()
    before = tree(root)
    found = plugin.install(str(root), PROGRAM, {"PATH": "/bin", "SECRET": "x", "HERMES_TIMEZONE": ""})
    assert [each.profile for each in found] == ["default", "bare", "work"]
    for each in found:
        assert plugin.is_installed(each)
        said = json.loads(Path(plugin.folder(each), "command.json").read_text())
        assert said == {"argv": [PROGRAM, "sync"], "environment": {"PATH": "/bin", "HERMES_HOME": str(root)}}
    assert (root / "config.yaml").read_text() == "model: m  # mine\ncron:\n  provider: oscron\n  a: 1\n"
    plugin.remove(str(root))
    assert tree(root) == before
    assert not plugin.is_installed(home) and plugin.remove(str(root)) == []


def test_a_second_install_updates_the_plugin_and_can_still_be_undone(root: Path) -> None:
    path = write_config(root)
    plugin.install(str(root), PROGRAM, {})
    plugin.install(str(root), "/new/hermes-oscron", {})
    assert "/new/" in (root / "plugins" / "oscron" / "command.json").read_text()
    plugin.remove(str(root))
    assert path.read_text() == CONFIG


def test_a_configuration_that_cannot_be_edited_stops_it_before_anything_is_written(root: Path) -> None:
    write_config(root)
    for text in ("cron: [", "a: 1\n---\nb: 1\n"):
        bad = write_config(root / "profiles" / "work", text)
        before = tree(root)
        with pytest.raises(PluginError, match=str(bad)):
            plugin.install(str(root), PROGRAM, {})
        assert tree(root) == before
    bad.write_bytes(b"a: \xff\n")
    with pytest.raises(PluginError, match=str(bad)):
        plugin.install(str(root), PROGRAM, {})


def test_later_changes_of_the_configuration_are_kept(root: Path) -> None:
    path = write_config(root)
    plugin.install(str(root), PROGRAM, {})
    path.write_text("# a word\n" + path.read_text() + "new: 1\n")
    plugin.remove(str(root))
    assert path.read_text() == f"# a word\n{CONFIG}new: 1\n"


def test_a_pipe_instead_of_the_configuration_is_refused_without_waiting(root: Path) -> None:
    os.mkfifo(root / "config.yaml")
    with pytest.raises(PluginError, match=r"config\.yaml cannot be read"):
        plugin.install(str(root), PROGRAM, {})


def test_only_their_owner_can_read_the_files(root: Path) -> None:
    config = write_config(root)
    config.chmod(0o640)
    plugin.install(str(root), PROGRAM, {})
    for name in os.listdir(root / "plugins" / "oscron"):
        assert (root / "plugins" / "oscron" / name).stat().st_mode & 0o777 == 0o600
    assert config.stat().st_mode & 0o777 == 0o640
    assert profile_names(str(root)) == ["default"]
