"""hermes-oscron: the bridge's verbs for a terminal. None of them needs a running server, but for `serve`."""

import contextlib
import datetime
import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any
from zoneinfo import ZoneInfo

import click

from . import installation
from .bridge import Bridge
from .errors import describe
from .fields import LONGEST, Invalid
from .hermes import config, homes, outputs, store, ticker
from .hermes import plugin as agent_plugin
from .schedule import text
from .schedule.errors import ScheduleError
from .schedule.occurrences import first_of
from .schedule.types import INTERVAL, ONCE, Schedule
from .schedulers.plan import SchedulerError
from .schedulers.systemd.systemctl import manager

NEXT_WIDTH, LAST_WIDTH = len("2026-11-24 09:00"), len("error")

EXPECTED = (Invalid, ScheduleError, SchedulerError, store.StoreError, store.NoSuchJob, homes.UnknownProfile,
            config.ConfigError, agent_plugin.PluginError, installation.NoAccount, OSError)
"""What is the caller's to put right, and is told in one sentence."""


class LastingFailure(click.ClickException):
    """A sync that fails until somebody changes a file; hermes-oscron-sync.service does not repeat it."""

    exit_code = os.EX_CONFIG


class Verbs(click.Group):
    """The verbs, in the order in which they are written here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EXPECTED as error:
            lasts = ctx.invoked_subcommand == "sync" and isinstance(error, config.ConfigError | installation.NoAccount)
            raise (LastingFailure if lasts else click.ClickException)(_plain(describe(error))) from None


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(package_name="hermes-oscron")
def main() -> None:
    """Hermes jobs, fired by the operating system."""
    installation.become_account()
    os.umask(0o077)


def bridge(scheduler: str | None = None) -> Bridge:
    """The bridge to this account's Hermes root, with SCHEDULER or the configured one."""
    root = homes.root()
    return Bridge.configured(root, config.load(root), scheduler)


def as_json(verb: Callable[..., Any]) -> Callable[..., None]:
    """Give VERB the option --json: what it returns is printed so, or else by the function returned beside it."""

    @click.option("--json", "wants_json", is_flag=True, help="Print JSON.")
    @wraps(verb)
    def command(wants_json: bool, **arguments: Any) -> None:
        answer, show = verb(**arguments)
        if wants_json:
            from .web.encoding import readable

            click.echo(json.dumps(readable(answer), indent=2))
        else:
            show(answer)

    return command


@main.command()
@click.option("--host", default=None, help="Address to listen on.  [default: localhost]")
@click.option("--port", default=None, type=click.IntRange(0, 65535), help="Port to listen on.  [default: 8791]")
@click.option("--scheduler", type=click.Choice(config.SCHEDULERS), help="What fires the jobs.")
@click.option("--beyond-loopback", is_flag=True, help="Let --host be one that other machines reach.")
def serve(host: str | None, port: int | None, scheduler: str | None, beyond_loopback: bool) -> None:
    """Serve the HTTP API."""
    from .web import server
    from .web.listening import CannotServe

    try:
        server.serve(homes.root(), host, port, scheduler, beyond_loopback)
    except CannotServe as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        sys.exit(130)


@main.command()
@click.option("--rotate", is_flag=True, help="Make a new one; the old one and all logins are good no more.")
def token(rotate: bool) -> None:
    """Print the token that clients of the API send."""
    from .web import credentials

    click.echo(_plain(credentials.rotate(homes.root()) if rotate else credentials.token(homes.root())))


@main.command()
@click.option("--scheduler", type=click.Choice(config.SCHEDULERS), help="What fires the jobs from now on.")
def sync(scheduler: str | None) -> None:
    """Make what fires agree with jobs.json; run what was missed.

    Where another scheduler fires so far than --scheduler or oscron.toml says, the jobs move.
    """
    _sync(bridge(scheduler))


def _sync(here: Bridge) -> None:
    report = here.sync()
    for verb, instances in (("Armed", report.armed), ("Disarmed", report.disarmed)):
        for instance in instances:
            click.echo(f"{verb} {instance}.")
    for sentence in report.started:
        click.echo(_plain(sentence))
    for subject, sentence in report.refused.items():
        click.echo(f"Error: {subject}: {sentence}", err=True)
    if report.refused:
        sys.exit(LastingFailure.exit_code if report.refused.keys() <= set(report.lasting) else 1)


