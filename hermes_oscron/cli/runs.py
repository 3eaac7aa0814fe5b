"""The commands on runs: the ledger as a table, and outputs."""

import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import click

from ..hermes import outputs
from ..hermes.home import Home
from ..hermes.jobs_file import JobNotFound
from ..hermes.output_page import response, usage
from ..hermes.timezone import home_zone
from ..jobs.fields import ValidationError
from ..runs import ledger
from ..runs.ledger import OK, OUTCOMES, SKIPPED, TRIGGERS, Row
from ..service import runs as service_runs
from ..service.jobs import JobService
from ..service.manual_start import Progress
from ..service.runs import RunView
from .addressing import PROFILE_OPTION, find_job, job_argument, with_json
from .group import service
from .options import time_option
from .render import printable, progress_text, show_zone, span
from .table import Cell, print_table

LEAST_WIDTHS = {"DETAIL": 20, "NAME": 12}
STYLES = {OK: "", SKIPPED: "yellow", "running": "green"}


@click.command(epilog="Example: hermes-oscron runs disk --outcome error --since 2027-03-01")
@job_argument(required=False)
@click.option("-n", "limit", default=20, type=click.IntRange(1, 500), show_default=True, help="How many at most.")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only runs that ended so.")
@click.option("--trigger", type=click.Choice(TRIGGERS), help="Only runs that were started so.")
@click.option("--since", metavar="TIME", help="Only runs that were due from then on, like 2027-03-15T09:00.")
@click.option("--wide", is_flag=True, help="Do not cut long texts on a terminal.")
@PROFILE_OPTION
@with_json
def runs(job: str | None, limit: int, outcome: str | None, trigger: str | None, since: str | None, wide: bool,
         in_profile: str | None) -> Any:
    """List the runs of a job, or of all jobs, newest first.

    A time at which the job was due and did not run is listed too, with the reason. JOB may be the id of a deleted job.
    """
    here, job_id = _find(job, in_profile) if job else (service(in_profile), None)
    zone = home_zone(here.home)
    moment = time_option(since, zone).timestamp() if since else None
    found = service_runs.listed(here.home, service_runs.Filter(job_id, outcome, trigger, moment), None, limit).runs
    for run in found:
        run["path"] = f"{here.home.output_dir}/{run['job_id']}/{run['output']}" if run["output"] else None
    in_progress = {each: run for each, run in here.status().items() if job_id == each or (run.queued and not job_id)}
    return found, partial(_show_runs, in_progress=in_progress, zone=zone, of_one_job=bool(job), whole=wide)


def _find(job: str, in_profile: str | None) -> tuple[JobService, str]:
    """Return the job that `job` names, or the deleted one with that id that the ledger has. Raises JobNotFound."""
    try:
        return find_job(job, in_profile)
    except JobNotFound:
        here = service(in_profile)
        with ledger.reading(here.home) as books:
            if ledger.select(books, "job = ? LIMIT 1", job):
                return here, job
        raise


def _show_runs(found: list[RunView], in_progress: dict[str, Progress], zone: ZoneInfo, of_one_job: bool,
               whole: bool) -> None:
    """Print the runs `in_progress`, and the table of those `found`; a queued one has no row in the ledger yet."""
    for job_id, run in in_progress.items():
        text = progress_text(run)
        click.echo(f"{text[0].upper()}{text[1:]}." if of_one_job else f"{job_id}: {text}.")
    if not found:
        if not in_progress:
            click.echo("No runs.")
        return
    headings = ["RUN", "DUE", *([] if of_one_job else ["JOB", "NAME"]), "TRIGGER", "OUTCOME", "TOOK", "DETAIL"]
    print_table(headings, [_cells(run, zone, of_one_job) for run in found], LEAST_WIDTHS, whole)
    show_zone([run["due_at"] for run in found], zone)


def _cells(run: RunView, zone: ZoneInfo, of_one_job: bool) -> list[Cell | str]:
    due, started, ended = (datetime.datetime.fromisoformat(time) if time else None
                           for time in (run["due_at"], run["started_at"], run["ended_at"]))
    assert due
    outcome = run["outcome"] or "running"
    took = (ended or datetime.datetime.now(datetime.UTC)) - started if started else None
    detail = run["reason"] or (f"not delivered: {run['delivery_error']}" if run["delivery_error"] else run["output"])
    return [str(run["id"]), f"{due.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            *([] if of_one_job else [run["job_id"], run["name"]]), run["trigger"],
            Cell(outcome, STYLES.get(outcome, "red")), span(took.total_seconds()) if took else "-", detail or "-"]


@click.command(epilog="Example: hermes-oscron output disk 2")
@job_argument()
@click.argument("number", default=1, type=click.IntRange(min=1))
@click.option("--run", "run_id", type=click.IntRange(min=1), help="That of this RUN, as 'runs' numbers them.")
@click.option("--response", "only_response", is_flag=True, help="Print only the response, or the output of the script.")
@PROFILE_OPTION
@with_json
def output(job: str, number: int, run_id: int | None, only_response: bool, in_profile: str | None) -> Any:
    """Print an output of a job, by default the newest.

    NUMBER 2 is the output before that. JOB may be the id of a deleted job.
    """
    here, job_id = _find_with_outputs(job, in_profile)
    name = _output_of(here.home, job_id, run_id) if run_id else _output_number(here.home, job_id, number)
    content = outputs.read(here.home, job_id, name)
    answer = {"job_id": job_id, "filename": name, "path": f"{here.home.output_dir}/{job_id}/{name}",
              "content": content, "response": response(content), "usage": usage(content),
              "run": service_runs.of_outputs(here.home, job_id, [name]).get(name)}
    return answer, lambda _: click.echo(printable(response(content) if only_response else content.rstrip("\n")))


def _find_with_outputs(job: str, in_profile: str | None) -> tuple[JobService, str]:
    """Return the job that `job` names, or the deleted one with that id that has outputs. Raises JobNotFound."""
    try:
        return _find(job, in_profile)
    except JobNotFound:
        here = service(in_profile)
        if job in outputs.job_ids(here.home):
            return here, job
        raise


def _output_number(home: Home, job_id: str, number: int) -> str:
    names = outputs.filenames(home, job_id)
    if not names:
        raise outputs.RunNotFound(f"{job_id} has no output yet.", f"'hermes-oscron run --wait {job_id}' runs it.")
    if number > len(names):
        raise outputs.RunNotFound(f"{job_id} has only {len(names)} output{'s' * (len(names) != 1)}.")
    return names[number - 1]


def _output_of(home: Home, job_id: str, run_id: int) -> str:
    row = row_of(home, job_id, run_id)
    if not row.output:
        raise outputs.RunNotFound(f"Run {run_id} of {job_id} has no output.")
    return row.output


def row_of(home: Home, job_id: str, run_id: int) -> Row:
    """Return the row `run_id` of the ledger. Raises ValidationError if it is not a run of `job_id`."""
    with ledger.reading(home) as books:
        rows = ledger.select(books, "id = ? AND job = ?", run_id, job_id)
    if not rows:
        raise ValidationError(f"{job_id} has no run {run_id}; 'hermes-oscron runs {job_id}' lists them.")
    return rows[0]
