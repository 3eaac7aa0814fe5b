"""Prompts due at once, run by the agent with a model that answers at once, beside the agent's own gateway.

The CPU is that of the whole machine, less that of as long a time before. The memory is that of all processes of the
account at its peak, with the API's server, and for the gateway that of the gateway; shared pages count once (PSS).
"""

import datetime
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.agent import account
from bench.machine import ACCOUNT, booted, cpu_of, memory_of
from bench.table import Row
from tests.agent.model import Model
from tests.machine.agents import AGENT, agent
from tests.machine.sites import Site, SystemSite
from tests.machine.test_gateway import gateway

TITLE = "Prompts due at once, run by the agent"
FEW, MANY = 12, 100
OF_ONE_SECOND = 20
"""As many of the many are due at one second; those have no order."""
IDLE_S, SAMPLE_S, TIMEOUT_S = 15.0, 1.0, 900.0


class Herd(NamedTuple):
    """The runs of some jobs: seconds after their first due second, CPU seconds, and MiB."""

    first_call_s: float
    end_s: float
    cpu_s: float
    peak_mib: float


def rows() -> Iterator[Row]:
    model = Model()
    with booted() as box:
        site = account(SystemSite, box, ACCOUNT, model)
        site.options = f"--account {ACCOUNT}"
        site.put(site.config, f'[exec]\nagent = "{AGENT}/hermes"\n')
        site.install()
        cold, one, warm, many = (run(site, model, count) for count in (FEW, 1, FEW, MANY))
    with booted() as box:
        site = account(Site, box, ACCOUNT, model)
        with gateway(site):
            theirs = run(site, model, FEW)
    model.close()
    gateway_s = "the agent's gateway: {:.1f} s"
    yield Row(f"CPU of {FEW}, cold / warm worker", f"{cold.cpu_s:.1f} / {warm.cpu_s:.1f} s",
              gateway_s.format(theirs.cpu_s), "twice the gateway's")
    yield Row("peak memory", f"{cold.peak_mib:.0f} / {warm.peak_mib:.0f} MiB",
              f"the agent's gateway: {theirs.peak_mib:.0f} MiB", "512 MiB")
    yield Row("due second to the model's first request", f"{cold.first_call_s:.1f} / {warm.first_call_s:.1f} s",
              gateway_s.format(theirs.first_call_s), "4 / 0.5 s")
    yield Row("the same for one alone, warm worker", f"{one.first_call_s:.2f} s", target="0.5 s")
    yield Row("due second to the end of all", f"{cold.end_s:.1f} / {warm.end_s:.1f} s", gateway_s.format(theirs.end_s))
    yield Row(f"{MANY}, in the order of their dues: CPU, time to the end of all",
              f"{many.cpu_s:.0f} s, {many.end_s:.0f} s")
    yield Row(f"{MANY}: peak memory", f"{many.peak_mib:.0f} MiB", target="1,024 MiB")


def run(site: Site, model: Model, count: int) -> Herd:
    """Run `count` jobs that are due within a few seconds, and return what they took."""
    before = cpu_of(site.box)
    time.sleep(IDLE_S)
    idle = (cpu_of(site.box) - before) / IDLE_S
    model.calls.clear()
    pages = len(_pages(site))
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    due = now + datetime.timedelta(seconds=20 + count // 5)
    dues = [(due + datetime.timedelta(seconds=n // OF_ONE_SECOND)).isoformat() for n in range(count)]
    agent(site, f"answer = [create_job('Say number {{}}.'.format(n), due)['id'] for n, due in enumerate({dues})]")
    assert time.time() < due.timestamp() - 3, "it took too long to make them"
    time.sleep(due.timestamp() - 1 - time.time())
    before = cpu_of(site.box)
    with _peak_memory(int(site.run("id -u").stdout)) as peak:
        while len(_pages(site)) < pages + count:
            time.sleep(0.1)
            assert time.time() < due.timestamp() + TIMEOUT_S, f"{len(_pages(site)) - pages} of {count} have run"
    end_s = time.time() - due.timestamp()
    used = cpu_of(site.box) - before - idle * (end_s + 1)
    _require_order(model, count)
    return Herd(min(call.at for call in model.calls) - due.timestamp(), end_s, used, max(peak))


def _pages(site: Site) -> list[Path]:
    return list(Path(f"/proc/{site.box.leader}/root{site.hermes}/cron/output").glob("*/*.md"))


@contextmanager
def _peak_memory(uid: int) -> Iterator[list[float]]:
    """Yield a list of the memory of the account `uid`, in MiB, to which one figure is added every second."""
    over, samples = threading.Event(), [0.0]

    def sample() -> None:
        while not over.wait(SAMPLE_S):
            samples.append(memory_of(uid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def _require_order(model: Model, count: int) -> None:
    """Check that all jobs have called the `model`, in the order of their dues; those that run at once have none."""
    order = list(dict.fromkeys(int(number) for call in model.calls
                               for number in re.findall(r"Say number (\d+)\.", call.text)[:1]))
    beside = 2 * len(os.sched_getaffinity(0))
    assert sorted(order) == list(range(count)), order
    for position, number in enumerate(order):
        assert position >= number - number % OF_ONE_SECOND - beside, order
