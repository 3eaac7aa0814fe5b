"""The settings of an installation: they stay until they are changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from hermes_oscron.install import layout
from hermes_oscron.install.settings import InstallError, Settings, changed_by, load, save

KEPT = Settings("", "/data/h", "Asia/Tokyo", 8900, "", "crontab", "/usr/bin")


@pytest.fixture
def places(tmp_path: Path) -> layout.Layout:
    made = layout.user({"XDG_DATA_HOME": str(tmp_path)}, str(tmp_path))
    Path(made.prefix).mkdir()
    return made


def test_there_are_no_settings_without_an_installation(places: layout.Layout) -> None:
    assert load(places) is None


@pytest.mark.parametrize("settings", [KEPT, Settings("hermes", "/var/lib/hermes/.hermes", socket="/run/api=b"),
                                      replace(KEPT, home="/o d/&%ü\udcff#x")])
def test_what_is_saved_is_loaded(places: layout.Layout, settings: Settings) -> None:
    save(places, settings)
    assert load(places) == settings
    assert Path(places.settings_file).stat().st_mode & 0o777 == 0o644


def test_a_later_run_without_variables_changes_nothing() -> None:
    assert changed_by(KEPT, {"PATH": "/bin"}, None) == KEPT


@pytest.mark.parametrize(("environment", "changed"), [
    ({"PORT": "9000"}, {"port": 9000}), ({"SOCKET": "/run/a"}, {"socket": "/run/a"}),
    ({"HERMES_HOME": "/other"}, {"home": "/other"}), ({"HERMES_TIMEZONE": "Europe/Berlin"}, {"zone": "Europe/Berlin"}),
    ({"PORT": "", "HERMES_HOME": ""}, {}), ({"HERMES_TIMEZONE": ""}, {"zone": ""}),
])
def test_a_variable_changes_its_setting_alone(environment: dict[str, str], changed: dict[str, object]) -> None:
    assert changed_by(KEPT, environment, None) == replace(KEPT, **changed)  # type: ignore[arg-type]


def test_a_port_or_an_empty_socket_takes_the_api_from_its_socket() -> None:
    with_socket = replace(KEPT, socket="/run/a")
    assert changed_by(with_socket, {"PORT": "9000"}, None) == replace(KEPT, port=9000)
    assert changed_by(with_socket, {"SOCKET": ""}, None) == KEPT


@pytest.mark.parametrize("environment", [
    {"PORT": "0"}, {"PORT": "65536"}, {"PORT": "http"}, {"PORT": "-1"}, {"PORT": "8791 "}, {"PORT": "٣"},
    {"SOCKET": "relative"}, {"SOCKET": "/run"}, {"SOCKET": "/" + 107 * "a"},
    {"SOCKET": "/a\nb"}, {"HERMES_HOME": "/a\nPORT=1"}, {"HERMES_TIMEZONE": "Mars/Base"},
    {"HERMES_TIMEZONE": "../../etc/passwd"}, {"HERMES_TIMEZONE": "Europe/Berlin\n"},
])
def test_a_wrong_value_is_refused_in_a_sentence(environment: dict[str, str]) -> None:
    with pytest.raises(InstallError) as refused:
        changed_by(KEPT, environment, None)
    assert str(refused.value).endswith(".") and next(iter(environment)) in str(refused.value)


def test_an_account_with_a_control_character_is_refused() -> None:
    with pytest.raises(InstallError, match=r"^ACCOUNT has a control character in it: 'a\\nUser=root'\.$"):
        changed_by(replace(KEPT, account="a\nUser=root"), {}, None)


def test_a_damaged_settings_file_is_named(places: layout.Layout) -> None:
    Path(places.settings_file).write_text("PORT=abc\n")
    with pytest.raises(InstallError, match=r"installation\.conf"):
        load(places)
