"""The commands that explain a schedule: its timer or crontab line, and when it is due."""

import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from .. import config
from ..clock import CLOCK
from ..errors import OscronError, shortened
from ..hermes import job_store
from ..hermes.home import ProfileNotFound, active_profile, hermes_root
from ..hermes.jobs_file import JobNotFound
from ..hermes.timezone import home_zone, machine_zone
from ..jobs import policy
from ..jobs.record import SCHEDULED
from ..schedule.model import INTERVAL, ScheduleError
from ..schedule.occurrences import first_occurrences
from ..schedule.parse import read_schedule, refuse_past
from ..schedulers.plan import limits_in
from ..schedulers.systemd import drop_in
from ..schedulers.systemd.unit_file import timer_lines
from ..service.job_views import why_never_fires
from ..service.runs import next_of
from .addressing import PROFILE_OPTION, Chosen, find_job, job_argument, with_json
from .group import selection
from .options import time_option, zone_option
from .render import one_line, show_crontab_line, show_warning


@click.command(epilog="Example: hermes-oscron translate 'weekdays at 9:30'")
@click.argument("schedule")
@click.option("--tz", "zone", metavar="ZONE",
              help="The zone of its times, like Europe/Berlin.  [default: the Hermes zone]")
@click.option("--scheduler", type=click.Choice(["systemd", "crontab"]),
              help="Translate for this scheduler.  [default: the active one]")
@click.option("--policy", "settings", multiple=True, metavar="KEY=VALUE",
              help="A policy, as for create. May be repeated.")
def translate(schedule: str, zone: str | None, scheduler: str | None, settings: tuple[str, ...]) -> None:
    """Print the [Timer] lines, or the crontab line, for SCHEDULE.

    With a policy, also the limits in the job's unit, and what the runner applies.
    """
    now = datetime.datetime.now(datetime.UTC)
    here = zone_option(zone)
    root = hermes_root()
    wanted = policy.merged(config.load(root).policy_of(active_profile(root)),
                           policy.check("policy", policy.from_words(settings)))
    if zone is None and "timezone" in wanted:
        here = zone_option(wanted["timezone"])
    parsed, warnings = read_schedule(schedule, here, now)
    refuse_past(parsed, now)
    for warning in warnings:
        show_warning(warning)
    phase = now + parsed.period if parsed.kind == INTERVAL else None
    if (scheduler or selection().active.kind) == "crontab":
        show_crontab_line(parsed, here, now, phase)
        _show_policy(wanted)
        return
    for line in timer_lines(parsed, here, machine_zone(), now, phase):
        click.echo(line)
    click.echo(drop_in.render(limits_in(wanted)).decode(), nl=False)
    _show_policy(wanted)


def _show_policy(wanted: policy.Policy) -> None:
    """Print the policy that the runner applies, as a comment."""
    if wanted:
        click.echo(f"# hermes-cron-exec applies: {', '.join(policy.words(wanted))}")


@click.command("next", epilog="Example: hermes-oscron next disk -n 5; hermes-oscron next 'weekdays at 9:30'")
@job_argument("job_or_schedule")
@click.option("-n", "count", default=1, type=click.IntRange(1, 100_000), show_default=True, help="How many times.")
@click.option("--from", "start", metavar="TIME", help="Count from this time, like 2027-03-15T09:00.  [default: now]")
@click.option("--tz", "zone", metavar="ZONE",
              help="The zone of its times, like Europe/Berlin.  [default: the Hermes zone]")
@PROFILE_OPTION
@with_json
def next_times(job_or_schedule: str, count: int, start: str | None, zone: str | None, in_profile: str | None) -> Any:
    """Print when a job or a schedule is due next.

    It is an error if it is never due.
    """
    here = zone_option(zone)
    after = time_option(start, here) if start else None
    try:
        chosen = find_job(job_or_schedule, in_profile)
    except (JobNotFound, ProfileNotFound) as error:
        if in_profile:
            raise
        times = _times_of_schedule(job_or_schedule, count, after or CLOCK.now(), here, error)
    else:
        times = _times_of_job(chosen, count, after)
        here = zone_option(zone) if zone else home_zone(chosen.here.home)
    shown = [due.astimezone(here).isoformat() for due in times]
    return shown, lambda _: click.echo("\n".join(shown))


def _times_of_job(chosen: Chosen, count: int, after: datetime.datetime | None) -> list[datetime.datetime]:
    job = chosen.here.show(chosen.job_id)
    times = next_of(job_store.find(chosen.here.home, chosen.job_id), after, count, CLOCK.now())
    if not times:
        why = why_never_fires(chosen.here.home, chosen.job_id)
        raise click.ClickException(f"{chosen.job_id} has no next run: " + (
            one_line(why) if why else f"it is {job['state']}." if job["state"] != SCHEDULED else "none is that late."))
    return times


def _times_of_schedule(schedule: str, count: int, after: datetime.datetime, here: ZoneInfo,
                       not_found: OscronError) -> list[datetime.datetime]:
    """Return when `schedule` is due after `after`. Raises `not_found` if it is one word and not a schedule."""
    try:
        parsed, warnings = read_schedule(schedule, here, after)
        for warning in warnings:
            show_warning(warning)
        found = first_occurrences(parsed, count, after, here)
        if not found:
            raise click.ClickException(f"{one_line(shortened(schedule))} is never due after "
                                       f"{after.astimezone(here).isoformat(timespec='seconds')}.")
        return found
    except ScheduleError:
        if " " in schedule.strip() or any(character.isdigit() for character in schedule):
            raise
        raise not_found from None
    except OverflowError:
        raise click.ClickException("The time is outside the years 1 to 9999.") from None