@main.command()
def disarm() -> None:
    """Fire no job any more; all stay, and 'sync' arms them again."""
    bridge().disarm()


@main.command()
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
def adopt(dry_run: bool) -> None:
    """Let the operating system fire the jobs that are there already.

    Each keeps its id, its history and its next run; one that was missed runs at once.
    """
    here = bridge()
    prospects = here.prospects()
    for prospect in prospects:
        click.echo(f"{prospect.instance}  {_plain(prospect.name)[:30]}\n    {prospect.outlook}")
    if not prospects:
        click.echo(f"There are no jobs in {here.root} yet.")
    if not dry_run:
        _sync(here)


@main.command("list")
@click.option("--all-profiles", is_flag=True, help="Show the jobs of every profile.")
@as_json
def list_jobs(all_profiles: bool) -> Any:
    """List the jobs."""
    return bridge().jobs(all_profiles), _show_table


@main.command()
@click.argument("schedule")
@click.argument("prompt", default="")
@click.option("--name", help="What to call it.  [default: the prompt's first 50 characters]")
@click.option("--no-agent", is_flag=True, help="Run --script itself, without an agent.")
@click.option("--script", help="A script in the scripts folder of the Hermes home.")
@click.option("--repeat", type=click.IntRange(min=1), help="How many times to run.  [default: for ever]")
@as_json
def create(schedule: str, prompt: str, name: str | None, no_agent: bool, script: str | None,
           repeat: int | None) -> Any:
    """Make a job: PROMPT is run by SCHEDULE.

    SCHEDULE is a cron expression ("0 9 * * 1-5"), an interval ("every 2h"), days and a time ("weekdays at 9:30"),
    a delay ("in 30m") or a time ("2027-03-15 09:00").

    With - as PROMPT it is read from standard input, where 'ps' does not show it to other accounts.
    """
    given = {"schedule": schedule, "prompt": _prompt(prompt), "name": name, "no_agent": no_agent or None,
             "script": script, "repeat": repeat}
    return bridge().create(given), _show_job


@main.command()
@click.argument("job_id")
@click.option("--schedule", help="When to run it.")
@click.option("--prompt", help="What to run; - reads it from standard input.")
@click.option("--name", help="What to call it.")
@click.option("--script", help="The script of a job without an agent.")
@click.option("--repeat", type=click.IntRange(min=1), help="How many times to run in all.")
@as_json
def update(job_id: str, **given: Any) -> Any:
    """Change what is given of a job, and nothing else."""
    return bridge().update(job_id, {**given, "prompt": _prompt(given["prompt"])}), _show_job


@main.command()
@click.argument("job_id")
@as_json
def show(job_id: str) -> Any:
    """Show a job."""
    return bridge().show(job_id), _show_job


@main.command()
@click.argument("job_id")
@click.option("--reason", help="Why; it is kept with the job.")
@as_json
def pause(job_id: str, reason: str | None) -> Any:
    """Do not fire a job until it is resumed."""
    return bridge().pause(job_id, reason), _show_job


@main.command()
@click.argument("job_id")
@as_json
def resume(job_id: str) -> Any:
    """Fire a paused job again; what was missed stays missed."""
    return bridge().resume(job_id), _show_job


@main.command()
@click.argument("job_id")
def run(job_id: str) -> None:
    """Run a job now, paused or not."""
    elapsed = bridge().run(job_id)
    if elapsed is not None:
        raise click.ClickException(f"{job_id} has been running for {elapsed} s; a job never runs twice at once.")
    click.echo(f"Started {job_id}.")


@main.command()
@click.argument("job_id")
def delete(job_id: str) -> None:
    """Remove a job, its timer and its outputs."""
    bridge().delete(job_id)
    click.echo(f"Deleted {job_id}.")


