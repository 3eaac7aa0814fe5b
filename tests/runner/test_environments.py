"""Jobs are made and run, or refused with one sentence, in environments that are not as usual."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import needs_root, stored
from tests.runner.jobs import MANUAL, command_line, configure, fire, make_script, pages, record

LOCALES = {"de_DE.ISO-8859-1": ("de_DE", "ISO-8859-1"), "ja_JP.eucJP": ("ja_JP", "EUC-JP")}
OSCRON = [sys.executable, "-m", "hermes_oscron.cli"]


@pytest.mark.parametrize("locale", [*LOCALES, "C", "POSIX", "xx_XX.nonsense"])
def test_a_job_with_any_name_runs_in_any_locale(root: Path, tmp_path: Path, locale: str) -> None:
    if locale in LOCALES:
        language, charmap = LOCALES[locale]
        subprocess.run(["localedef", "-i", language, "-f", charmap, tmp_path / locale], check=True)
    environment = {"LOCPATH": str(tmp_path), "LC_ALL": locale, "PYTHONCOERCECLOCALE": "0"}
    job_id = make_script(root, "printf '%s: grün 夜' \"$HERMES_JOB_NAME\"\n", name="été 夜 €")
    done = fire(job_id, *MANUAL, **environment)
    assert done.returncode == 0, done
    assert record(root, job_id)["last_status"] == "ok" and "été 夜 €: grün 夜" in pages(root, job_id)[0]
    configure(root, '[scheduler]\nkind = "foreground"\n')
    for arguments in (["list"], ["show", job_id], ["runs", job_id], ["adopt", "--dry-run"]):
        done = subprocess.run([*OSCRON, *arguments], env={**os.environ, **environment}, capture_output=True, text=True,
                              errors="replace", timeout=30, check=True)
        assert done.stderr == ""


def in_namespace(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the shell `script`, whose mounts are its own; "$@" is `arguments`."""
    return subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *arguments], capture_output=True, text=True,
                          timeout=60, check=False)


READ_ONLY = 'mount --bind "$HERMES_HOME" "$HERMES_HOME" && mount -o remount,bind,ro "$HERMES_HOME" && exec "$@"'
HARMLESS = {
    "no /dev/shm": "umount -l /dev/shm", "no /proc": "umount -l /proc",
    "noexec /tmp": "mount -t tmpfs -o noexec,nosuid,nodev tmpfs /var/tmp", "no home": "unset HOME",
    "no variables": "unset PATH HOME USER LOGNAME SHELL TERM LANG TZ", "umask 000": "umask 000",
    "umask 777": "umask 777", "closed streams": "exec <&- >&- 2>&-", "no locale": "export LC_ALL=nonsense",
    "few files": "ulimit -n 32", "folder gone": "mkdir /dev/gone && cd /dev/gone && rmdir /dev/gone",
}


@needs_root
@pytest.mark.parametrize("kind", HARMLESS)
def test_a_job_is_made_and_run(root: Path, kind: str) -> None:
    configure(root, '[scheduler]\nkind = "foreground"\n[exec]\ncommand = ["/bin/cat"]\n')
    checkout = Path(__file__).parents[2]
    prepare = f"export PYTHONPATH={checkout}; {HARMLESS[kind]}; exec \"$@\""
    made = in_namespace(prepare, *OSCRON, "create", "every 2h", "hello")
    assert made.returncode == 0 and not made.stderr, made
    [job] = stored(root)
    ran = in_namespace(prepare, *command_line(job["id"], *MANUAL))
    assert ran.returncode == 0 and not ran.stderr, ran
    assert record(root, job["id"])["last_status"] == "ok"
    readable = [path for path in (root / "cron").rglob("*") if path.stat().st_mode & 0o077]
    assert not readable, "only the owner reads them"


@needs_root
def test_in_a_read_only_home_changes_are_refused_and_jobs_are_shown(root: Path) -> None:
    configure(root, '[scheduler]\nkind = "foreground"\n')
    job_id = make_script(root, "echo ran >&2\n")
    before = (root / "cron" / "jobs.json").read_bytes()
    for arguments in (["create", "1h", "x"], ["pause", job_id], ["delete", job_id], ["sync"], ["disarm"], ["token"],
                      ["run", job_id]):
        done = in_namespace(READ_ONLY, *OSCRON, *arguments)
        assert done.returncode == 1 and "Read-only file system" in done.stderr, done
        assert len(done.stderr.splitlines()) == 1 or arguments == ["create", "1h", "x"]
    ran = in_namespace(READ_ONLY, *command_line(job_id, *MANUAL))
    assert ran.returncode == 2 and "Read-only file system" in ran.stderr and "ran\n" not in ran.stderr
    shown = in_namespace(READ_ONLY, *OSCRON, "list", "--json")
    assert shown.returncode == 0 and [job["id"] for job in json.loads(shown.stdout)["jobs"]] == [job_id]
    assert (root / "cron" / "jobs.json").read_bytes() == before


NAMELESS = ["setpriv", "--reuid", "42042", "--regid", "42042", "--clear-groups", "--inh-caps", "+dac_read_search",
            "--ambient-caps", "+dac_read_search"]
"""As an account that is a number alone, as in `docker run --user`; the capability opens these tests' Python to it."""


@needs_root
@pytest.mark.parametrize("named", ["", "~nobody-of-that-name/x"])
def test_without_a_folder_for_the_home_nothing_is_made(tmp_path: Path, named: str) -> None:
    checkout = Path(__file__).parents[2]
    tmp_path.chmod(0o777)
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "HERMES_HOME")}
    environment |= {"PYTHONPATH": str(checkout)} | ({"HERMES_HOME": named} if named else {})
    for command in ([*OSCRON, "create", "every 2h", "x"], [*OSCRON, "serve"], command_line("abc"),
                    [str(checkout / "install.sh")]):
        refused = subprocess.run([*NAMELESS, *command], cwd=tmp_path, env=environment, capture_output=True, text=True,
                                 timeout=60, check=False)
        assert refused.returncode in (1, 2) and len(refused.stderr.splitlines()) == 1, refused
        assert "HOME" in refused.stderr and not list(tmp_path.iterdir())


@needs_root
def test_an_empty_token_that_is_mounted_alone_is_filled(root: Path) -> None:
    token = root / "cron" / "oscron" / "token"
    token.parent.mkdir(parents=True)
    token.touch(0o600)
    script = f'mount --bind {token} {token} && "$@" token && "$@" token && "$@" token --rotate'
    made = in_namespace(f"PYTHONPATH={Path(__file__).parents[2]}; export PYTHONPATH; {script}", *OSCRON)
    first, again, rotated = made.stdout.split()
    assert first == again != rotated and token.read_text().strip() == rotated and not made.stderr
    assert [path.name for path in token.parent.iterdir()] == ["token"]
