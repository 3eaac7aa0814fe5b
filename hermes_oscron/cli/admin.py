"""The commands of an administrator: serve, token, sync, disarm, adopt, plugin, doctor."""

import contextlib
import json
import os
import sys
from typing import Any

import click

from .. import config, installation
from ..errors import OscronError
from ..hermes import gateway
from ..hermes import plugin as agent_plugin
from ..hermes.home import Home, hermes_root, homes_of
from ..hermes.timezone import zone_choice
from ..json_text import json_safe
from ..runner.command import job_path, script_python
from ..runner.environment import NoExecutor
from ..schedulers.active import disarmed_since
from ..schedulers.systemd.systemctl import own_systemctl
from ..service import maintenance
from ..service.doctor import Doctor
from ..service.findings import PROBLEM, Finding, exit_status
from ..service.jobs import JobService
from ..service.preview import preview, unused_entries
from ..service.selection import Selection
from ..service.sync import Reconciler, SyncReport
from ..service.verify import Verification, verify
from .group import Commands, LastingFailure, selection
from .render import DISARMED, one_line


@click.command(epilog="Example: hermes-oscron serve --port 8080")
@click.option("--host", default=None, help="Address to listen on.  [default: localhost]")
@click.option("--port", default=None, type=click.IntRange(0, 65535), help="Port to listen on.  [default: 8791]")
@click.option("--scheduler", type=click.Choice(config.SCHEDULER_KINDS), help="The scheduler that fires the jobs.")
@click.option("--beyond-loopback", is_flag=True, help="Allow a --host that other machines can reach.")
def serve(host: str | None, port: int | None, scheduler: str | None, beyond_loopback: bool) -> None:
    """Serve the HTTP API and the dashboard, until Ctrl-C."""
    from ..web import process_one, server

    process_one.continue_in_child()
    try:
        server.serve(hermes_root(), host, port, scheduler, beyond_loopback)
    except KeyboardInterrupt:
        sys.exit(130)


@click.command(epilog="Example: hermes-oscron token --rotate")
@click.option("--rotate", is_flag=True, help="Replace the token; the old one and all logins become invalid.")
def token(rotate: bool) -> None:
    """Print the token that clients of the API send."""
    from ..web import token

    click.echo(one_line(token.rotate(hermes_root()) if rotate else token.get_or_create(hermes_root())))


@click.command(epilog="Example: hermes-oscron sync --scheduler crontab")
@click.option("--scheduler", type=click.Choice(config.SCHEDULER_KINDS), help="The scheduler to move the jobs to.")
@click.option("--quiet", is_flag=True, help="Print only errors, and which missed jobs were started.")
def sync(scheduler: str | None, quiet: bool) -> None:
    """Arm the jobs in jobs.json, and start missed ones.

    If --scheduler or oscron.toml names another scheduler than the active one, the jobs move to it. Once an hour, a sync
    also does the maintenance of the agent's own scheduler.
    """
    _sync(selection(scheduler), quiet)


def _sync(here: Selection, quiet: bool = False) -> None:
    show_sync(here, Reconciler(here).sync(), quiet)
    if not quiet:
        _show_if_disarmed(here)


def _show_if_disarmed(here: Selection) -> None:
    if disarmed_since(here.root) is not None:
        click.echo(DISARMED)


def show_sync(here: Selection, report: SyncReport, quiet: bool = False) -> None:
    for change, instances in (("Armed", report.armed), ("Disarmed", report.disarmed)) if not quiet else ():
        for instance in instances:
            click.echo(f"{change} {instance}.")
    for sentence in report.started:
        click.echo(one_line(sentence))
    for problem in report.problems:
        click.echo(f"Error: {problem.subject}: {one_line(problem.sentence)}", err=True)
    with contextlib.suppress(OscronError, OSError):  # the jobs are armed, and a run reports what is wrong
        maintenance.run_if_due(here.root)
    if report.problems:
        sys.exit(LastingFailure.exit_code if all(problem.needs_edit for problem in report.problems) else 1)


@click.command(epilog="Example: hermes-oscron disarm")
def disarm() -> None:
    """Stop firing jobs until 'arm', also over syncs and reboots. All jobs stay."""
    Reconciler(selection()).disarm()
    click.echo(DISARMED)


@click.command(short_help="Fire jobs again after 'disarm', and start missed ones.",
               epilog="Example: hermes-oscron arm")
@click.option("--take-over", is_flag=True, help="Fire them on this machine, and not on another one with this home.")
def arm(take_over: bool) -> None:
    """Fire jobs again after 'disarm', and start missed ones, each once."""
    here = selection()
    show_sync(here, Reconciler(here).arm(take_over))
    click.echo("The jobs are armed.")


@click.command(epilog="Example: hermes-oscron adopt --dry-run")
@click.option("--dry-run", is_flag=True, help="Print the effect on each job, and change nothing.")
def adopt(dry_run: bool) -> None:
    """Sync, and print the effect on each existing job.

    Each keeps its id, its history and its next run. A job that was missed runs at once. A job whose schedule croniter
    reads in another way is armed too, and reported; then the exit status is 1.
    """
    here = selection()
    previews = preview(here)
    for each in previews:
        click.echo(f"{each.instance}  {one_line(each.name)[:30]}\n    {one_line(each.effect)}")
        if each.problem:
            click.echo(f"    PROBLEM: {one_line(each.problem)}")
    unusable = unused_entries(here)
    for sentence in unusable:
        click.echo(f"PROBLEM: {one_line(sentence)}")
    if not previews and not unusable:
        click.echo(f"There are no jobs in {here.root} yet.")
    if dry_run:
        _show_if_disarmed(here)
        return
    _sync(here)
    if unusable or any(each.problem for each in previews):
        sys.exit(1)


