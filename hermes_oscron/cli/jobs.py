"""The commands on jobs."""

import os
from typing import Any

import click

from ..hermes import outputs
from .group import field_options, read_prompt, service, with_json
from .render import show_job, show_runs, show_table


@click.command("list")
@click.option("--all-profiles", is_flag=True, help="Show the jobs of every profile.")
@with_json
def list_jobs(all_profiles: bool) -> Any:
    """List the jobs."""
    return service().list_jobs(all_profiles), show_table


@click.command()
@click.argument("job_id")
@with_json
def show(job_id: str) -> Any:
    """Show a job."""
    return service().show(job_id), show_job


@click.command()
@click.argument("schedule")
@click.argument("prompt", default="")
@field_options("name", "no_agent", "script", "repeat", of_new_job=True)
@with_json
def create(prompt: str, no_agent: bool, **given: Any) -> Any:
    """Create a job that runs PROMPT on SCHEDULE.

    SCHEDULE is a cron expression ("0 9 * * 1-5"), an interval ("every 2h"), days and a time ("weekdays at 9:30"), a
    delay ("in 30m") or a time ("2027-03-15 09:00").

    With - as PROMPT the prompt is read from standard input, where 'ps' does not show it to other accounts.
    """
    return service().create({**given, "prompt": read_prompt(prompt), "no_agent": no_agent or None}), show_job


@click.command()
@click.argument("job_id")
@field_options("schedule", "prompt", "name", "script", "repeat", of_new_job=False)
@with_json
def update(job_id: str, prompt: str | None, **given: Any) -> Any:
    """Change the given fields of a job, and nothing else."""
    return service().update(job_id, {**given, "prompt": read_prompt(prompt)}), show_job


@click.command()
@click.argument("job_id")
@click.option("--reason", help="Why; it is stored with the job.")
@with_json
def pause(job_id: str, reason: str | None) -> Any:
    """Do not fire a job until it is resumed."""
    return service().pause(job_id, reason), show_job


@click.command()
@click.argument("job_id")
@with_json
def resume(job_id: str) -> Any:
    """Fire a paused job again; missed occurrences stay missed."""
    return service().resume(job_id), show_job


@click.command()
@click.argument("job_id")
def run(job_id: str) -> None:
    """Run a job now, also if it is paused."""
    elapsed = service().run(job_id)
    if elapsed is not None:
        raise click.ClickException(f"{job_id} has been running for {elapsed} s; a job never runs twice at once.")
    click.echo(f"Started {job_id}.")


@click.command()
@click.argument("job_id")
def delete(job_id: str) -> None:
    """Delete a job, its timer and its outputs."""
    service().delete(job_id)
    click.echo(f"Deleted {job_id}.")


@click.command()
@click.argument("job_id")
@click.option("-n", "limit", default=5, type=click.IntRange(min=1), show_default=True, help="How many at most.")
@with_json
def runs(job_id: str, limit: int) -> Any:
    """List the outputs of a job's runs, newest first."""
    here = service()
    here.show(job_id)
    folder = f"{here.home.output_dir}/{job_id}"
    found = [{"filename": name, "path": f"{folder}/{name}", "size": os.path.getsize(f"{folder}/{name}")}
             for name in outputs.filenames(here.home, job_id)[:limit]]
    return found, show_runs
