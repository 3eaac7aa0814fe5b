"""What a run changes in what fires its job: a completed one is disarmed, an interval without a calendar renewed."""

import sys
from zoneinfo import ZoneInfo

from ..hermes import records
from ..hermes.homes import Home, instance
from ..hermes.store import Record
from ..schedule.types import INTERVAL


def rearm(home: Home, record: Record, zone: ZoneInfo) -> None:
    """Bring what fires RECORD's job in line with it. What fails here is put right by the next sync."""
    completed = records.state(record) == records.COMPLETED
    if not completed and record.get("schedule", {}).get("kind") != INTERVAL:
        return
    from ..schedulers.systemd.calendar import is_perpetual

    if not completed and is_perpetual(records.schedule_of(record, zone)):
        return
    from ..schedulers.choose import manager
    from ..schedulers.plan import SchedulerError
    from ..schedulers.systemd.scheduler import Systemd

    systemd, here = Systemd(manager()), instance(home.profile, str(record["id"]))
    if not systemd.has(here):
        return
    try:
        if completed:
            systemd.disarm_from_within(here)
        else:
            systemd.sync_from_within()
    except SchedulerError as error:
        print(f"{error} 'hermes-oscron sync' will put it right.", file=sys.stderr, flush=True)
