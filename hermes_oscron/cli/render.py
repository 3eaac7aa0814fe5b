"""Print jobs, runs and crontab lines in the terminal."""

import datetime
from collections.abc import Iterable
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


def show_zone(times: Iterable[str | None], zone: ZoneInfo) -> None:
    """Print the `zone` in which the ISO `times` are shown, unless a clock of this terminal shows the same."""
    moments = [datetime.datetime.fromisoformat(time) for time in times if time]
    if any(moment.astimezone(zone).utcoffset() != moment.astimezone().utcoffset() for moment in moments):
        click.echo(f"Times are in {zone.key}.")


def show_job(job: Any, unit: str | None = None, run: Progress | None = None, reason: str | None = None,
             used: str | None = None) -> None:
    """Print `job`, and the `unit` that starts it.

    `run` is its run in progress, `reason` a sentence if the job never fires, and `used` what is used of its budget.
    """
    running = progress_text(run) if run else None
    shown = {
        "Id": job["id"], "Name": job["name"], "Schedule": job["schedule_display"],
        "State": ", ".join(filter(None, (job["state"], running, job["held"]))),
        "Paused at": _to_second(job.get("paused_at")), "Reason": job.get("paused_reason") or reason, "Unit": unit,
        "Next run": _to_second(job["next_run_at"]), "Last run": _to_second(job["last_run_at"]),
        "Last status": job["last_status"], "Last error": job["last_error"],
        "Delivery error": job["last_delivery_error"], "Runs": _runs_text(job["repeat"]), "Script": job.get("script"),
        **_fields_set(job), "Policy": ", ".join(policy.words(job["effective_policy"])) or None, "Budget used": used,
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


def progress_text(run: Progress) -> str:
    """Return the state of `run` in words: "running for 5m", "queued for 5s"."""
    return f"{run.state} for {span(run.elapsed)}{run.place}"


def _to_second(time: str | None) -> str | None:
    """Return the ISO time `time` without parts of a second."""
    return datetime.datetime.fromisoformat(time).isoformat(timespec="seconds") if time else None


def span(seconds: float) -> str:
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