@click.group(cls=Commands)
def plugin() -> None:
    """Turn the agent's own scheduler off, or on again."""


@plugin.command("install", epilog="Example: hermes-oscron plugin install")
def install_plugin() -> None:
    """Stop the agent from firing jobs itself, in every profile.

    Its changes of jobs are armed at once. Sets cron.provider in each config.yaml, and changes nothing else there. A
    running gateway needs a restart. If the agent does not use the plugin, this prints the reason, and exits with 1.
    """
    root = hermes_root()
    settings = config.load(root)
    for home in agent_plugin.install(root, installation.program("hermes-oscron"), os.environ):
        gateway.remove_heartbeat(home)
        click.echo(f"{home.profile}: cron.provider is {agent_plugin.PROVIDER_NAME} in {home.path}/config.yaml.")
    click.echo("Restart a running gateway: hermes gateway restart")
    problems = agent_plugin.problems(root, settings)
    for sentence in problems:
        click.echo(f"WRONG: {one_line(sentence)}")
    if problems:
        sys.exit(1)


@plugin.command("remove", epilog="Example: hermes-oscron plugin remove")
def remove_plugin() -> None:
    """Turn the agent's own scheduler on again, and restore config.yaml."""
    for home in agent_plugin.remove(hermes_root()):
        click.echo(f"{home.profile}: restored {home.path}/config.yaml.")


@click.command(epilog="Example: hermes-oscron doctor --verify")
@click.option("--verify", "wants_verification", is_flag=True,
              help="Also compare the next runs of every job with croniter's and systemd's.")
@click.option("--json", "wants_json", is_flag=True, help="Print JSON.")
def doctor(wants_verification: bool, wants_json: bool) -> None:
    """Check that the jobs are armed, and ran when they were due.

    Exit with 0 if nothing is wrong, 1 if there are only warnings, and 2 if jobs do not run.
    """
    here = selection()
    found = Doctor(here).diagnose()
    verification = verify(here) if wants_verification else None
    if wants_json:
        click.echo(json.dumps(json_safe(_report(here, found, verification)), indent=2))
    else:
        _show_report(here, found, verification)
    sys.exit(max(exit_status(found), bool(verification and verification.differences)))


def _report(here: Selection, found: list[Finding], verification: Verification | None) -> dict[str, Any]:
    """Return what `doctor --json` prints."""
    return {
        "status": ("ok", "warnings", "problems")[exit_status(found)], "root": here.root, "scheduler": here.active.kind,
        "findings": [each._asdict() for each in found],
        "verification": verification._asdict() if verification else None,
    }


def _show_report(here: Selection, found: list[Finding], verification: Verification | None) -> None:
    with contextlib.suppress(OscronError, OSError):  # doctor has found it too
        _show_state(here)
    for each in found:
        click.echo(f"{'WRONG' if each.severity == PROBLEM else 'WARNING'}: {one_line(each.sentence)}")
    if not found:
        click.echo("OK: no problems found.")
    if verification:
        _show_verification(verification)


def _show_verification(result: Verification) -> None:
    """Print the differences that `doctor --verify` finds."""
    for instance, sentence in result.differences.items():
        click.echo(f"DIFFERS: {instance}: {one_line(sentence)}")
    count = len(result.differences)
    found = (f"{count or 'no'} {'difference' if count == 1 else 'differences'}" if result.checked or count else
             "there is none to compare")
    jobs = "job" if result.checked == 1 else "jobs"
    click.echo(f"Verified {result.checked} {jobs} against {result.against}: {found}.")


def _show_surroundings(home: Home, settings: config.Config) -> None:
    """Print the zone, the Python and the PATH of the jobs of `home`, and what sets each."""
    zone = zone_choice(home)
    click.echo(f"{home.profile}: times without a zone are in {zone.zone.key} ({zone.source}).")
    try:
        path, path_source = job_path(home, settings)
        click.echo(f"{home.profile}: PATH is {path} ({path_source}).")
        python, python_source = script_python(home, settings)
        click.echo(f"{home.profile}: Python scripts run with {python} ({python_source}).")
    except NoExecutor as error:
        click.echo(f"{home.profile}: {error}")


def _show_state(here: Selection) -> None:
    jobs = JobService(here).list_jobs(all_profiles=True)["jobs"]
    scheduled = sum(job["state"] == "scheduled" for job in jobs)
    fired_by = {
        "systemd": "systemd timers" + (" of this account's user manager" if own_systemctl().user else ""),
        "crontab": "cron, from this account's crontab",
        "foreground": "a foreground 'hermes-oscron serve', and only while it runs",
    }[here.active.kind]
    click.echo(f"{here.root}: {scheduled} scheduled {'job' if scheduled == 1 else 'jobs'}, fired by {fired_by}.")
    for home in homes_of(here.root):
        _show_surroundings(home, config.load(here.root))
    if config.load(here.root).auth == "none":
        click.echo("NOTE: auth = \"none\" in oscron.toml: everyone who can reach the API on this machine can run code "
                   "as this account.")