@main.command()
@click.argument("job_id")
@click.option("-n", "limit", default=5, type=click.IntRange(min=1), show_default=True, help="How many at the most.")
@as_json
def runs(job_id: str, limit: int) -> Any:
    """List the outputs of a job's runs, newest first."""
    here = bridge()
    here.show(job_id)
    folder = f"{here.home.output_dir}/{job_id}"
    found = [{"filename": name, "path": f"{folder}/{name}", "size": os.path.getsize(f"{folder}/{name}")}
             for name in outputs.names(here.home, job_id)[:limit]]
    return found, _show_runs


@main.command()
@click.argument("schedule")
@click.option("--tz", "zone", help="The zone of its times.  [default: the Hermes zone]")
@click.option("--scheduler", type=click.Choice(["systemd", "crontab"]), help="For which.  [default: what fires here]")
def translate(schedule: str, zone: str | None, scheduler: str | None) -> None:
    """Print what fires SCHEDULE: [Timer] lines, or a crontab line."""
    now = datetime.datetime.now(datetime.UTC)
    here = _zone(zone)
    parsed = text.parse(schedule, here, now)
    text.refuse_past(parsed, now)
    grid = now + parsed.period if parsed.kind == INTERVAL else None
    if (scheduler or bridge().scheduler.kind) == "crontab":
        _show_crontab_line(parsed, here, now, grid)
        return
    from .schedulers.systemd.timer import timer_lines

    for line in timer_lines(parsed, here, homes.machine_zone(), now, grid):
        click.echo(line)


def _show_crontab_line(schedule: Schedule, zone: ZoneInfo, now: datetime.datetime,
                       grid: datetime.datetime | None) -> None:
    from .schedulers.crontab.line import line_of, starts_a_day

    line = line_of(schedule, zone, homes.machine_zone(), now, grid)
    click.echo(f"{line.fields} hermes-cron-exec PROFILE:JOB_ID")
    if schedule.kind == ONCE:
        click.echo("# Once: the line goes when the job has run.")
    elif line.exact:
        click.echo("# Whenever it is due, and at no other time.")
    else:
        click.echo(f"# cron cannot say it, and starts it {_times(starts_a_day(line))} on a day of this line.\n"
                   "# The runner ends at once, and touches nothing, where the job is not due.")


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


@main.command("next")
@click.argument("schedule")
@click.option("-n", "count", default=1, type=click.IntRange(1, 100_000), show_default=True, help="How many times.")
@click.option("--from", "start", help="Count from this ISO time.  [default: now]")
@click.option("--tz", "zone", help="The zone of its times.  [default: the Hermes zone]")
def next_times(schedule: str, count: int, start: str | None, zone: str | None) -> None:
    """Print when SCHEDULE is due next."""
    here = _zone(zone)
    after = _instant(start, here) if start else datetime.datetime.now(datetime.UTC)
    try:
        for due in first_of(text.parse(schedule, here, after), count, after, here):
            click.echo(due.astimezone(here).isoformat())
    except OverflowError:
        raise click.ClickException("That reaches outside the years 1 to 9999.") from None


@main.group(cls=Verbs)
def plugin() -> None:
    """Let the agent's own scheduler stand down, or fire again."""


@plugin.command("install")
def install_plugin() -> None:
    """Let the agent fire nothing itself, in every profile.

    What it changes is armed at once. Sets cron.provider in each config.yaml; the rest of these files stays as it is. A
    gateway that runs needs a restart.
    """
    root = homes.root()
    for home in agent_plugin.install(root, f"{sys.prefix}/bin/hermes-oscron", os.environ):
        ticker.forget(home)
        click.echo(f"{home.profile}: cron.provider is {agent_plugin.NAME} in {home.path}/config.yaml.")
    click.echo("A gateway that runs stands down when it is restarted: hermes gateway restart")


@plugin.command("remove")
def remove_plugin() -> None:
    """Let the agent fire by itself again; config.yaml is as it was."""
    for home in agent_plugin.remove(homes.root()):
        click.echo(f"{home.profile}: {home.path}/config.yaml is as it was.")


@main.command()
def doctor() -> None:
    """Say whether what fires is what should; exit 1 if not."""
    here = bridge()
    found = here.faults()
    with contextlib.suppress(store.StoreError):  # which is among what was found
        _tell_state(here)
    for sentence in found:
        click.echo(f"WRONG: {sentence}")
    if found:
        sys.exit(1)
    click.echo("All is as it should be.")


