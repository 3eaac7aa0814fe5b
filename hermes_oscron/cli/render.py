"""Print jobs, runs and crontab lines in the terminal."""

import datetime
import os
import sys
from typing import Any
from zoneinfo import ZoneInfo

import click

from ..hermes.timezone import machine_zone
from ..schedule.model import ONCE, Schedule
from ..schedulers.crontab.expression import expression_of, starts_per_day

NEXT_WIDTH, LAST_WIDTH = len("2026-11-24 09:00"), len("error")


def show_crontab_line(schedule: Schedule, zone: ZoneInfo, now: datetime.datetime,
                      phase: datetime.datetime | None) -> None:
    line = expression_of(schedule, zone, machine_zone(), now, phase)
    click.echo(f"{line.fields} hermes-cron-exec PROFILE:JOB_ID")
    if schedule.kind == ONCE:
        click.echo("# Once: the line is removed when the job has run.")
    elif line.exact:
        click.echo("# Exactly when the job is due.")
    else:
        click.echo(f"# cron cannot express it, and starts it {_times(starts_per_day(line))} on a day of this line.\n"
                   "# If the job is not due, the runner ends at once and changes nothing.")


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def show_table(answer: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    jobs = answer["jobs"]
    if not jobs:
        click.echo("No jobs. 'hermes-oscron create \"every 2h\" \"…\"' creates one.")
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
        table.add_row(*(Text(one_line(cell), overflow="ellipsis", no_wrap=True) for cell in row))
    console.print(table)


def show_job(job: Any) -> None:
    shown = {
        "Id": job["id"], "Name": job["name"], "Schedule": job["schedule_display"], "State": job["state"],
        "Next run": job["next_run_at"], "Last run": job["last_run_at"], "Last status": job["last_status"],
        "Last error": job["last_error"], "Runs": _runs_text(job["repeat"]), "Script": job.get("script"),
        "Prompt": job["prompt"] or None,
    }
    for label, value in shown.items():
        if value is not None:
            click.echo(f"{label + ':':<12} {one_line(value)}")


def show_runs(found: Any) -> None:
    if not found:
        click.echo("No runs yet.")
    for each in found:
        click.echo(f"{each['size']:>9}  {each['path']}")


def _runs_text(repeat: Any) -> str:
    return f"{repeat['completed']}" + (f" of {repeat['times']}" if repeat["times"] else "")


def one_line(value: object) -> str:
    """Return `value` on one line, without characters that control a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value or "")).split())


def _columns() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and len(columns) < 6 else 80
