"""From the due second to the model server's first request: our timers and the agent, beside the agent's own gateway."""

import datetime
import json
import random
import statistics
import time

from tests.agent.model import Model
from tests.machine.agents import PATH, agent
from tests.machine.box import Box
from tests.machine.sites import Site, add_account, free_port
from tests.machine.test_gateway import gateway

JOBS = 12
SPAN_S = 240
"""The jobs are spread over this time: the gateway looks once a minute, so where in the minute counts."""


def main() -> None:
    box, model = Box(), Model()
    try:
        box.boot()
        ours, theirs = _account(box, "ours", model), _account(box, "theirs", model)
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
        medians = []
        for site, name in ((ours, "timer, runner, agent"), (theirs, "the agent's gateway")):
            late = [min(call.at for call in model.calls_with(f"{site.user}, job {i}.")) - due.timestamp()
                    for i, due in enumerate(dues)]
            medians.append(statistics.median(late))
            print(f"{name:<24} median {medians[-1]:6.1f} s   worst {max(late):6.1f} s")
        print(f"ratio of medians {medians[0] / medians[1]:.2f}")
    finally:
        box.close()
        model.close()


def _account(box: Box, name: str, model: Model) -> Site:
    """Add an account whose agent calls `model`."""
    add_account(box, name)
    site = Site(box, name, free_port(), PATH=PATH)
    site.put(f"{site.hermes}/config.yaml", model.config)
    return site


if __name__ == "__main__":
    main()
