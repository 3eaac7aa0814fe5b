"""What a run may change in what fires its job: a completed one is disarmed, one that the agent rescheduled armed anew.

The runner touches no timer and no crontab itself. It asks for a sync, which takes its turn with every other change of
jobs, and may wait for systemd where a part of the unit that systemd is stopping must not.
"""

import sys

from ..hermes import records
from ..hermes.homes import Home
from ..hermes.store import Record
from ..schedulers.charge import in_charge
from ..schedulers.plan import SchedulerError
from .voice import say


def rearm(home: Home, record: Record | None) -> None:
    """Have what fires the job of RECORD, None when that is no more, brought in line with it, as any sync would."""
    kind = in_charge(home.root)
    try:
        if kind == "crontab" and (record is None or records.state(record) != records.SCHEDULED):
            _sync_crontab(home.root)
        elif kind == "systemd":
            _ask_systemd()
    except SchedulerError as error:
        say(f"{error} 'hermes-oscron sync' will put it right.", sys.stderr)


def _sync_crontab(root: str) -> None:
    from ..schedulers import detached
    from ..schedulers.crontab import wrapper

    detached.start([f"{wrapper.folder(root)}/{wrapper.VERBS}", "sync"])


def _ask_systemd() -> None:
    from ..schedulers.systemd.systemctl import manager

    manager().request_sync()
