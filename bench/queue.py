"""Runs that wait in the queue: their memory and processor time, and the time from one run to the next.

A hundred prompts are due at once; a program that does nothing runs them.
"""

import datetime
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.machine import cpu_of_process, memory_of_process, programs
from bench.table import Row

TITLE = "A hundred runs due at once, four in progress"
RUNS, LIMIT = 100, 4
IDLE_S = 10.0


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        home = place / "hermes"
        (home / "cron").mkdir(parents=True)
        (home / "oscron.toml").write_text(
            f'[exec]\ncommand = ["sh", "-c", "until [ -e {place}/go ]; do sleep 0.1; done"]\nmax_parallel = {LIMIT}\n'
            '[scheduler]\nkind = "foreground"\n')
        os.environ.update(HERMES_HOME=str(home), TZ="UTC")
        due = datetime.datetime.now(datetime.UTC).isoformat()
        (home / "cron/jobs.json").write_text(json.dumps({"jobs": [
            {"id": f"job{number}", "prompt": "x", "schedule": {"kind": "cron", "expr": "0 9 * * *"}, "next_run_at": due}
            for number in range(RUNS)]}))
        program = programs(place) / "hermes-cron-exec"
        runners = [subprocess.Popen([program, f"default:job{number}"], stdout=subprocess.DEVNULL)
                   for number in range(RUNS)]
        while sum(path.name[0].isdigit() for path in (home / "cron/oscron/shared-queue").glob("*")) < RUNS - LIMIT:
            time.sleep(0.1)
        time.sleep(3)
        pids = [runner.pid for runner in runners]
        before = sum(map(cpu_of_process, pids))
        time.sleep(IDLE_S)
        used = sum(map(cpu_of_process, pids)) - before
        python_command = [program.with_name("python"), "-c", "import sys; sys.stdin.read()"]
        with subprocess.Popen(python_command, stdin=subprocess.PIPE) as python:
            time.sleep(1)
            empty = memory_of_process(python.pid)
        yield Row("CPU of the runners", f"{1000 * used / IDLE_S:.1f} ms a second")
        yield Row("memory of a waiting runner (PSS)", f"{statistics.median(map(memory_of_process, pids)):.1f} MiB",
                  f"an empty Python: {empty:.1f} MiB")
        begun = time.monotonic()
        (place / "go").touch()
        for runner in runners:
            runner.wait()
        yield Row("from run to run", f"{1000 * (time.monotonic() - begun) / RUNS:.0f} ms")
