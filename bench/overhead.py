"""Measure what the runner adds to a job: the whole run beside the bare child, and the time until the child begins."""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.machine import programs
from bench.table import Row

TITLE = "The runner"
ROUNDS = 60


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        bin_ = programs(place)
        (place / "hermes/scripts").mkdir(parents=True)
        script = place / "hermes/scripts/stamp.sh"
        script.write_text("echo $EPOCHREALTIME\n")
        os.environ.update(HERMES_HOME=str(place / "hermes"), TZ="UTC")
        (place / "hermes/oscron.toml").write_text('[scheduler]\nkind = "foreground"\n')
        made = subprocess.run(
            [bin_ / "hermes-oscron", "create", "0 9 * * *", "--no-agent", "--script", "stamp.sh"],
            check=True, capture_output=True, text=True)
        job_id = made.stdout.split()[1]
        runner = [str(bin_ / "hermes-cron-exec"), f"default:{job_id}", "--trigger", "manual"]
        kinds = {"bash": ["bash", str(script)], "runner": runner,
                 "python": [str(bin_ / "python"), "-c", "pass"]}
        whole: dict[str, list[float]] = {kind: [] for kind in kinds}
        until: list[float] = []
        for _ in range(ROUNDS):  # interleaved, so that all meet the same noise
            for kind, command in kinds.items():
                begun, clock = time.perf_counter(), time.time()
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                whole[kind].append(1000 * (time.perf_counter() - begun))
                if kind == "runner":
                    until.append(1000 * (float(said.splitlines()[1]) - clock))  # after the line of the start
        bare, ours, python = (statistics.median(whole[kind]) for kind in ("bash", "runner", "python"))
        beside = f"the bare child: {bare:.0f} ms, an empty Python: {python:.0f} ms"
        yield Row("runner and child", f"{ours:.0f} ms", beside)
        yield Row("until the child begins", f"{statistics.median(until):.0f} ms", beside)
