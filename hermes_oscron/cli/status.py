"""The commands `status` and `top`: one screen about all jobs, once or live."""

import datetime
import sys
import time
from typing import Any

import click

from ..clock import CLOCK
from ..hermes.home import active_profile, home_of
from ..hermes.timezone import home_zone
from ..service.doctor import Doctor
from ..service.findings import PROBLEM, Finding, exit_status
from ..service.jobs import JobService
from ..service.overview import OVERVIEW_STATES, Overview, overview
from ..service.selection import Selection
from .addressing import JSON_OPTION, print_json
from .group import selection
from .listing import relative
from .render import DISARMED, one_line, span
from .table import fitted

MAX_ENTRIES, MAX_NEXT, MAX_FINDINGS = 3, 5, 3
"""With a line above, the headings and the state of health this is less than the 24 lines of a small terminal."""
FIRED_BY = {"systemd": "systemd timers", "crontab": "cron", "foreground": "'hermes-oscron serve'"}
CLEAR = "\x1b[H\x1b[2J"
"""Moves the cursor home and clears the screen of a terminal (console_codes(4))."""
HEALTH_INTERVAL_S = 30.0
"""The interval at which `top` looks for problems, which costs more than the rest."""
WORDS = ("ok", "warnings", "problems")


@click.command(epilog="Example: hermes-oscron status || hermes-oscron doctor")
@JSON_OPTION
def status(wants_json: bool) -> None:
    """Show what runs, waits, comes next and has failed.

    One screen has the jobs of all profiles.

    Exit as doctor does: with 0 if nothing is wrong, 1 for warnings, and 2 if jobs do not run. What doctor finds may be
    solved by itself within a minute, for which doctor waits, and this command does not.
    """
    here = selection()
    found = Doctor(here).diagnose(confirm=False)
    shown = overview(JobService(here))
    if wants_json:
        print_json({**shown, "status": WORDS[exit_status(found)], "findings": [each._asdict() for each in found]})
    else:
        click.echo("\n".join(_lines(here, shown, found)))
    sys.exit(exit_status(found))


@click.command(epilog="Example: hermes-oscron top -n 5")
@click.option("-n", "interval", default=2.0, type=click.FloatRange(min=0.2), show_default=True, metavar="SECONDS",
              help="The time between two screens.")
@click.option("--count", type=click.IntRange(min=1), help="End after this many screens.")
def top(interval: float, count: int | None) -> None:
    """Show the screen of 'status' live, until Ctrl-C."""
    here = selection()
    found, looked = list[Finding](), -HEALTH_INTERVAL_S
    shown = 0
    while True:
        if time.monotonic() - looked >= HEALTH_INTERVAL_S:
            found, looked = Doctor(here).diagnose(confirm=False), time.monotonic()
        text = "\n".join(_lines(here, overview(JobService(here)), found))
        click.echo(f"{CLEAR if sys.stdout.isatty() else ''}{text}")
        shown += 1
        if shown == count:
            return
        if not sys.stdout.isatty():
            click.echo()
        CLOCK.sleep(interval)


def _lines(here: Selection, shown: Overview, found: list[Finding]) -> list[str]:
    """Return the lines of the screen, each cut to its width."""
    now, zone = CLOCK.now(), home_zone(home_of(here.root, active_profile(here.root)))

    def time_of(entry: dict[str, Any]) -> str:
        due = datetime.datetime.fromisoformat(entry["next_run_at"])
        return f"{due.astimezone(zone):%Y-%m-%d %H:%M}  {relative(due, now)}" if due > now else "due now"

    counts = ", ".join(f"{shown['counts'][state]} {state}" for state in OVERVIEW_STATES
                       if shown["counts"][state] or state == "scheduled")
    lines = [f"{now.astimezone(zone):%Y-%m-%d %H:%M:%S} {zone.key}: {counts}; fired by {FIRED_BY[shown['scheduler']]}."]
    if not shown["armed"]:
        lines.append(DISARMED)
    lines += [f"{profile}: {one_line(sentence)}" for profile, sentence in shown["paused_profiles"].items()]
    for heading, entries, limit, text in (
            ("RUNNING", shown["running"], MAX_ENTRIES, lambda entry: span(entry["elapsed"])),
            ("QUEUED", shown["queued"], MAX_ENTRIES, lambda entry: span(entry["elapsed"])),
            ("NEXT", shown["next"], MAX_NEXT, time_of),
            ("FAILED", shown["failed"], MAX_ENTRIES, lambda entry: one_line(entry["last_error"]))):
        lines.append(f"{heading}: {len(entries) or 'none'}" + (f", the first {limit}" if len(entries) > limit else ""))
        lines += [f"  {_reference(shown, entry):<12}  {one_line(entry['name']):<24.24}  {text(entry)}".rstrip()
                  for entry in entries[:limit]]
    return [fitted(line) for line in (*lines, *_health(found))]


def _health(found: list[Finding]) -> list[str]:
    if not found:
        return ["HEALTH: OK, no problems found."]
    problems = sum(each.severity == PROBLEM for each in found)
    lines = [f"HEALTH: {problems} problem{'s' * (problems != 1)}, {len(found) - problems} "
             f"warning{'s' * (len(found) - problems != 1)}; 'hermes-oscron doctor' has the remedies."]
    return lines + [f"  {'WRONG' if each.severity == PROBLEM else 'WARNING'}: {one_line(each.sentence)}"
                    for each in found[:MAX_FINDINGS]]


def _reference(shown: Overview, entry: dict[str, Any]) -> str:
    return entry["job_id"] if entry["profile"] == shown["active_profile"] else f"{entry['profile']}:{entry['job_id']}"
