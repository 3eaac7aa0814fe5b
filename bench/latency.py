"""From the due second to the child's first instruction: our timers with our runner, beside a bare systemd timer.

Beside both is the least that a runner in Python needs: a timer that starts an empty Python in the sandbox of the jobs.
"""

import datetime
import statistics
import time
from collections.abc import Iterator

from bench.fires import STAMPS, arm_empty
from bench.machine import installed
from bench.table import Row
from tests.conftest import wait_for

TITLE = "One fire"
ROUNDS = 15


def rows() -> Iterator[Row]:
    with installed() as site:
        box = site.box
        box.run(f"mkdir -m 777 {STAMPS}; printf '#!/bin/sh\\ndate +%%s.%%N >>{STAMPS}/bare\\n' >/root/bare.sh; "
                f"chmod +x /root/bare.sh")
        for _ in range(ROUNDS):
            due = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(seconds=3)
            site.create(f"date +%s.%N >>{STAMPS}/ours", schedule=due.isoformat())
            box.run(f"echo {due.timestamp()} >>{STAMPS}/due")
            wait_for(lambda due=due: time.time() > due.timestamp() + 1.5)
            bare_due = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(seconds=3)
            box.run(f"echo {bare_due.timestamp()} >>{STAMPS}/bare-due; "
                    f"systemd-run --quiet --timer-property=AccuracySec=1us "
                    f"--on-calendar='{bare_due:%Y-%m-%d %H:%M:%S} UTC' /root/bare.sh")
            wait_for(lambda due=bare_due: time.time() > due.timestamp() + 1)
            empty_due = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(seconds=3)
            box.run(f"echo {empty_due.timestamp()} >>{STAMPS}/due-of-empty")
            arm_empty(site, 1, empty_due)
            wait_for(lambda due=empty_due: time.time() > due.timestamp() + 1)

        def late(name: str, due: str) -> list[float]:
            stamps, dues = (sorted(box.run(f"cat {STAMPS}/{each}").stdout.split()) for each in (name, due))
            return [1000 * (float(at) - float(second)) for at, second in zip(stamps, dues, strict=True)]

        ours, bare, empty = late("ours", "due"), late("bare", "bare-due"), late("empty-*", "due-of-empty")
        yield Row("due second to the first instruction of a script, median / worst",
                  f"{statistics.median(ours):.0f} / {max(ours):.0f} ms",
                  f"an empty Python in the sandbox: {statistics.median(empty):.0f} / {max(empty):.0f} ms; "
                  f"a bare timer: {statistics.median(bare):.0f} / {max(bare):.0f} ms", "35 ms")
