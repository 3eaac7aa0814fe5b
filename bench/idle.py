"""The CPU of a foreground server that has nothing to do, in percent of one core."""

import time
from collections.abc import Iterator

from bench.listing import serving
from bench.machine import cpu_of_process
from bench.table import Row

TITLE = "An idle foreground server"
SETTLE_S, MEASURE_S = 10.0, 120.0


def rows() -> Iterator[Row]:
    with serving(5000) as (process, _):
        time.sleep(SETTLE_S)
        before = cpu_of_process(process.pid)
        time.sleep(MEASURE_S)
        used = cpu_of_process(process.pid) - before
    yield Row("CPU at 5,000 jobs", f"{100 * used / MEASURE_S:.2f} % of a core", target="0.1 %")