def _tell_state(here: Bridge) -> None:
    scheduled = sum(job["state"] == "scheduled" for job in here.jobs(all_profiles=True)["jobs"])
    fired_by = {
        "systemd": "systemd timers" + (" of this account's user manager" if manager().user else ""),
        "crontab": "cron, from this account's crontab",
        "foreground": "a foreground 'hermes-oscron serve', and only while it runs",
    }[here.scheduler.kind]
    click.echo(f"{here.root}: {scheduled} scheduled {'job' if scheduled == 1 else 'jobs'}, fired by {fired_by}.")
    click.echo(f"Times without a zone are in {homes.timezone(here.home).key}.")
    if config.load(here.root).auth == "none":
        click.echo("NOTE: auth = \"none\" in oscron.toml: whoever reaches the API on this machine can run code as "
                   "this account.")


def _prompt(given: str | None) -> str | None:
    """Return `given`, or for `-` the text on standard input without its last newline. Raises Invalid."""
    if given != "-":
        return given
    max_bytes = 4 * LONGEST["prompt"] + 1  # a character of UTF-8 has at most four, and the newline is not counted
    read = sys.stdin.buffer.read(max_bytes + 1) if sys.stdin else b""
    if len(read) > max_bytes:
        raise Invalid(f"'prompt' takes at most {LONGEST['prompt']} characters.")
    try:
        prompt = read.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise Invalid(f"The prompt on standard input is not UTF-8: {error.reason} at byte {error.start}.") from None
    if not prompt.strip():
        raise Invalid("There is no prompt on standard input; write it into a pipe or a file: "
                      "hermes-oscron create SCHEDULE - <FILE")
    return prompt


def _show_table(answer: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    jobs = answer["jobs"]
    if not jobs:
        click.echo("No jobs. 'hermes-oscron create \"every 2h\" \"…\"' makes one.")
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _columns())
    id_width = max(2, *(len(job["id"]) for job in jobs))
    left = console.width - id_width - NEXT_WIDTH - LAST_WIDTH - 4 * len("  ")
    widths = {"ID": id_width, "NAME": left // 2, "SCHEDULE": left - left // 2, "NEXT": NEXT_WIDTH, "LAST": LAST_WIDTH}
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading, width in widths.items():
        table.add_column(heading, no_wrap=True, overflow="ellipsis", min_width=min(width, 16), max_width=max(1, width))
    for job in jobs:
        due = job["next_run_at"]
        row = (job["id"], job["name"], job["schedule_display"], due[:16].replace("T", " ") if due else job["state"],
               job["last_status"] or "-")
        table.add_row(*(Text(_plain(cell), overflow="ellipsis", no_wrap=True) for cell in row))
    console.print(table)


def _show_job(job: Any) -> None:
    shown = {
        "Id": job["id"], "Name": job["name"], "Schedule": job["schedule_display"], "State": job["state"],
        "Next run": job["next_run_at"], "Last run": job["last_run_at"], "Last status": job["last_status"],
        "Last error": job["last_error"], "Runs": _count(job["repeat"]), "Script": job.get("script"),
        "Prompt": job["prompt"] or None,
    }
    for label, value in shown.items():
        if value is not None:
            click.echo(f"{label + ':':<12} {_plain(value)}")


def _show_runs(found: Any) -> None:
    if not found:
        click.echo("No runs yet.")
    for each in found:
        click.echo(f"{each['size']:>9}  {each['path']}")


def _count(repeat: Any) -> str:
    return f"{repeat['completed']}" + (f" of {repeat['times']}" if repeat["times"] else "")


def _plain(value: object) -> str:
    """VALUE on one line, with nothing in it that would drive a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value or "")).split())


def _columns() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and len(columns) < 6 else 80


def _zone(name: str | None) -> ZoneInfo:
    if name is None:
        root = homes.root()
        return homes.timezone(homes.home(root, homes.active_profile(root)))
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise click.BadParameter(f"There is no zone '{name}'; zones are named like Europe/Berlin.") from None


def _instant(value: str, zone: ZoneInfo) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"'{value}' is not an ISO time like 2027-03-15T09:00.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


if __name__ == "__main__":
    main()
