"""Jobs of the agent that are due in one second: our timers with and without the agent worker, and the agent's gateway.

    python -m bench.herd [NUMBER…]    # of jobs (12 and 100)

The CPU is that of all processes of the booted machine, without the model, and includes 5 s after the last request. The
memory is the highest sum of the shares (PSS) of the account's processes, looked at every half second.
"""

import contextlib
import datetime
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.agent.model import Model
from tests.machine.agents import PATH, agent
from tests.machine.box import Box
from tests.machine.sites import Site, add_account, free_port
from tests.machine.test_gateway import gateway

NUMBERS = (12, 100)
LEAD_S = 75
"""From the creation of the jobs to their due time. The gateway looks once a minute."""
TIMEOUT_S = 600
SAMPLE_S = 0.5
SETTLE_S = 5
CPUACCT = Path("/sys/fs/cgroup/cpuacct")
"""Where cgroups(7), version 1, count the CPU."""


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:]] or NUMBERS
    box, model = Box(), Model()
    try:
        with _cpu_counted() as cpu:
            box.boot()
        ours, without, theirs = (_account(box, name, model) for name in ("ours", "without", "theirs"))
        ours.install()
        without.install()
        without.put(without.config, "[exec]\nagent_worker = false\n")
        for number in numbers:
            _measure("timers, agent worker", ours, model, number, cpu)
            with gateway(theirs):
                _measure("the agent's gateway", theirs, model, number, cpu)
            if number <= NUMBERS[0]:
                _measure("timers, no worker", without, model, number, cpu)
    finally:
        box.close()
        model.close()


def _measure(name: str, site: Site, model: Model, number: int, cpu: Path) -> None:
    """Make `number` jobs that are due in the same second, and print how they run."""
    due = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(seconds=LEAD_S)
    agent(site, f"answer = [create_job('{site.user} %d.' % i, '{due.isoformat()}')['id'] for i in range({number})]")
    time.sleep(max(0.0, due.timestamp() - time.time() - 1))
    before = _cpu_s(cpu)
    with _peak_memory(site) as peak:
        while time.time() < due.timestamp() + TIMEOUT_S and len(model.calls_with(f"{site.user} ")) < number:
            time.sleep(SAMPLE_S)
        time.sleep(SETTLE_S)
    late = sorted(call.at - due.timestamp() for call in model.calls_with(f"{site.user} "))
    model.calls.clear()
    print(f"{number:>4} {name:<22} {len(late)} requests, the first after {late[0]:6.1f} s, the last after "
          f"{late[-1]:6.1f} s   CPU {_cpu_s(cpu) - before:6.1f} s   memory {max(peak):5.0f} MiB", flush=True)


@contextlib.contextmanager
def _cpu_counted() -> Iterator[Path]:
    """Count the CPU of the processes that are started within the block, in the file that this yields."""
    group = CPUACCT / f"oscron-bench-{os.getpid()}"
    group.mkdir()
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield group / "cpuacct.usage"
    finally:
        (CPUACCT / "cgroup.procs").write_text(str(os.getpid()))


def _cpu_s(counted: Path) -> float:
    return int(counted.read_text()) / 1e9


@contextlib.contextmanager
def _peak_memory(site: Site) -> Iterator[list[float]]:
    """Yield a list that gets the memory in MiB of all processes of the account, until the block ends."""
    uid, ended, found = int(site.run("id -u").stdout), threading.Event(), [0.0]

    def sample() -> None:
        while not ended.wait(SAMPLE_S):
            found.append(sum(map(_pss_kib, Path("/proc").glob("[0-9]*"))) / 1024)

    def _pss_kib(process: Path) -> int:
        try:
            if process.stat().st_uid != uid:
                return 0
            return int((process / "smaps_rollup").read_text().partition("\nPss:")[2].split()[0])
        except (OSError, IndexError):  # it has ended
            return 0

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _account(box: Box, name: str, model: Model) -> Site:
    """Add an account whose agent calls `model`."""
    add_account(box, name)
    site = Site(box, name, free_port(), PATH=PATH)
    site.put(f"{site.hermes}/config.yaml", model.config)
    return site


if __name__ == "__main__":
    main()
