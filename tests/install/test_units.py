"""The unit files of an installation."""

import json
import pwd
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from hermes_oscron.install import layout, units
from hermes_oscron.install.settings import Settings, load

SYSTEM = Settings("hermes", "/var/lib/hermes/.hermes", "", 8791, "", "auto", "/usr/bin:/bin")
ODD = '/o d/&%x"y\\z$HOME'


@pytest.fixture
def user(tmp_path: Path) -> layout.Layout:
    folders = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data")}
    return layout.user(folders, "/home/a")


def settings_of(text: str, section: str) -> list[str]:
    """Return the lines of `section` in the unit file `text`, without comments."""
    part = text.partition(f"[{section}]\n")[2].partition("\n[")[0]
    return [line for line in part.splitlines() if line and not line.startswith("#")]


def test_every_template_is_rendered_without_a_placeholder_left() -> None:
    files = units.rendered(layout.system(), SYSTEM)
    assert len(files) == len(units.UNITS) + len(units.ROOT_HELPER) + len(units.ACCOUNT_DROP_INS)
    extra = [units.render(name, layout.system(), SYSTEM) for name in (units.POLKIT_RULES, units.NO_USER_MANAGER)]
    for text in [*files.values(), *extra]:
        assert "@BIN" not in text and "@ACCOUNT@" not in text and "@ROOT@" not in text and "@ENVIRONMENT@" not in text


def test_every_service_has_a_name_in_the_journal_and_is_silent_about_its_starts() -> None:
    for path, text in units.rendered(layout.system(), SYSTEM).items():
        if path.endswith(".service"):
            assert re.search(r"^SyslogIdentifier=hermes-[a-z-]+$", text, re.M), path
            assert {"SyslogLevel=notice", "LogLevelMax=notice"} <= set(settings_of(text, "Service")), path


def test_every_template_is_used() -> None:
    folder = Path(units.TEMPLATES)
    used = {*units.UNITS, *units.ROOT_HELPER, units.POLKIT_RULES, units.NO_USER_MANAGER, "account.conf",
            units.NEEDRESTART,
            *(name for name in units.ACCOUNT_DROP_INS if (folder / "system" / name).exists())}
    found = {str(path.relative_to(folder)).removeprefix("system/") for path in folder.rglob("*") if path.is_file()}
    assert found == used


def test_units_of_the_system_run_as_the_account_and_those_of_a_user_do_not(user: layout.Layout) -> None:
    assert "User=hermes" in settings_of(units.render("hermes-job@.service", layout.system(), SYSTEM), "Service")
    assert "User=" not in units.render("hermes-job@.service", user, replace(SYSTEM, account=""))


def test_the_units_of_a_demonstration_have_the_number_of_the_account(tmp_path: Path) -> None:
    """systemd warns of that name, in the journal of the machine."""
    places = layout.temporary(replace(layout.system(), runtime_units=str(tmp_path)), str(tmp_path))
    files = units.rendered(places, replace(SYSTEM, account="nobody"))
    units.write(files)
    uid = pwd.getpwnam("nobody").pw_uid
    for name in ("hermes-job@.service", "hermes-oscron.service", "hermes-oscron-root.socket"):
        assert re.search(f"User={uid}$", files[f"{tmp_path}/{name}"], re.M), name
    assert not [path for path, text in files.items() if re.search("User=nobody", text)]
    assert '"nobody"' in files[f"{tmp_path}/hermes-oscron-root.service"], "the helper gets the name"


def test_special_characters_are_escaped_for_each_place(user: layout.Layout) -> None:
    chosen = Settings("", f"{ODD}/.hermes", "", 8791, "", "auto", f"/bin:{ODD}")
    service = units.render("hermes-job@.service", user, chosen)
    assert r'Environment="PATH=/bin:/o d/&%%x\"y\\z$HOME"' in service
    assert f"PathChanged={ODD.replace('%', '%%')}/.hermes/cron/jobs.json" in units.render(
        "hermes-oscron-changed.path", user, chosen)


@pytest.mark.parametrize("name", [r"AD\ada", "ada@example.com", "ada b", "a%h", 'a"b', "a'b", "a$HOME"])
def test_the_name_of_the_account_is_escaped_for_each_place(name: str, tmp_path: Path) -> None:
    system, chosen = layout.system(), replace(SYSTEM, account=name)
    in_unit = name.replace("%", "%%")
    for unit, section, key in (("hermes-job@.service", "Service", "User"), ("hermes-oscron-root.socket", "Socket",
                                                                           "SocketUser")):
        assert f"{key}={in_unit}" in settings_of(units.render(unit, system, chosen), section)
    helper = units.render("hermes-oscron-root.service", system, chosen)
    [argument] = re.findall(r'^ExecStart=.* "(.*)"$', helper, re.MULTILINE)
    assert re.sub(r"\\(.)", r"\1", argument).replace("%%", "%").replace("$$", "$") == name
    [compared] = re.findall(r"subject\.user == (.*)\)", units.render(units.POLKIT_RULES, system, chosen))
    assert json.loads(compared) == name
    user = replace(system, prefix=str(tmp_path), units=str(tmp_path))
    (tmp_path / "venv").mkdir()
    units.write({f"{tmp_path}/hermes-oscron.service": units.render("hermes-oscron.service", user, chosen)})
    found = load(user)
    assert found and found.account == name


