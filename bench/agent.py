"""Prompts spread over minutes: from the due second to the model's first request, beside the agent's own gateway."""

import datetime
import json
import random
import statistics
import time
from collections.abc import Iterator

from bench.machine import booted
from bench.table import Row
from tests.agent.model import Model
from tests.machine.agents import PATH, agent
from tests.machine.box import Box
from tests.machine.sites import Site, add_account, free_port
from tests.machine.test_gateway import gateway

TITLE = "Twelve prompts spread over four minutes"
JOBS = 12
SPAN_S = 240
"""The gateway looks once a minute, so where in the minute a job is due counts."""


def rows() -> Iterator[Row]:
    model = Model()
    with booted() as box:
        ours, theirs = account(Site, box, "ours", model), account(Site, box, "theirs", model)
        ours.install()
        with gateway(theirs):
            now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
            picked = random.Random(1).sample(range(20, 20 + SPAN_S), JOBS)
            dues = [now + datetime.timedelta(seconds=seconds) for seconds in sorted(picked)]
            for site in (ours, theirs):
                times = json.dumps([due.isoformat() for due in dues])
                agent(site, f"answer = [create_job('{site.user}, job %d.' % i, due)['id'] "
                            f"for i, due in enumerate({times})]")
            time.sleep((dues[-1] - datetime.datetime.now(datetime.UTC)).total_seconds() + 75)
    model.close()
    late = {site: [min(call.at for call in model.calls_with(f"{site.user}, job {i}.")) - due.timestamp()
                   for i, due in enumerate(dues)] for site in (ours, theirs)}
    said = [f"{statistics.median(late[site]):.1f} / {max(late[site]):.1f} s" for site in (ours, theirs)]
    yield Row("due second to the model's first request, median / worst", said[0], f"the agent's gateway: {said[1]}")


def account(kind: type[Site], box: Box, name: str, model: Model) -> Site:
    """Add an account whose agent calls `model`; return its installation of `kind`, which is not installed yet.

    The account cannot write to the agent's environment, so the agent may not try to add a package in each run.
    """
    add_account(box, name)
    site = kind(box, name, free_port(), PATH=PATH)
    site.put(f"{site.hermes}/config.yaml", f"{model.config}security:\n  allow_lazy_installs: false\n")
    return site
