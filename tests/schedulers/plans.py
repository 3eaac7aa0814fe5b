"""Plans for tests in which their schedule does not matter."""

from zoneinfo import ZoneInfo

from hermes_oscron.schedule.model import cron_schedule
from hermes_oscron.schedulers.protocol import Plan


def daily_plan(instance: str) -> Plan:
    return Plan(instance, cron_schedule("0 9 * * *"), ZoneInfo("UTC"), None)
