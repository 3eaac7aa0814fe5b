"""The crond and the crontab of BusyBox, in mount and process namespaces of their own."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import judges
from tests.conftest import needs_root, stored, write_script

BUSYBOX = shutil.which("busybox")
CHECKOUT = Path(__file__).parents[3]
PREPARE = """\
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/spool/cron || exit 9
mkdir -p /var/spool/cron/crontabs /run/bin
cp "$BUSYBOX" /run/bin/busybox && chmod 4755 /run/bin/busybox
for name in crontab crond; do ln -s busybox "/run/bin/$name"; done
PATH=/run/bin:$PATH
oscron() { "$PYTHON" -m hermes_oscron.cli "$@"; }
as_other() { setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps +dac_read_search \
--ambient-caps +dac_read_search "$@"; }
oscron_of_other() { as_other "$PYTHON" -m hermes_oscron.cli "$@"; }
"""
"""For the other account the capability opens the Python and the checkout of these tests."""

pytestmark = [needs_root, pytest.mark.skipif(
    not BUSYBOX or "crond" not in subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True,
                                                 check=True).stdout.split(),
    reason="apt install busybox-static")]


@pytest.fixture
def scripts(root: Path) -> Path:
    """Return the root of the jobs, which are fired by cron, and have the script job.sh."""
    (root / "oscron.toml").write_text('[scheduler]\nkind = "crontab"\n')
    write_script(root, "job.sh", "echo done\n")
    return root


def in_busybox(script: str) -> str:
    """Run the shell `script` with no other cron than BusyBox's; return all that it printed."""
    assert BUSYBOX
    environment = {**os.environ, "BUSYBOX": BUSYBOX, "PYTHON": sys.executable, "PYTHONPATH": str(CHECKOUT)}
    ran = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-euc",
                          PREPARE + script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, timeout=150, check=False)
    assert ran.returncode == 0 and "Traceback" not in ran.stdout, ran.stdout
    return ran.stdout


CREATE = "--no-agent --script job.sh"


def test_a_job_starts_on_the_minute_also_as_the_first_line_of_a_crontab(scripts: Path) -> None:
    said = in_busybox(f"crond; sleep 0.2; oscron create '* * * * *' {CREATE} --name one >/dev/null; crontab -l\n"
                      f"for i in $(seq 65); do oscron list | grep -q ' ok ' && break; sleep 1; done; oscron list\n"
                      f"oscron disarm; crontab -l 2>&1 || true; oscron arm; oscron doctor || true")
    assert re.search(r"one .* ok\s", said) and "can't open 'root'" in said and "Armed default:" in said
    assert "Nothing fires" not in said, "crond still runs"


@pytest.mark.parametrize("fields", ["* * * * *", "*/15 9-17/2 1-31/2 * *", "0 9 */32,8-14 * 5", "0 9 8-14 * */7",
                                    "*/60,5,20 */24,9 29-31 */3 */7,5", "0 9 1-31 * 0-6", "0 9 1,15 1,7 1-5"])
def test_crond_reads_fields_as_the_judge_does(fields: str) -> None:
    said = in_busybox(f"echo '{fields} true' | crontab -; crond -l 0 -L /run/log; sleep 0.2; cat /run/log")
    shown = [{nth for nth, on in enumerate(line) if on == "1"} for line in re.findall(r"^[01]{7,}$", said, re.M)]
    assert shown == list(judges.BusyboxEntry.parse(fields))


def test_the_crontab_that_a_full_disk_cuts_is_put_back_and_the_job_is_refused(scripts: Path) -> None:
    said = in_busybox(f"umount /var/spool/cron; mount -t tmpfs -o size=16k tmpfs /var/spool/cron\n"
                      f"mkdir /var/spool/cron/crontabs; crond; sleep 0.2\n"
                      f"for i in $(seq 200); do echo \"0 0 1 1 * true $i\"; done | crontab -; crontab -l | md5sum\n"
                      f"head -c 100k /dev/zero >/var/spool/cron/fill 2>/dev/null || true\n"
                      f"oscron create '0 9 * * *' {CREATE} || true; crontab -l | md5sum; rm /var/spool/cron/fill\n"
                      f"mount -o remount,ro /var/spool/cron; oscron create '0 9 * * *' {CREATE} || true")
    assert len(set(re.findall(r"^[0-9a-f]{32}", said, re.M))) == 1, "it is the one before"
    assert "Error: crontab refused: crontab: write error: No space left on device" in said
    assert "Error: crontab refused: crontab: can't create" in said and not stored(scripts)


def test_more_lines_than_crond_reads_are_refused(scripts: Path) -> None:
    said = in_busybox(f"cp -a {scripts} /run/home; chown -R 65534 /run/home; export HERMES_HOME=/run/home; crond\n"
                      "sleep 0.2; for i in $(seq 253); do echo \"0 0 1 1 * true $i\"; done | as_other crontab -\n"
                      f"for name in one two; do oscron_of_other create '0 9 * * *' {CREATE} --name $name || true\n"
                      "done; oscron_of_other list; oscron_of_other doctor || true\n"
                      "(echo '1 1 1 1 * true'; as_other crontab -l) >/run/lines; as_other crontab - </run/lines\n"
                      "oscron_of_other doctor || true")
    assert "Error: BusyBox's crond reads only 255 of 256 lines" in said
    assert re.findall(r"^\w{12}  (one|two) ", said, re.M) == ["one"]
    assert len(re.findall("WRONG: BusyBox's crond reads only 255 of 256 lines", said)) == 1


def test_a_crontab_that_only_root_can_use_is_refused(scripts: Path) -> None:
    said = in_busybox(f"chmod u-s /run/bin/busybox; chown -R 65534 {scripts}; crond; sleep 0.2\n"
                      f"oscron_of_other create '0 9 * * *' {CREATE} || true")
    assert "Error: Only root can use BusyBox's crontab here, which is not setuid" in said and not stored(scripts)


def test_an_account_whose_crontab_crond_ignores_is_refused(scripts: Path) -> None:
    said = in_busybox(f"cp -a {scripts} /run/home; chown -R 65534 /run/home; export HERMES_HOME=/run/home\n"
                      "sed 's/^nobody:/first.last:/' /etc/passwd >/run/passwd; mount --bind /run/passwd /etc/passwd\n"
                      "echo '* * * * * true' | as_other crontab -; crond -l 0 -L /run/log; sleep 0.2\n"
                      f"grep -c entry /run/log || true; oscron_of_other create '0 9 * * *' {CREATE} || true")
    assert said.startswith("0\n") and "Error: BusyBox's crond ignores the crontab of first.last, because" in said


def test_a_crond_that_reads_another_folder_is_refused(scripts: Path) -> None:
    said = in_busybox(f"mkdir /run/other; ln -s /var/spool/cron/crontabs /run/same; crond -c /run/other; sleep 0.2\n"
                      f"oscron create '0 9 * * *' {CREATE} --name other || true; kill $(cat /run/crond.pid)\n"
                      f"sleep 0.2; crond -c /run/same; sleep 0.2; oscron create '0 9 * * *' {CREATE} --name same")
    assert "Error: No cron daemon runs here that reads the crontabs" in said
    assert [job["name"] for job in stored(scripts)] == ["same"]


def test_the_installer_refuses_before_it_changes_anything_if_no_cron_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    begun = time.monotonic()
    said = in_busybox(f"HOME={home} HERMES_HOME={home}/.hermes {CHECKOUT}/install.sh --scheduler crontab 2>&1 || true")
    assert "install.sh: " in said and len(said.splitlines()) == 1 and time.monotonic() - begun < 30
    assert not home.exists()
