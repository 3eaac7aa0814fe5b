import io
import tarfile
from pathlib import Path

import pytest

from ..conftest import stored, write_jobs, write_script, write_waiting_script
from .conftest import Cli, Installed

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
JOBS = [{"id": "a", "name": "disk", "no_agent": True, "script": "a.sh", "schedule": DAILY, "unknown": {"kept": 1}},
        {"id": "b", "prompt": "p", "schedule": DAILY, "state": "completed", "enabled": False}]


@pytest.fixture
def backup(cli: Cli, root: Path, tmp_path: Path) -> Path:
    """A backup of two profiles, with a run, its output and its script."""
    write_jobs(root, {**JOBS[0], "next_run_at": "2026-01-01T09:00:00+00:00"}, JOBS[1])
    write_jobs(root / "profiles" / "work", {**JOBS[1], "id": "w"})
    (root / "scripts" / "lib").mkdir()
    write_script(root, "a.sh", "echo hi")
    write_script(root, "lib/x", "x")
    write_jobs(root, *JOBS)
    cli.out("run", "a", "--wait")
    file = tmp_path / "backup.tar.gz"
    assert cli.out("backup", str(file)).startswith(f"Saved {file} (")
    assert file.stat().st_mode & 0o777 == 0o600
    return file


def lose_all(root: Path) -> None:
    write_jobs(root, {"id": "new", "prompt": "p", "schedule": DAILY})
    write_jobs(root / "profiles" / "work")
    for path in [*(root / "scripts").rglob("*"), *(root / "cron" / "output").rglob("*"),
                 root / "cron" / "oscron" / "runs.db"]:
        if path.is_file():
            path.unlink()


def test_a_backup_restores_jobs_scripts_outputs_and_runs(cli: Cli, root: Path, backup: Path) -> None:
    page, runs = cli.out("output", "a"), cli.json("runs")
    before = [{key: value for key, value in record.items() if key != "next_run_at"} for record in stored(root)]
    [modified] = [path.stat().st_mtime for path in (root / "cron" / "output" / "a").iterdir()]
    lose_all(root)
    assert cli.out("restore", str(backup)).startswith("default: 2 jobs, 2 scripts, 1 output\nwork: 1 job, 0 scripts, ")
    after = [{key: value for key, value in record.items() if key != "next_run_at"} for record in stored(root)]
    assert after == before and [record["id"] for record in stored(root / "profiles" / "work")] == ["w"]
    assert (root / "scripts" / "lib" / "x").read_text() == "x"
    assert cli.out("output", "a") == page and cli.json("runs") == runs
    assert [int(path.stat().st_mtime) for path in (root / "cron" / "output" / "a").iterdir()] == [int(modified)]


def test_occurrences_since_the_backup_stay_missed(cli: Cli, root: Path, tmp_path: Path) -> None:
    write_script(root, "a.sh", "echo hi")
    once = {"kind": "once", "run_at": "2026-01-01T09:00:00+00:00", "display": "x"}
    write_jobs(root, {**JOBS[0], "next_run_at": "2026-01-01T09:00:00+00:00"},
               {**JOBS[0], "id": "once", "schedule": once, "next_run_at": "2026-01-01T09:00:00+00:00"})
    cli.out("backup", str(tmp_path / "b"))
    cli.out("restore", str(tmp_path / "b"))
    assert stored(root)[0]["next_run_at"] > "2026-11" and "last_run_at" not in stored(root)[0]
    assert stored(root)[1]["state"] == "paused" and "restored" in stored(root)[1]["paused_reason"]


def test_a_terminal_is_asked_before_jobs_are_replaced(cli: Cli, root: Path, backup: Path) -> None:
    lose_all(root)
    assert b"Replace the present jobs of these profiles? [y/N]: " in cli.on_terminal("restore", str(backup), code=1,
                                                                                  typed="n\n")
    assert [record["id"] for record in stored(root)] == ["new"]
    assert "2 jobs" in cli.out("restore", str(backup), "--dry-run")
    assert [record["id"] for record in stored(root)] == ["new"]