def test_a_dollar_in_the_folder_is_not_taken_for_a_variable() -> None:
    places = layout.user({}, "/home/a$b")
    service = units.render("hermes-job@.service", places, SYSTEM)
    assert 'ExecStart="/home/a$b/.local' in service and '"/home/a$$b/.local' in service.partition("ExecStopPost=")[2]


def test_the_api_listens_on_both_addresses_or_on_the_socket() -> None:
    by_port = settings_of(units.render("hermes-oscron.socket", layout.system(), SYSTEM), "Socket")
    assert by_port[:2] == ["ListenStream=127.0.0.1:8791", "ListenStream=[::1]:8791"]
    with_socket = replace(SYSTEM, socket="/run/a%b")
    by_socket = settings_of(units.render("hermes-oscron.socket", layout.system(), with_socket), "Socket")
    assert by_socket[0] == "ListenStream=/run/a%%b" and not by_socket[1].startswith("ListenStream")


def test_systemd_finds_no_fault_in_the_units(user: layout.Layout, tmp_path: Path) -> None:
    chosen = Settings("", str(tmp_path / "hermes"), "Europe/Berlin", 8791, "", "auto", "/usr/bin:/bin")
    programs = Path(user.programs)
    programs.mkdir(parents=True)
    for name in ("hermes-oscron", "hermes-cron-exec", "python"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    units.write(units.rendered(user, chosen))
    names = [f"{user.units}/{name.replace('@.', '@a.')}" for name in units.UNITS if "@" not in name]
    checked = subprocess.run(["systemd-analyze", "--user", "verify", *names], capture_output=True, text=True,
                             env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{user.units}:",
                                  "XDG_RUNTIME_DIR": str(tmp_path)}, check=False)
    assert "hermes" not in checked.stderr, checked.stderr


def test_differences_name_the_file_and_both_values(user: layout.Layout) -> None:
    chosen = replace(SYSTEM, account="", port=8900)
    units.write(units.rendered(user, chosen))
    assert list(units.differences(units.rendered(user, chosen))) == []
    told = "\n".join(units.differences(units.rendered(user, replace(chosen, port=8901))))
    assert f"{user.units}/hermes-oscron.socket" in told
    assert "-ListenStream=127.0.0.1:8900" in told and "+ListenStream=127.0.0.1:8901" in told


def test_the_settings_of_an_earlier_version_are_read_from_its_units(user: layout.Layout) -> None:
    earlier = Settings("", f"{ODD}/h", "Asia/Tokyo", 8900, "", "auto", f"/bin:{ODD}")
    Path(user.prefix, "venv").mkdir(parents=True)
    units.write(units.rendered(user, earlier))
    assert load(user) == earlier
    units.write(units.rendered(user, replace(earlier, socket="/run/user/1/api")))
    found = load(user)
    assert found and found.socket == "/run/user/1/api"


def test_needrestart_gets_its_file_only_if_it_is_installed(tmp_path: Path) -> None:
    places = replace(layout.system(), needrestart=str(tmp_path / "conf.d"), polkit_rules=None)
    written = f"{places.needrestart}/{units.NEEDRESTART_FILE}"
    assert written not in units.expected(places, SYSTEM)
    (tmp_path / "conf.d").mkdir()
    assert r"qr(^hermes-job\@)" in units.expected(places, SYSTEM)[written]


def test_the_account_of_root_gets_a_user_manager_only_if_it_has_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    places = layout.system()

    def has_drop_in(shell: str) -> bool:
        entry = pwd.struct_passwd(("keeper", "x", 4321, 4321, "", "/var/lib/keeper", shell))
        monkeypatch.setattr(pwd, "getpwnam", lambda name: entry)
        files = units.expected(places, Settings(account="keeper", home="/var/lib/keeper/.hermes"))
        assert f"{places.polkit_rules}/{units.POLKIT_RULES}" in files
        return f"{places.units}/user@4321.service.d/{units.NO_USER_MANAGER}" in files

    assert has_drop_in("/usr/sbin/nologin")
    assert not has_drop_in("/bin/bash")
