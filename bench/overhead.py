"""Measure what the runner adds to a job: the whole run beside the bare child, and the time until the child begins.

The package is installed as install.sh does it, since an editable install pays for its import hook at every start.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 60


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
        subprocess.run([place / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "."], check=True)
        (place / "hermes/scripts").mkdir(parents=True)
        script = place / "hermes/scripts/stamp.sh"
        script.write_text("echo $EPOCHREALTIME\n")
        os.environ.update(HERMES_HOME=str(place / "hermes"), TZ="UTC")
        (place / "hermes/oscron.toml").write_text('[scheduler]\nkind = "foreground"\n')
        made = subprocess.run(
            [place / "venv/bin/hermes-oscron", "create", "0 9 * * *", "--no-agent", "--script", "stamp.sh"],
            check=True, capture_output=True, text=True)
        job_id = made.stdout.split()[1]
        runner = [str(place / "venv/bin/hermes-cron-exec"), f"default:{job_id}", "--trigger", "manual"]
        kinds = {"bash": ["bash", str(script)], "runner": runner,
                 "python": [str(place / "venv/bin/python"), "-c", "pass"]}
        whole: dict[str, list[float]] = {kind: [] for kind in kinds}
        until: list[float] = []
        for _ in range(ROUNDS):  # interleaved, so that all meet the same noise
            for kind, command in kinds.items():
                begun, clock = time.perf_counter(), time.time()
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                whole[kind].append(1000 * (time.perf_counter() - begun))
                if kind == "runner":
                    until.append(1000 * (float(said.split()[0]) - clock))
        bare, ours, python = (statistics.median(whole[kind]) for kind in ("bash", "runner", "python"))
        print(f"bare child              {bare:6.1f} ms")
        print(f"python -c pass          {python:6.1f} ms")
        print(f"runner and child        {ours:6.1f} ms   overhead {ours - bare:.1f} ms, "
              f"{(ours - bare) / python:.1f} times an empty Python")
        print(f"until the child begins  {statistics.median(until):6.1f} ms   "
              f"{(statistics.median(until)) / python:.1f} times an empty Python")


if __name__ == "__main__":
    main()
