from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.hermes import home as homes
from hermes_oscron.hermes.home import ProfileNotFound
from hermes_oscron.hermes.timezone import home_zone, localtime_state, machine_zone, zone_choice


def test_the_root_is_hermes_home_or_else_in_the_account_s_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    for value, root in (("/srv/hermes", "/srv/hermes"), ("~/h/", "/home/ada/h"), ("", "/home/ada/.hermes")):
        monkeypatch.setenv("HERMES_HOME", value)
        assert homes.hermes_root() == root
    monkeypatch.delenv("HERMES_HOME")
    assert homes.hermes_root() == "/home/ada/.hermes"


def test_hermes_home_may_name_a_profile(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "active_profile").write_text("other")
    monkeypatch.setenv("HERMES_HOME", str(root / "profiles" / "work"))
    assert (homes.hermes_root(), homes.active_profile(str(root))) == (str(root), "work")


def test_default_is_the_first_profile_and_each_folder_is_another(root: Path) -> None:
    assert homes.profile_names(str(root)) == ["default"]
    for name in ("work", "art", "default", ".hidden", "no spaces"):
        (root / "profiles" / name).mkdir(parents=True)
    (root / "profiles" / "file").touch()
    assert homes.profile_names(str(root)) == ["default", "art", "work"]


def test_the_active_profile_is_default_unless_its_file_names_an_existing_one(root: Path) -> None:
    (root / "profiles" / "work").mkdir(parents=True)
    assert homes.active_profile(str(root)) == "default"
    for content, active in ((b"work\n", "work"), (b"gone\n", "default"), (b"", "default"), (b"../x", "default"),
                            (b"\xff\xfe", "default")):
        (root / "active_profile").write_bytes(content)
        assert homes.active_profile(str(root)) == active, content


def test_every_profile_has_files_of_its_own(root: Path) -> None:
    (root / "profiles" / "work").mkdir(parents=True)
    default, work = homes.home_of(str(root), "default"), homes.home_of(str(root), "work")
    assert (default.jobs_file, work.jobs_file) == (f"{root}/cron/jobs.json", f"{root}/profiles/work/cron/jobs.json")
    assert (default.output_dir, work.scripts_dir) == (f"{root}/cron/output", f"{root}/profiles/work/scripts")
    assert default.root == work.root == str(root)


def test_a_missing_profile_is_unknown(root: Path) -> None:
    (root / "outside").mkdir()
    (root / "profiles").mkdir()
    for name in ("nobody", "../outside", "", ".", "a/b"):
        with pytest.raises(ProfileNotFound, match="There is no profile"):
            homes.home_of(str(root), name)


def test_an_instance_is_a_profile_and_a_job() -> None:
    assert homes.split_instance(homes.instance_name("work", "4f2a9c1d07be")) == ("work", "4f2a9c1d07be")
    for wrong in ("", "default", "default:", ":a", "a:b:c", "../x:a", "default:../x", "default:a b", "default:a\n",
                  "-" + "a" * 64 + ":b"):
        with pytest.raises(ValueError, match="is not PROFILE:JOB_ID"):
            homes.split_instance(wrong)


