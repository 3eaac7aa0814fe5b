"""Print jobs, runs and crontab lines in the terminal."""

import datetime
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import click

from ..hermes.timezone import machine_zone
from ..jobs import policy
from ..jobs.fields import FIELDS
from ..schedule.model import ONCE, Schedule
from ..schedulers.crontab.expression import expression_of, starts_per_day
from ..service.manual_start import Progress

DISARMED = "No job fires: the jobs are disarmed. 'hermes-oscron arm' arms them again."
NO_LIMIT = 100_000
"""The width of a table whose cells are not cut."""
LAST_WIDTH = len("delivery_failed")
MIN_NAME_WIDTH = 12
"""The width that the name keeps in a table that must be cut; only then the schedule is cut too."""
LABEL_WIDTH = len("Last status:")
SHOWN_APART = ("schedule", "prompt", "name", "script", "repeat", "paused_reason", "policy")
"""Fields of a job that `show_job` prints beside those that are set."""


def show_crontab_line(schedule: Schedule, zone: ZoneInfo, now: datetime.datetime,
                      phase: datetime.datetime | None) -> None:
    line = expression_of(schedule, zone, machine_zone(), now, phase)
    click.echo(f"{line.fields} hermes-cron-exec PROFILE:JOB_ID")
    if schedule.kind == ONCE:
        click.echo("# Once: the line is removed when the job has run.")
    elif line.exact:
        click.echo("# Exactly when the job is due.")
    else:
        click.echo(f"# cron cannot express this schedule: the line starts the runner {_times(starts_per_day(line))} on "
                   "each of its days.\n"
                   "# If the job is not due, the runner ends at once and changes nothing.")


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def show_table(answer: Any, runs: Mapping[str, Progress], zones: Mapping[str, str], hidden: Mapping[str, int]) -> None:
    """Print the jobs of `answer`, and how many `hidden` ones other profiles have.

    `runs` has each run in progress, by instance, and `zones` the zone of each profile.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    jobs = answer["jobs"]
    if not jobs:
        click.echo("No jobs. 'hermes-oscron create \"every 2h\" \"…\"' creates one.")
        _show_below_table(answer, hidden)
        return
    ids = [job["id"] if job["owner_profile"] == answer["active_profile"] else f"{job['owner_profile']}:{job['id']}"
           for job in jobs]
    rows = [tuple(map(one_line, (job_id, job["name"], job["schedule_display"],
                                 _next_text(job, runs.get(f"{job['owner_profile']}:{job['id']}")),
                                 job["last_status"] or "-"))) for job_id, job in zip(ids, jobs, strict=True)]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _columns())
    headings = ("ID", "NAME", "SCHEDULE", "NEXT", "LAST")
    needs = [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading, width in zip(headings, _widths(needs, console.width), strict=True):
        table.add_column(heading, no_wrap=True, overflow="ellipsis", max_width=width)
    for row in rows:
        table.add_row(*(Text(cell, overflow="ellipsis", no_wrap=True) for cell in row))
    console.print(table)
    _show_zones([job["next_run_at"] for job in jobs if job["next_run_at"]], zones)
    _show_below_table(answer, hidden)


def _widths(needs: list[int], width: int) -> list[int]:
    """Return the widths of the columns of a table of `width`: id, name, schedule, next and last run.

    Each gets what it `needs`. If that is too much, the name is cut first, and then the schedule.
    """
    job_id, name, schedule, following, last = needs
    if width < NO_LIMIT:
        last = min(last, LAST_WIDTH)
    left = width - job_id - following - last - 4 * len("  ")
    name = min(name, max(left - schedule, MIN_NAME_WIDTH))
    return [job_id, name, max(1, min(schedule, left - name)), following, last]


def _show_zones(times: Iterable[str], zones: Mapping[str, str]) -> None:
    """Print the `zones`, of each profile, of the ISO `times` above, unless a clock of this terminal shows the same."""
    moments = map(datetime.datetime.fromisoformat, times)
    if all(moment.utcoffset() == moment.astimezone().utcoffset() for moment in moments):
        return
    names = dict.fromkeys(zones.values())
    shown = names if len(names) == 1 else [f"{zone} ({profile})" for profile, zone in zones.items()]
    click.echo(f"Times are in {', '.join(shown)}.")


def _show_below_table(answer: Any, hidden: Mapping[str, int]) -> None:
    """Print what the table of the jobs does not show."""
    if not answer["armed"]:
        click.echo(DISARMED)
    for sentence in answer.get("unusable", ()):
        click.echo(f"NOT USED: {one_line(sentence)}")
    for job in answer["jobs"]:
        if job["held"]:
            click.echo(f"{job['id']}: {one_line(job['held'])}")
        own = {key: value for key, value in job["effective_policy"].items() if key in job["policy"]}
        if own:
            click.echo(f"{job['id']}: policy {one_line(', '.join(policy.words(own)))}")
    for profile, sentence in answer["paused_profiles"].items():
        click.echo(f"NOTE: {profile}: {one_line(sentence)}")
    if hidden:
        counts = ", ".join(f"{profile} ({count})" for profile, count in hidden.items())
        click.echo(f"NOTE: other profiles have jobs too: {counts}. 'hermes-oscron list --all-profiles' shows them.")


def _next_text(job: Any, run: Progress | None) -> str:
    """Return when `job` runs next, for the table, or for how long its `run` has been in progress."""
    if run:
        return f"{run.state} {_span(run.elapsed)}"
    if not job["next_run_at"]:
        return str(job["state"])
    due = datetime.datetime.fromisoformat(job["next_run_at"])
    return "due now" if due <= datetime.datetime.now(datetime.UTC) else f"{due:%Y-%m-%d %H:%M}"


def show_job(job: Any, unit: str | None = None, run: Progress | None = None, reason: str | None = None) -> None:
    """Print `job`, and the `unit` that starts it.

    `run` is its run in progress, and `reason` is a sentence if the job never fires.
    """
    running = f"{run.state} for {_span(run.elapsed)}" if run else None
    shown = {
        "Id": job["id"], "Name": job["name"], "Schedule": job["schedule_display"],
        "State": ", ".join(filter(None, (job["state"], running, job["held"]))),
        "Paused at": _to_second(job.get("paused_at")), "Reason": job.get("paused_reason") or reason, "Unit": unit,
        "Next run": _to_second(job["next_run_at"]), "Last run": _to_second(job["last_run_at"]),
        "Last status": job["last_status"], "Last error": job["last_error"],
        "Delivery error": job["last_delivery_error"], "Runs": _runs_text(job["repeat"]), "Script": job.get("script"),
        **_fields_set(job), "Policy": ", ".join(policy.words(job["effective_policy"])) or None,
        "Prompt": job["prompt"] or None,
    }
    shown = {f"{label}:": one_line(value) for label, value in shown.items() if value is not None}
    width = max(LABEL_WIDTH, *map(len, shown))
    for label, value in shown.items():
        click.echo(f"{label:<{width}} {value}")


def _fields_set(job: Any) -> dict[str, str]:
    """Return the values of the optional fields that are set in `job`, by the words of their options."""
    found = {}
    for field in FIELDS.values():
        value = job.get(field.name)
        if field.option and field.name not in SHOWN_APART and value not in (None, "", [], field.default):
            label = (field.option_name or field.name).replace("-", " ").replace("_", " ").capitalize()
            found[label] = (", ".join(map(str, value)) if isinstance(value, list) else
                            {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value))
    return found


def show_warning(warning: str) -> None:
    """Print `warning` beside the answer, not in it: that may be JSON."""
    click.echo(f"WARNING: {one_line(warning)}", err=True)


def show_runs(found: Any, folder: str, zones: Mapping[str, str], run: Progress | None) -> None:
    """Print the runs `found`, whose outputs are in `folder`, and for how long the one in progress has been, `run`."""
    if run:
        click.echo(f"{run.state.capitalize()} for {_span(run.elapsed)}.")
    elif not found:
        click.echo("No runs yet.")
    if not found:
        return
    click.echo(f"{'ENDED':<19}  {'STATUS':<7}  {'BYTES':>9}  OUTPUT")
    for each in found:
        ended = datetime.datetime.fromisoformat(each["ended_at"])
        click.echo(f"{ended:%Y-%m-%d %H:%M:%S}  {each['status']:<7}  {each['size']:>9}  {each['filename']}")
    click.echo(f"The outputs are in {folder}")
    _show_zones([each["ended_at"] for each in found], zones)


def _to_second(time: str | None) -> str | None:
    """Return the ISO time `time` without parts of a second."""
    return datetime.datetime.fromisoformat(time).isoformat(timespec="seconds") if time else None


def _span(seconds: float) -> str:
    """Return `seconds` in words of at most two units."""
    minutes, hours, days = (int(seconds // unit) for unit in (60, 3600, 86400))
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m" if minutes else f"{int(seconds)}s"


def _runs_text(repeat: Any) -> str:
    return f"{repeat['completed']}" + (f" of {repeat['times']}" if repeat["times"] else "")


def one_line(value: object) -> str:
    """Return `value` on one line, without characters that control a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value or "")).split())


def printable(text: str) -> str:
    """Return `text` without characters that control a terminal, except newlines."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def _columns() -> int:
    """Return the width of a table that does not go to a terminal: that of `$COLUMNS`, if it is set."""
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and len(columns) < 6 else NO_LIMIT
