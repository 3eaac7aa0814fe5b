"""What a run changes in what fires its job: a completed one is disarmed, an interval without a calendar renewed.

The runner touches no timer and no crontab itself. It asks for a sync, which takes its turn with every other change of
jobs, and may wait for systemd where a part of the unit that systemd is stopping must not.
"""

import sys

from ..hermes import homes, records
from ..hermes.homes import Home, instance
from ..hermes.store import Record
from ..schedule.errors import ScheduleError
from ..schedule.types import INTERVAL, Schedule
from ..schedulers.charge import in_charge
from ..schedulers.plan import SchedulerError
from .voice import say


def rearm(home: Home, record: Record) -> None:
    """Have what fires RECORD's job brought in line with it, where it may not be. The next regular sync would, too."""
    over = records.state(record) != records.SCHEDULED
    kind = in_charge(home.root)
    try:
        if kind == "crontab" and over:
            _sync_crontab(home.root)
        elif kind == "systemd" and (over or _is_renewed_by_runs(home, record)):
            _ask_systemd(instance(home.profile, str(record["id"])))
    except SchedulerError as error:
        say(f"{error} 'hermes-oscron sync' will put it right.", sys.stderr)


def _sync_crontab(root: str) -> None:
    from ..schedulers import detached
    from ..schedulers.crontab import wrapper

    detached.start([f"{wrapper.folder(root)}/{wrapper.VERBS}", "sync"])


def _ask_systemd(instance: str) -> None:
    from ..schedulers.choose import manager
    from ..schedulers.systemd.scheduler import Systemd

    systemd = Systemd(manager())
    if systemd.has(instance):
        systemd.request_sync()


def _is_renewed_by_runs(home: Home, record: Record) -> bool:
    schedule = record.get("schedule")
    if not isinstance(schedule, dict) or schedule.get("kind") != INTERVAL:
        return False
    from ..schedulers.systemd.calendar import is_perpetual

    try:
        parsed: Schedule = records.schedule_of(record, homes.timezone(home))
    except ScheduleError:
        return False
    return not is_perpetual(parsed)