def test_the_zone_is_set_by_env_file_environment_config_and_machine_in_this_order(
        root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = homes.home_of(str(root), "default")
    (root / ".env").write_text("KEY=x\nexport HERMES_TIMEZONE='Asia/Tokyo' # office\n")
    (root / "config.yaml").write_text("timezone: Asia/Kolkata\n")
    monkeypatch.setenv("HERMES_TIMEZONE", "America/Nuuk")
    assert home_zone(home) == ZoneInfo("Asia/Tokyo")
    (root / ".env").unlink()
    assert home_zone(home) == ZoneInfo("America/Nuuk")
    for none in ("", "  "):
        monkeypatch.setenv("HERMES_TIMEZONE", none)
        assert home_zone(home) == ZoneInfo("Asia/Kolkata"), none
    (root / "config.yaml").unlink()
    assert home_zone(home) == machine_zone()


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "Eastern Standard Time"])
def test_a_zone_that_does_not_exist_is_reported_and_the_machine_s_counts(
        root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    home = homes.home_of(str(root), "default")
    (root / "config.yaml").write_text("timezone: Asia/Kolkata\n")
    monkeypatch.setenv("HERMES_TIMEZONE", name)
    choice = zone_choice(home)
    assert choice.zone == machine_zone()
    assert name in choice.problem
    monkeypatch.delenv("HERMES_TIMEZONE")
    (root / "config.yaml").write_text(f"timezone: {name}\n")
    assert f"timezone: in {root}/config.yaml is '{name}'" in zone_choice(home).problem


def test_without_systemd_the_machine_s_zone_is_that_of_tz(
        root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HERMES_TIMEZONE")
    home = homes.home_of(str(root), "default")
    monkeypatch.setattr("hermes_oscron.hermes.timezone.SYSTEMD_RUNS", str(tmp_path / "none"))
    for text in ("Asia/Tokyo", ":Asia/Tokyo", "/usr/share/zoneinfo/Asia/Tokyo"):
        monkeypatch.setenv("TZ", text)
        assert zone_choice(home) == (ZoneInfo("Asia/Tokyo"), "the variable TZ", "")
    monkeypatch.setattr("hermes_oscron.hermes.timezone.SYSTEMD_RUNS", str(tmp_path))
    assert home_zone(home) != ZoneInfo("Asia/Tokyo")


def test_the_zone_is_read_from_any_form_of_config_yaml(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HERMES_TIMEZONE")
    home, machine = homes.home_of(str(root), "default"), machine_zone()
    berlin = ZoneInfo("Europe/Berlin")
    for text, zone in (("a: 1\ntimezone: Europe/Berlin", berlin), ('timezone: "Europe/Berlin"\n', berlin),
                       ("timezone:   'Europe/Berlin'   # home\nb: 2\n", berlin), ("timezone: Nowhere\n", machine),
                       ("display:\n  timezone: Europe/Berlin\n", machine), ("# timezone: Europe/Berlin\n", machine),
                       ("timezone: ''\n", machine), ("timezone: null\n", machine),
                       ("timezone: Europe/Berlin\r\n", berlin), ("timezone : Europe/Berlin\n", berlin),
                       ('"timezone": "Europe/Berlin"\n', berlin), ("{a: 1, timezone: Europe/Berlin}\n", berlin),
                       ("{timezone\n", machine), ("timezone: Asia/Tokyo\ntimezone: Europe/Berlin\n", berlin)):
        (root / "config.yaml").write_bytes(text.encode())
        assert home_zone(home) == zone, text


def machine_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Make /etc/localtime of this machine a plain file with `content`."""
    (tmp_path / "localtime").write_bytes(content)
    monkeypatch.setattr("hermes_oscron.hermes.timezone.LOCALTIME", str(tmp_path / "localtime"))
    monkeypatch.setattr("hermes_oscron.hermes.timezone.SYSTEMD_RUNS", str(tmp_path))


@pytest.mark.parametrize("name", ["Europe/Berlin", "Asia/Kolkata", "America/Argentina/Buenos_Aires", "UTC"])
def test_a_copied_localtime_is_the_zone_with_its_content(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """/etc/timezone does not matter; that of this machine says Etc/UTC."""
    machine_with(tmp_path, monkeypatch, Path(f"/usr/share/zoneinfo/{name}").read_bytes())
    assert machine_zone().utcoffset(datetime(2027, 7, 1)) == ZoneInfo(name).utcoffset(datetime(2027, 7, 1))
    assert machine_zone().key in (name, "Etc/UTC")


def test_a_copied_localtime_of_no_known_zone_is_a_zone_of_its_own(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of tzdata has written it; that of Python has the same zone in another form."""
    machine_with(tmp_path, monkeypatch, (files("tzdata") / "zoneinfo" / "Asia" / "Tokyo").read_bytes())
    assert machine_zone().key == "localtime"
    assert machine_zone().utcoffset(datetime(2027, 7, 1)) == timedelta(hours=9)


@pytest.mark.parametrize("content", [b"", b"TZif", b"Europe/Berlin\n"])
def test_a_localtime_that_is_damaged_counts_as_utc(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    machine_with(tmp_path, monkeypatch, content)
    assert machine_zone() == ZoneInfo("UTC")


def test_a_localtime_that_changes_is_noticed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is changed within one tick of the kernel's clock, and by a link in between."""
    links = {name: tmp_path / name for name in ("localtime", "between")}
    monkeypatch.setattr("hermes_oscron.hermes.timezone.LOCALTIME", str(links["localtime"]))
    monkeypatch.setattr("hermes_oscron.hermes.timezone.SYSTEMD_RUNS", str(tmp_path))
    seen = set()
    for n in range(100):
        zone, link = ("Asia/Tokyo", "Europe/Berlin", "Asia/Dubai")[n % 3], ("localtime", "between")[n // 3 % 2]
        links["between"].unlink(missing_ok=True)
        links["localtime"].unlink(missing_ok=True)
        links["between"].symlink_to(f"/usr/share/zoneinfo/{zone}")
        links["localtime"].symlink_to(links["between"] if link == "between" else f"/usr/share/zoneinfo/{zone}")
        assert machine_zone() == ZoneInfo(zone), n
        seen.add(localtime_state())
    assert len(seen) >= 3


def test_a_localtime_that_links_to_a_missing_file_counts_as_utc(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The C library and systemd do the same."""
    (tmp_path / "zoneinfo" / "Asia").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "zoneinfo" / "Asia" / "Tokyo")
    monkeypatch.setattr("hermes_oscron.hermes.timezone.LOCALTIME", str(tmp_path / "link"))
    monkeypatch.setattr("hermes_oscron.hermes.timezone.SYSTEMD_RUNS", str(tmp_path))
    assert machine_zone() == ZoneInfo("UTC")
    (tmp_path / "zoneinfo" / "Asia" / "Tokyo").touch()
    assert machine_zone() == ZoneInfo("Asia/Tokyo")
