"""The command `list`: the jobs as a table, filtered and sorted."""

import datetime
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import click

from ..hermes.timezone import home_zone
from ..jobs import policy
from ..jobs.record import COMPLETED, ERROR, PAUSED, RAN
from ..service.addressing import STATES, jobs_elsewhere
from ..service.manual_start import Progress
from .addressing import complete_profiles, with_json
from .group import service
from .options import zone_option
from .render import DISARMED, one_line, show_zone, span
from .table import Cell, print_table

MAX_LAST_CHARS = len("delivery_failed")
LEAST_WIDTHS = {"LAST": MAX_LAST_CHARS, "PROMPT": 12, "SCRIPT": 12, "NAME": 12, "SCHEDULE": 1}
"""The columns that are cut, in this order, if the terminal is narrow, and the widths that they keep."""
STATE_STYLES = {PAUSED: "yellow", COMPLETED: "dim", ERROR: "red"}
DEFAULT_COLUMNS = ("id", "name", "schedule", "next", "last")


class Shown(NamedTuple):
    """A job as clients see it, its run in progress, and how its times are shown."""

    job: dict[str, Any]
    run: Progress | None
    active_profile: str
    zone: ZoneInfo
    now: datetime.datetime
    relative: bool

    @property
    def reference(self) -> str:
        """The id by which a command finds the job."""
        job_id, profile = self.job["id"], self.job["owner_profile"]
        return job_id if profile == self.active_profile else f"{profile}:{job_id}"

    @property
    def next(self) -> Cell:
        """When the job runs next, or for how long it has been running, or its state."""
        if self.run:
            return Cell(f"{self.run.state} {span(self.run.elapsed)}", "cyan" if self.run.queued else "green")
        due = self.job["next_run_at"]
        if not due:
            return Cell(self.job["state"], STATE_STYLES.get(self.job["state"], ""))
        return Cell("due now" if datetime.datetime.fromisoformat(due) <= self.now else self.time(due))

    @property
    def last(self) -> Cell:
        status = self.job["last_status"]
        return Cell(status or "-", "" if status is None or status in RAN else "red")

    def time(self, iso: str | None) -> str:
        """Return the time `iso` for the table; "-" for none."""
        if not iso:
            return "-"
        moment = datetime.datetime.fromisoformat(iso)
        return relative(moment, self.now) if self.relative else f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M}"


class Column(NamedTuple):
    """A column: the cell of a job, and the value by which the jobs are sorted; None is last."""

    cell: Callable[[Shown], Cell | str]
    key: Callable[[Shown], Any]


def _text(field: str) -> Column:
    return Column(lambda shown: str(shown.job.get(field) or "-"),
                  lambda shown: str(shown.job.get(field) or "").casefold())


def _time(field: str) -> Column:
    return Column(lambda shown: shown.time(shown.job[field]), lambda shown: _instant(shown.job[field]))


def _instant(iso: str | None) -> float | None:
    return datetime.datetime.fromisoformat(iso).timestamp() if iso else None


def _runs(shown: Shown) -> str:
    repeat = shown.job["repeat"]
    return f"{repeat['completed']}" + (f" of {repeat['times']}" if repeat["times"] else "")


COLUMNS = {
    "id": Column(lambda shown: shown.reference, lambda shown: shown.reference),
    "name": _text("name"),
    "schedule": _text("schedule_display"),
    "next": Column(lambda shown: shown.next, lambda shown: 0.0 if shown.run else _instant(shown.job["next_run_at"])),
    "last": Column(lambda shown: shown.last, lambda shown: shown.job["last_status"]),
    "state": Column(lambda shown: Cell(shown.run.state if shown.run else shown.job["state"],
                                       STATE_STYLES.get(shown.job["state"], "")), lambda shown: shown.job["state"]),
    "ran": _time("last_run_at"),
    "created": _time("created_at"),
    "runs": Column(_runs, lambda shown: -shown.job["repeat"]["completed"]),
    "profile": _text("owner_profile"),
    "deliver": _text("deliver"),
    "model": _text("model"),
    "script": _text("script"),
    "prompt": _text("prompt"),
}


