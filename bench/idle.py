"""The CPU of a foreground server that has nothing to do, at 10 and at 5,000 jobs, in percent of one core."""

import os
import time
from pathlib import Path

from bench.listing import serving

SETTLE_S, MEASURE_S = 10.0, 120.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def main() -> None:
    for jobs in (10, 5000):
        with serving(jobs) as (process, _):
            time.sleep(SETTLE_S)
            before = cpu_s(process.pid)
            time.sleep(MEASURE_S)
            used = cpu_s(process.pid) - before
            print(f"idle foreground server at {jobs} jobs: {100 * used / MEASURE_S:.2f} % of a core", flush=True)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that the process `pid` has used (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


if __name__ == "__main__":
    main()
