"""The commands that explain a schedule: its timer or crontab line, and when it is due."""

import datetime

import click

from .. import config
from ..errors import shortened
from ..hermes.home import active_profile, hermes_root
from ..hermes.timezone import machine_zone
from ..jobs import policy
from ..schedule.model import INTERVAL
from ..schedule.occurrences import first_occurrences
from ..schedule.parse import read_schedule, refuse_past
from ..schedulers.plan import limits_in
from ..schedulers.systemd import drop_in
from ..schedulers.systemd.unit_file import timer_lines
from .group import selection, time_option, zone_option
from .render import one_line, show_crontab_line, show_warning


@click.command()
@click.argument("schedule")
@click.option("--tz", "zone", help="The zone of its times.  [default: the Hermes zone]")
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


@click.command("next")
@click.argument("schedule")
@click.option("-n", "count", default=1, type=click.IntRange(1, 100_000), show_default=True, help="How many times.")
@click.option("--from", "start", help="Count from this ISO time.  [default: now]")
@click.option("--tz", "zone", help="The zone of its times.  [default: the Hermes zone]")
def next_times(schedule: str, count: int, start: str | None, zone: str | None) -> None:
    """Print when SCHEDULE is due next."""
    here = zone_option(zone)
    after = time_option(start, here) if start else datetime.datetime.now(datetime.UTC)
    try:
        parsed, warnings = read_schedule(schedule, here, after)
        for warning in warnings:
            show_warning(warning)
        found = first_occurrences(parsed, count, after, here)
        if not found:
            raise click.ClickException(f"{one_line(shortened(schedule))} is never due after "
                                       f"{after.astimezone(here).isoformat(timespec='seconds')}.")
        for due in found:
            click.echo(due.astimezone(here).isoformat())
    except OverflowError:
        raise click.ClickException("The time is outside the years 1 to 9999.") from None