def _columns(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(filter(None, (value or "").replace(" ", "").lower().split(","))) or DEFAULT_COLUMNS
    if unknown := [name for name in names if name not in COLUMNS]:
        raise click.BadParameter(f"There is no column '{unknown[0]}'; the columns are {', '.join(COLUMNS)}.")
    return names


@click.command("list", epilog="Example: hermes-oscron list --state failed --columns id,name,ran,last")
@click.argument("text", required=False)
@click.option("--state", type=click.Choice(list(STATES)), help="Only jobs in this state; failed: by their last run.")
@click.option("--sort", type=click.Choice(list(COLUMNS)), metavar="COLUMN", help="Sort by this column.")
@click.option("--reverse", is_flag=True, help="Reverse the order.")
@click.option("--columns", callback=_columns, help=f"Show these columns: {', '.join(COLUMNS)}.")
@click.option("--relative", "is_relative", is_flag=True, help="Show times like 'in 2h 5m'.")
@click.option("--tz", "zone", metavar="ZONE",
              help="The zone of the times, like Europe/Berlin.  [default: the Hermes zone]")
@click.option("--wide", is_flag=True, help="Do not cut long texts on a terminal.")
@click.option("--all-profiles", is_flag=True, help="Show the jobs of every profile.")
@click.option("--profile", "in_profile", metavar="NAME", shell_complete=complete_profiles,
              help="Show the jobs of this profile, not of the active one.")
@with_json
def list_jobs(text: str | None, state: str | None, sort: str | None, reverse: bool, columns: tuple[str, ...],
              is_relative: bool, zone: str | None, wide: bool, all_profiles: bool, in_profile: str | None) -> Any:
    """List the jobs.

    With TEXT, those that have it in their id, name or schedule.
    """
    here = service(in_profile)
    times_in = zone_option(zone) if zone else home_zone(here.home)
    answer = here.list_jobs(all_profiles)
    runs = {f"{profile}:{job_id}": run for profile in dict.fromkeys(job["owner_profile"] for job in answer["jobs"])
            for job_id, run in here.of_profile(profile).status().items()}
    shown = [Shown(job, runs.get(f"{job['owner_profile']}:{job['id']}"), answer["active_profile"], times_in,
                   here.clock.now(), is_relative) for job in answer["jobs"]]
    is_empty = not shown
    shown = [each for each in shown if _is_wanted(each, text, state)]
    if sort:
        key = COLUMNS[sort].key
        shown.sort(key=lambda each: (key(each) is None, key(each) or 0))
    if reverse:
        shown.reverse()
    hidden = {} if all_profiles else jobs_elsewhere(here.home)
    return {**answer, "jobs": [each.job for each in shown]}, partial(
        _show, shown=shown, is_empty=is_empty, columns=columns, whole=wide, zone=times_in, hidden=hidden)


def _is_wanted(shown: Shown, text: str | None, state: str | None) -> bool:
    words = (shown.reference, shown.job["name"], shown.job["schedule_display"], shown.job["schedule"]["expression"])
    return ((text is None or any(text.casefold() in word.casefold() for word in words))
            and (state is None or STATES[state](shown.job, shown.run)))


def _show(answer: dict[str, Any], shown: list[Shown], is_empty: bool, columns: tuple[str, ...], whole: bool,
          zone: ZoneInfo, hidden: Mapping[str, int]) -> None:
    """Print the jobs `shown`, what the table does not show, and how many `hidden` ones other profiles have."""
    if is_empty:
        click.echo("No jobs. 'hermes-oscron create \"every 2h\" \"…\"' creates one.")
    elif not shown:
        click.echo("No job matches.")
    else:
        print_table([name.upper() for name in columns],
                    [[COLUMNS[name].cell(each) for name in columns] for each in shown], LEAST_WIDTHS, whole)
        fields = {"next": "next_run_at", "ran": "last_run_at", "created": "created_at"}
        if not shown[0].relative:
            show_zone([each.job[fields[name]] for each in shown for name in fields.keys() & set(columns)], zone)
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


def relative(moment: datetime.datetime, now: datetime.datetime) -> str:
    """Return how far `moment` is from `now`: "in 2h 5m", "5m ago"."""
    seconds = (moment - now).total_seconds()
    return f"in {span(seconds)}" if seconds >= 0 else f"{span(-seconds)} ago"
