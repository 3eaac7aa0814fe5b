"""Measure the memory and the processor time of runs that wait in the queue, and the time from one run to the next.

A hundred prompts are due at once; a program that does nothing runs them. The installation is that of `bench.overhead`.
"""

import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS, LIMIT = 100, 4
IDLE_S = 10.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
        subprocess.run([place / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "."], check=True)
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
        runners = [subprocess.Popen([place / "venv/bin/hermes-cron-exec", f"default:job{number}"],
                                    stdout=subprocess.DEVNULL) for number in range(RUNS)]
        while sum(path.name[0].isdigit() for path in (home / "cron/oscron/shared-queue").glob("*")) < RUNS - LIMIT:
            time.sleep(0.1)
        time.sleep(3)
        pids = [runner.pid for runner in runners]
        before = sum(map(cpu_ms, pids))
        time.sleep(IDLE_S)
        print(f"CPU of {RUNS} runners    {(sum(map(cpu_ms, pids)) - before) / IDLE_S:6.1f} ms a second")
        print(f"memory of each (PSS)   {statistics.median(map(pss_mib, pids)):6.1f} MiB")
        begun = time.monotonic()
        (place / "go").touch()
        for runner in runners:
            runner.wait()
        print(f"from run to run        {1000 * (time.monotonic() - begun) / RUNS:6.1f} ms")


def cpu_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    main()
