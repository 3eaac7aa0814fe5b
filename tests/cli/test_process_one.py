"""`serve` as process 1, as in a container without an init."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import needs_root, stored, write_script

CLIENT = """\
oscron() { "$PYTHON" -m hermes_oscron.cli "$@"; }
id_of() { sed -n 's/^Id: *//p'; }
until grep -q "fires the jobs" "$LOG"; do sleep 0.1; done
brief=$(oscron create "every 2h" --no-agent --script brief.sh | id_of)
lasting=$(oscron create "every 2h" --no-agent --script lasting.sh | id_of)
oscron run "$brief"; oscron run "$lasting"
until oscron show "$brief" | grep -q "status: ok"; do sleep 0.1; done
oscron list | (setsid sh -c 'sleep 0.1 &' & cat >/dev/null)
sleep 1
ps -ww axo stat,args >"$HERMES_HOME/processes"
kill -s "$SIGNAL" 1
"""


@needs_root
@pytest.mark.parametrize("number", ["TERM", "INT"])
def test_orphans_are_reaped_and_a_signal_ends_it_and_its_runs(root: Path, tmp_path: Path, number: str) -> None:
    write_script(root, "brief.sh", "(sleep 0.2 &); setsid sleep 0.1 & echo done\n")
    write_script(root, "lasting.sh", 'trap \'touch "$HERMES_HOME/asked"; exit 1\' TERM; sleep 60 & wait\n')
    log = tmp_path / "log"
    environment = {**os.environ, "CLIENT": CLIENT, "LOG": str(log), "PYTHON": sys.executable, "SIGNAL": number,
                   "PYTHONPATH": str(Path(__file__).parents[2])}
    begun = time.monotonic()
    with log.open("wb") as output:
        ended = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
             'mount -t tmpfs tmpfs /run; sh -euc "$CLIENT" & exec "$PYTHON" -m hermes_oscron.cli serve --port 0 '
             "--scheduler foreground"], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            timeout=60, check=False)
    assert ended.returncode == 0 and time.monotonic() - begun < 30, log.read_text()
    shown = (root / "processes").read_text().splitlines()
    assert any("lasting.sh" in line for line in shown) and not [line for line in shown if line.startswith("Z")]
    assert (root / "asked").exists()
    assert [job["last_error"] for job in stored(root)] == [None, "stopped by SIGTERM before it had ended."]


@needs_root
def test_a_server_that_cannot_start_ends_with_its_own_status(root: Path) -> None:
    ended = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-m",
         "hermes_oscron.cli", "serve", "--host", "192.0.2.1"], capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert ended.returncode == 1 and "Error: " in ended.stderr
