"""The place of a run on a cluster: what the policy of its job asks for, and the wait until Slurm has it."""

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .. import config
from ..hermes import agent, jobs_file
from ..hermes.home import Home, instance_name
from ..jobs.placement import placement_of
from ..jobs.record import Record, next_run_of
from ..runs.lock import RunLock
from ..runs.model import Run
from .environment import NoExecutor
from .log import log, subject
from .policy import policy_of
from .process import Command
from .turn import show_status

if TYPE_CHECKING:
    from .slurm_process import Allocation


class Place(NamedTuple):
    """The place of a run, or else the `error` with which it fails. It was queued at `queued_at`, if that is not 0."""

    allocation: "Allocation | None"
    error: str = ""
    queued_at: float = 0.0

    def with_command(self, command: Command) -> Command:
        """Return `command` in this place, where no file of this package is."""
        argv = agent.without_file(command.argv) if command.by_agent else command.argv
        return command._replace(argv=argv, worker="", allocation=self.allocation)

    def give_back(self) -> None:
        """Give the place back, in which nothing has begun."""
        if self.allocation:
            from .slurm import cancel

            cancel(self.allocation.srun, self.allocation.name, self.allocation.environment)


def place_of(home: Home, record: Record, settings: config.Config, run_lock: RunLock, trigger: str,
             waits: Callable[[], object]) -> Place | None:
    """Wait until the run of the job of `record` has its place on a cluster; None if it runs on this machine.

    Until then it is shown as queued; `waits` is called if it has to wait. Raises StateFileError, OSError.
    """
    from ..runs.slurm import SlurmError
    from .command import command_for
    from .slurm import Refused, Wanted, reserve

    since, queued_at = time.time(), 0.0

    def queued(why: str) -> None:
        nonlocal queued_at
        if not queued_at:
            queued_at = since
            jobs_file.forget(home)
            log(f"{subject(record)}: queued {why}")
            show_status(f"Queued {why} since {time.strftime('%Y-%m-%d %H:%M:%S %Z')}")
            waits()

    try:
        placement = placement_of(policy_of(record, home, settings))
        if placement is None:
            return None
        timeout = command_for(record, home, settings, will_run=False).timeout
        instance = instance_name(home.profile, record["id"])
        name = f"hermes-job@{instance}.{os.urandom(4).hex()}"
        moment = next_run_of(record)
        due = moment.timestamp() if moment else since
        run_lock.write(Run(record["id"], since, trigger, queued=True, slurm=name, due=due))
        allocation = reserve(Wanted(name, instance, placement, timeout), settings, queued)
    except (NoExecutor, SlurmError, Refused) as error:
        return Place(None, str(error), queued_at)
    show_status(f"Running on {allocation.node}, as job {allocation.job} of Slurm")
    return Place(allocation, "", queued_at)
