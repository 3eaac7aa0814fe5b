"""What a run changes in what fires its job: a completed one is disarmed, an interval without a calendar renewed.

The runner touches no timer itself. It asks the sync unit, which takes its turn with every other change of jobs and
timers, and may wait for systemd where a part of the unit that systemd is stopping must not.
"""

import sys

from ..hermes import homes, records
from ..hermes.homes import Home, instance
from ..hermes.store import Record
from ..schedule.errors import ScheduleError
from ..schedule.types import INTERVAL, Schedule


def rearm(home: Home, record: Record) -> None:
    """Have what fires RECORD's job brought in line with it, where it may not be. The nightly sync would do it too."""
    if records.state(record) == records.SCHEDULED and not _is_renewed_by_runs(home, record):
        return
    from ..schedulers.choose import manager
    from ..schedulers.plan import SchedulerError
    from ..schedulers.systemd.scheduler import Systemd

    systemd = Systemd(manager())
    if systemd.has(instance(home.profile, str(record["id"]))):
        try:
            systemd.request_sync()
        except SchedulerError as error:
            print(f"{error} 'hermes-oscron sync' will put the timers in step.", file=sys.stderr, flush=True)


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
