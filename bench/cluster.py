"""From the due second to the first instruction on a node of a real Slurm, beside a bare systemd timer with srun."""

import datetime
import statistics
import time
from collections.abc import Iterator

from bench.machine import installed
from bench.table import Row
from tests.conftest import wait_for
from tests.machine.cluster import start_slurm, use_slurm
from tests.machine.sites import Site

TITLE = "One fire on a cluster"
ROUNDS = 15
STAMPS = "/var/lib/stamps"


def rows() -> Iterator[Row]:
    with installed() as site:
        box = site.box
        start_slurm(box)
        use_slurm(site)
        box.run(f"mkdir -m 777 {STAMPS}")
        ours, bare = list[float](), list[float]()
        for number in range(ROUNDS):
            due = _soon()
            site.create(f"date +%s.%N >{STAMPS}/ours-{number}", schedule=due.isoformat(), policy={"run_on": "cluster"})
            ours.append(_late(site, f"ours-{number}", due))
            due = _soon()
            box.run(f"systemd-run --quiet --timer-property=AccuracySec=1us --uid={site.user} "
                    f"--on-calendar='{due:%Y-%m-%d %H:%M:%S} UTC' "
                    f"srun sh -c 'date +%s.%N >{STAMPS}/bare-{number}'")
            bare.append(_late(site, f"bare-{number}", due))
    yield Row("Due second to the first instruction on a node, median", f"{statistics.median(ours):.0f} ms",
              f"a timer with srun: {statistics.median(bare):.0f} ms", "100 ms more")
    yield Row("The same, worst", f"{max(ours):.0f} ms", f"a timer with srun: {max(bare):.0f} ms", "")


def _soon() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(seconds=4)


def _late(site: Site, name: str, due: datetime.datetime) -> float:
    """Return by how many milliseconds the stamp `name` is later than `due`."""
    stamp = wait_for(lambda: site.box.run(f"cat {STAMPS}/{name}", check=False).stdout.strip(), 20)
    time.sleep(1)
    return 1000 * (float(stamp) - due.timestamp())