def test_the_present_ledger_and_settings_are_kept(cli: Cli, root: Path, backup: Path) -> None:
    with (root / "oscron.toml").open("a") as settings:
        settings.write("timeout = 5\n")
    result = cli.run("restore", str(backup))
    assert result.returncode == 0
    assert "the ledger was kept" in result.stderr
    assert "oscron.toml was kept; the one in the backup differs" in result.stderr
    assert "timeout = 5" in (root / "oscron.toml").read_text()


def test_a_running_job_keeps_a_backup_from_being_restored(cli: Cli, root: Path, backup: Path) -> None:
    write_jobs(root, {"id": "r", "no_agent": True, "script": write_waiting_script(root), "schedule": DAILY})
    cli.start("r")
    assert "r of default is running" in cli.run("restore", str(backup)).stderr
    cli.out("stop", "r")


def archive(folder: Path, *members: tuple[str, bytes], link: str = "") -> str:
    path = folder / "made.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)
    return str(path)


FIRST = ("hermes-oscron-backup", b"1\n")


@pytest.mark.parametrize("members", [
    [], [("x", b"")], [("hermes-oscron-backup", b"2\n")], [FIRST, ("default/../x", b"")], [FIRST, ("/etc/x", b"")],
    [FIRST, ("default/scripts/../../x", b"")], [FIRST, ("default/jobs.json", b"[")],
    [FIRST, ("default/jobs.json", b"{}")], [FIRST, ("nemo/jobs.json", b'{"jobs": []}')],
    [FIRST, ("default/output/../x.md", b"")]])
def test_a_file_that_is_not_a_backup_changes_nothing(cli: Cli, root: Path, tmp_path: Path,
                                                     members: list[tuple[str, bytes]]) -> None:
    write_jobs(root, *JOBS)
    path = archive(tmp_path, *members)
    cli.run("restore", path)  # creates the folders of a home
    before = sorted(map(str, tmp_path.rglob("*")))
    result = cli.run("restore", path)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "Traceback" not in result.stderr
    assert sorted(map(str, tmp_path.rglob("*"))) == before and not (tmp_path / "x").exists()
    assert [record["id"] for record in stored(root)] == ["a", "b"]


def test_links_and_damaged_files_are_refused(cli: Cli, root: Path, tmp_path: Path, backup: Path) -> None:
    assert "contains 'default/scripts/x'" in cli.refused("restore", archive(tmp_path, FIRST, link="default/scripts/x"))
    backup.write_bytes(backup.read_bytes()[:-100])
    assert "damaged" in cli.refused("restore", str(backup))
    assert "exists already" in cli.refused("backup", str(backup))


def test_outputs_can_be_left_out_and_no_secret_is_in_it(cli: Cli, root: Path, tmp_path: Path, backup: Path) -> None:
    cli.out("token")
    (root / ".env").write_text("SECRET=1")
    cli.out("backup", "--no-outputs", str(tmp_path / "small"))
    with tarfile.open(tmp_path / "small") as tar:
        assert tar.getnames() == ["hermes-oscron-backup", "oscron.toml", "default/jobs.json", "default/runs.db",
                                  "default/scripts/a.sh", "default/scripts/lib/x", "work/jobs.json"]


def test_root_saves_and_restores_the_jobs_of_the_account_in_its_own_folder(as_root: Installed, tmp_path: Path) -> None:
    write_jobs(as_root.root, *JOBS)
    write_script(as_root.root, "a.sh", "echo \u00e9")
    as_root.own()
    tmp_path.chmod(0o700)
    file = tmp_path / "b.tar.gz"
    assert f"Saved {file}" in as_root.on_terminal("backup", str(file)).decode().replace("\r\n", "")
    (as_root.root / "scripts" / "a.sh").unlink()
    write_jobs(as_root.root)
    as_root.own()
    assert b"Nothing was changed." in as_root.on_terminal("restore", str(file), typed="n\n", code=1)
    assert b"default: 2 jobs, 1 script" in as_root.on_terminal("restore", str(file), typed="y\n")
    assert [record["id"] for record in stored(as_root.root)] == ["a", "b"]
    assert (as_root.root / "scripts" / "a.sh").read_text() == "echo \u00e9"
    assert as_root.run("backup", "/nosuch/x").returncode == 1
