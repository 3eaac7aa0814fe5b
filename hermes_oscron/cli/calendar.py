"""The command `calendar`: the days to come."""

import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import click

from ..clock import CLOCK
from ..hermes.home import homes_of
from ..hermes.timezone import home_zone
from ..service.calendar import Day, Entry, days
from .addressing import complete_profiles, with_json
from .group import service
from .options import zone_option
from .render import DISARMED, one_line
from .table import fitted

MAX_TIMES = 5
"""The most times of a job that are listed on one day; more of them are counted."""


@click.command(epilog="Example: hermes-oscron calendar --days 2")
@click.option("--days", "count", default=7, type=click.IntRange(1, 31), show_default=True, help="How many days.")
@click.option("--tz", "zone", metavar="ZONE",
              help="The zone of the days and times, like Europe/Berlin.  [default: the Hermes zone]")
@click.option("--all-profiles", is_flag=True, help="Show the jobs of every profile.")
@click.option("--profile", "in_profile", metavar="NAME", shell_complete=complete_profiles,
              help="Show the jobs of this profile, not of the active one.")
@with_json
def calendar(count: int, zone: str | None, all_profiles: bool, in_profile: str | None) -> Any:
    """Show when the jobs are due in the coming days.

    A job with many times on a day has one line, with the number of times.
    """
    here = service(in_profile)
    shown_in = zone_option(zone) if zone else home_zone(here.home)
    homes = homes_of(here.root) if all_profiles else [here.home]
    found = days(homes, count, shown_in, CLOCK.now())
    answer = {"zone": shown_in.key, "days": [{
        "date": day.date.isoformat(), "clock_changes": day.clock_changes,
        "jobs": [{"profile": entry.profile, "job_id": entry.job_id, "name": entry.name, "count": len(entry.times),
                  "times": [time.isoformat() for time in entry.times]} for entry in day.entries]} for day in found]}
    return answer, partial(_show, found=found, zone=shown_in, active=here.home.profile,
                           is_armed=here.disarmed_since is None)


def _show(_: Any, found: list[Day], zone: ZoneInfo, active: str, is_armed: bool) -> None:
    if not is_armed:
        click.echo(DISARMED)
    for i, day in enumerate(found):
        if i:
            click.echo()
        click.echo(f"{day.date:%A, %Y-%m-%d}" + (f" ({zone.key})" if not i else ""))
        for change in day.clock_changes:
            shift = datetime.timedelta(seconds=abs(change["shift_seconds"]))
            way = "forward" if change["shift_seconds"] > 0 else "back"
            click.echo(f"  Clocks go {way} by {shift} in {change['zone']}, to {change['at'][11:16]}.")
        lines = sorted(line for entry in day.entries for line in _lines(entry, active))
        for _, text in lines:
            click.echo(fitted(f"  {text}"))
        if not lines:
            click.echo("  nothing")


def _lines(entry: Entry, active: str) -> list[tuple[datetime.datetime, str]]:
    """Return the lines of `entry`, with their times to sort by."""
    reference = entry.job_id if entry.profile == active else f"{entry.profile}:{entry.job_id}"
    job = f"{one_line(entry.name) or reference}  ({reference})"
    if len(entry.times) <= MAX_TIMES:
        return [(time, f"{time:%H:%M}        {job}") for time in entry.times]
    first, last = entry.times[0], entry.times[-1]
    return [(first, f"{first:%H:%M}-{last:%H:%M}  {job}  {len(entry.times)} times")]
