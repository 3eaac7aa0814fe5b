"""crowd.py SECONDS [SECOND:JOB_ID…]: run the jobs of $HERMES_HOME by all commands of the agent, for SECONDS.

It runs in the agent's own Python: `hermes cron tick` all the time, the check for overdue jobs that the gateway makes
("misfire"), and `hermes cron run JOB_ID` at SECOND of each minute, or of each second minute if that is 50 or later.
Each command is a process of its own, a fork, so that the agent is imported once. Prints a JSON line for each
`hermes cron run`.
"""

import contextlib
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import hermes_cli.cron
from cron import executions, scheduler, scheduler_provider  # noqa: F401  # scheduler: the ticks import it

TICK_S, MISFIRE_S = 0.25, 3.0
MAX_OUTPUT_BYTES = 100_000
MAX_TICKS = 2
"""A tick ends when the jobs that it runs have ended."""


class Child(NamedTuple):
    """A command that runs: `job_id` is empty except for a run by hand."""

    what: str
    job_id: str
    begun: float
    output: int
    """A file in memory."""


children: dict[int, Child] = {}


def start(what: str, command: Callable[[], Any], job_id: str = "") -> None:
    """Run `command` in a process of its own."""
    output = os.memfd_create(what)
    begun = time.time()
    pid = os.fork()
    if pid:
        children[pid] = Child(what, job_id, begun, output)
        return
    for fd in (1, 2):
        os.dup2(output, fd)
    executions._PROCESS_ID = uuid.uuid4().hex  # by it the agent tells its processes from each other
    sys.exit(command())


def reap() -> None:
    """Collect the commands that have ended, and report the runs by hand."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            child = children.pop(ended[0])
            if child.job_id:
                said = os.pread(child.output, MAX_OUTPUT_BYTES, 0).decode(errors="replace")
                print(json.dumps({"job_id": child.job_id, "begun": child.begun, "done": time.time(), "said": said}),
                      flush=True)
            os.close(child.output)


def run_by_hand(job_id: str) -> Any:
    sys.argv = ["hermes", "cron", "run", job_id]
    from hermes_cli.main import main

    return main()


def misfire() -> None:
    """Do what the gateway does once a minute, and wait for the jobs that it has started."""
    scheduler_provider.fire_overdue_jobs(scheduler_provider.resolve_cron_scheduler())
    for thread in threading.enumerate():
        if thread.name.startswith("cron-misfire"):
            thread.join()


def main(seconds: float, *by_hand: str) -> None:
    has_misfire = hasattr(scheduler_provider, "fire_overdue_jobs")
    until, last_misfire, last_minute = time.time() + seconds, 0.0, dict.fromkeys(by_hand, 0.0)
    while time.time() < until:
        reap()
        if sum(child.what == "tick" for child in children.values()) < MAX_TICKS:
            start("tick", hermes_cli.cron.cron_tick)
        if has_misfire and time.time() - last_misfire > MISFIRE_S:
            last_misfire = time.time()
            start("misfire", misfire)
        minute, second = divmod(time.time(), 60)
        for each in by_hand:
            at, job_id = each.split(":")
            if last_minute[each] < minute and int(at) <= second < int(at) + 5 and (int(at) < 50 or minute % 2):
                last_minute[each] = minute
                start("run", lambda job_id=job_id: run_by_hand(job_id), job_id)
        time.sleep(TICK_S)
    while children:
        reap()
        time.sleep(TICK_S)


if __name__ == "__main__":
    main(float(sys.argv[1]), *sys.argv[2:])
