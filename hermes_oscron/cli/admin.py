"""The commands of an administrator: serve, token, sync, disarm, adopt, plugin, doctor."""

import contextlib
import os
import sys

import click

from .. import config
from ..files import StateFileError
from ..hermes import gateway
from ..hermes import plugin as agent_plugin
from ..hermes.home import hermes_root
from ..schedulers.systemd.systemctl import own_systemctl
from ..service.doctor import Doctor
from ..service.jobs import JobService
from ..service.preview import preview
from ..service.selection import Selection
from ..service.sync import Reconciler
from .group import Commands, LastingFailure, selection, zone_option
from .render import one_line


@click.command()
@click.option("--host", default=None, help="Address to listen on.  [default: localhost]")
@click.option("--port", default=None, type=click.IntRange(0, 65535), help="Port to listen on.  [default: 8791]")
@click.option("--scheduler", type=click.Choice(config.SCHEDULER_KINDS), help="The scheduler that fires the jobs.")
@click.option("--beyond-loopback", is_flag=True, help="Allow a --host that other machines can reach.")
def serve(host: str | None, port: int | None, scheduler: str | None, beyond_loopback: bool) -> None:
    """Serve the HTTP API."""
    from ..web import server

    try:
        server.serve(hermes_root(), host, port, scheduler, beyond_loopback)
    except KeyboardInterrupt:
        sys.exit(130)


@click.command()
@click.option("--rotate", is_flag=True, help="Replace the token; the old one and all logins become invalid.")
def token(rotate: bool) -> None:
    """Print the token that clients of the API send."""
    from ..web import token

    click.echo(one_line(token.rotate(hermes_root()) if rotate else token.get_or_create(hermes_root())))


@click.command()
@click.option("--scheduler", type=click.Choice(config.SCHEDULER_KINDS), help="The scheduler to move the jobs to.")
def sync(scheduler: str | None) -> None:
    """Arm the jobs in jobs.json, and start missed ones.

    If --scheduler or oscron.toml names another scheduler than the active one, the jobs move to it.
    """
    _sync(selection(scheduler))


def _sync(here: Selection) -> None:
    report = Reconciler(here).sync()
    for change, instances in (("Armed", report.armed), ("Disarmed", report.disarmed)):
        for instance in instances:
            click.echo(f"{change} {instance}.")
    for sentence in report.started:
        click.echo(one_line(sentence))
    for problem in report.problems:
        click.echo(f"Error: {problem.subject}: {one_line(problem.sentence)}", err=True)
    if report.problems:
        sys.exit(LastingFailure.exit_code if all(problem.needs_edit for problem in report.problems) else 1)


@click.command()
def disarm() -> None:
    """Stop firing jobs. All jobs stay, and 'sync' arms them again."""
    Reconciler(selection()).disarm()


@click.command()
@click.option("--dry-run", is_flag=True, help="Print the effect on each job, and change nothing.")
def adopt(dry_run: bool) -> None:
    """Sync, and print the effect on each existing job.

    Each keeps its id, its history and its next run. A job that was missed runs at once.
    """
    here = selection()
    previews = preview(here)
    for each in previews:
        click.echo(f"{each.instance}  {one_line(each.name)[:30]}\n    {one_line(each.effect)}")
    if not previews:
        click.echo(f"There are no jobs in {here.root} yet.")
    if not dry_run:
        _sync(here)


@click.group(cls=Commands)
def plugin() -> None:
    """Turn the agent's own scheduler off, or on again."""


@plugin.command("install")
def install_plugin() -> None:
    """Stop the agent from firing jobs itself, in every profile.

    Its changes of jobs are armed at once. Sets cron.provider in each config.yaml, and changes nothing else there. A
    running gateway needs a restart.
    """
    for home in agent_plugin.install(hermes_root(), f"{sys.prefix}/bin/hermes-oscron", os.environ):
        gateway.remove_heartbeat(home)
        click.echo(f"{home.profile}: cron.provider is {agent_plugin.PROVIDER_NAME} in {home.path}/config.yaml.")
    click.echo("Restart a running gateway: hermes gateway restart")


@plugin.command("remove")
def remove_plugin() -> None:
    """Turn the agent's own scheduler on again, and restore config.yaml."""
    for home in agent_plugin.remove(hermes_root()):
        click.echo(f"{home.profile}: restored {home.path}/config.yaml.")


@click.command()
def doctor() -> None:
    """Check that every job is armed as it should be; exit 1 if not."""
    here = selection()
    found = Doctor(here).diagnose()
    with contextlib.suppress(StateFileError):  # doctor has found it too
        _show_state(here)
    for sentence in found:
        click.echo(f"WRONG: {one_line(sentence)}")
    if found:
        sys.exit(1)
    click.echo("OK: no problems found.")


def _show_state(here: Selection) -> None:
    jobs = JobService(here).list_jobs(all_profiles=True)["jobs"]
    scheduled = sum(job["state"] == "scheduled" for job in jobs)
    fired_by = {
        "systemd": "systemd timers" + (" of this account's user manager" if own_systemctl().user else ""),
        "crontab": "cron, from this account's crontab",
        "foreground": "a foreground 'hermes-oscron serve', and only while it runs",
    }[here.active.kind]
    click.echo(f"{here.root}: {scheduled} scheduled {'job' if scheduled == 1 else 'jobs'}, fired by {fired_by}.")
    click.echo(f"Times without a zone are in {zone_option(None).key}.")
    if config.load(here.root).auth == "none":
        click.echo("NOTE: auth = \"none\" in oscron.toml: everyone who can reach the API on this machine can run code "
                   "as this account.")
