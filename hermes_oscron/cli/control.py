"""The commands that act on existing jobs: pause, resume, run, stop, delete."""

import os
import sys
import time
from typing import Any

import click

from ..errors import OscronError
from ..hermes import outputs
from ..hermes.output_page import response
from ..hermes.timezone import home_zone
from ..jobs.record import COMPLETED, PAUSED
from ..runs.ledger import LedgerError
from ..runs.stop import STOP_TIMEOUT_S
from ..schedule.model import ONCE
from ..service.jobs import JobService
from ..service.manual_runs import exit_status, stop, wait_for_end
from ..service.runs import view as run_view
from .addressing import JSON_OPTION, Chosen, Show, chooses_jobs, print_json, show_error, takes_jobs
from .jobs import with_notes
from .render import one_line, printable, show_job


@click.command(epilog="Example: hermes-oscron pause disk --reason 'in the holidays'")
@takes_jobs(in_blocks=True)
@click.option("--reason", help="Why; it is stored with the job.")
def pause(here: JobService, job_id: str, reason: str | None) -> tuple[Any, Show]:
    """Do not fire a job until it is resumed."""
    job = here.pause(job_id, reason)
    if job["state"] != PAUSED:
        click.echo(f"NOTE: only a scheduled job can be paused, and this one is {job['state']}.", err=True)
    return job, show_job


@click.command(epilog="Example: hermes-oscron resume --state paused")
@takes_jobs(in_blocks=True)
def resume(here: JobService, job_id: str) -> tuple[Any, Show]:
    """Fire a paused job again; missed occurrences stay missed."""
    job = here.resume(job_id)
    if job["state"] == COMPLETED:
        raise click.ClickException(_how_to_run_again(job))
    return with_notes(here, job), show_job


def _how_to_run_again(job: dict[str, Any]) -> str:
    """Return why the completed `job` is not resumed, and the commands that run it again."""
    instance, repeat = f"{job['owner_profile']}:{job['id']}", job["repeat"]
    run_now = f"'hermes-oscron run {instance}' runs it now"
    if job["schedule"]["kind"] == ONCE:  # the agent does not run it by hand either
        why, how = "it runs once", f"'hermes-oscron update --schedule TIME {instance}' schedules it again"
    elif repeat["times"] and repeat["completed"] >= repeat["times"]:
        why = f"it has had all of its {repeat['times']} runs"
        how = f"{run_now}; after 'hermes-oscron update --repeat {repeat['completed'] + 1} {instance}' it can be resumed"
    else:
        why = "its schedule has no occurrence left"
        how = f"{run_now}; 'hermes-oscron update --schedule TIME {instance}' schedules it again"
    return f"{job['id']} cannot be resumed: it is completed, because {why}. {how}."


@click.command(epilog="Example: hermes-oscron run --wait disk && echo done")
@chooses_jobs()
@click.option("--wait", is_flag=True, help="Wait for the end, print the output, and exit with the job's exit status.")
@click.option("--force", is_flag=True, help="Run it even while 'hermes pause' holds all of Hermes.")
@JSON_OPTION
def run(jobs: list[Chosen], is_list: bool, wait: bool, force: bool, wants_json: bool) -> None:
    """Run a job now, also if it is paused.

    Several jobs are started one after the other, and run at the same time.
    """
    answers, status, started = [], 0, list[tuple[Chosen, float]]()
    for chosen in jobs:
        since = time.time()
        try:
            _start(*chosen, force)
        except (OscronError, OSError, click.ClickException) as error:
            if not is_list:
                raise
            show_error(chosen.job_id, error)
            status = 1
            continue
        started.append((chosen, since))
        if not wait:
            answers.append({"job_id": chosen.job_id, "status": "running"})
            if not wants_json:
                click.echo(f"Started {chosen.job_id}.")
    for (here, job_id), since in started if wait else ():
        answer, ended_with = _end_of(here, job_id, since, show=not wants_json)
        answers.append(answer)
        status = max(status, ended_with)
    if wants_json:
        print_json(answers if is_list else answers[0])
    sys.exit(status)


def _start(here: JobService, job_id: str, force: bool) -> None:
    elapsed = here.run(job_id, force)
    if elapsed is not None:
        present = here.progress(job_id)
        state = present.state if present else "running"
        raise click.ClickException(f"{job_id} has been {state} for {elapsed} s; a job never runs twice at once.")


def _end_of(here: JobService, job_id: str, since: float, show: bool) -> tuple[dict[str, Any], int]:
    """Return the run of `job_id` after its end, and its exit status; print its output if `show`."""
    row = wait_for_end(here.home, job_id, since, here.clock)
    if row is None:
        raise LedgerError(f"The run of {job_id} has ended, but was not recorded.",
                          f"'hermes-oscron runs {job_id}' may show it after the next sync.")
    answer, status = run_view(here.home, row, home_zone(here.home)), exit_status(row)
    page = outputs.read(here.home, job_id, row.output) if row.output else ""
    if show:
        if page:
            click.echo(printable(response(page)) if sys.stdout.isatty() else response(page))
        if row.reason:
            click.echo(f"Error: {job_id}: {one_line(row.reason)}", err=True)
    return {**answer, "response": response(page), "exit_status": status}, status


@click.command("stop", epilog="Example: hermes-oscron stop --state running")
@takes_jobs(question="Stop the runs of {}?")
def stop_runs(here: JobService, job_id: str) -> tuple[Any, Show]:
    """Stop the run of a job that is in progress or queued.

    The job stays scheduled.
    Exit with 1 if it is not running, or does not end.
    """
    run = stop(here.home, job_id)
    if run is None:
        raise click.ClickException(f"{job_id} is not running.")
    if not run.ended:
        raise click.ClickException(f"{job_id} has not ended {STOP_TIMEOUT_S:.0f} s after SIGTERM.")
    state = "was queued" if run.queued else "had been running"
    return ({"job_id": job_id, "elapsed": run.elapsed, "queued": run.queued, "state": "stopped"},
            lambda _: click.echo(f"Stopped {job_id}, which {state} for {run.elapsed:.0f} s."))


@click.command(epilog="Example: hermes-oscron delete disk --keep-outputs")
@takes_jobs(question="Delete {}, with all outputs?")
@click.option("--stop", is_flag=True, help="Stop its run, if one is in progress.")
@click.option("--keep-outputs", is_flag=True, help="Keep its outputs, also that of a run in progress.")
def delete(here: JobService, job_id: str, stop: bool, keep_outputs: bool) -> tuple[Any, Show]:
    """Delete a job, its timer and its outputs.

    A run in progress ends by itself, unless --stop is given.
    """
    folder = f"{here.home.output_dir}/{job_id}"
    run = here.delete(job_id, stop, keep_outputs)
    sentences = [f"Deleted {job_id}."]
    if run:
        sentences.append(f"Its run, which began {run.elapsed:.0f} s ago, " + {
            "continues": f"goes on; its output is {'kept' if keep_outputs else 'removed'} when it ends.",
            "stopped": "was stopped.",
            "stopping": f"has not ended {STOP_TIMEOUT_S:.0f} s after SIGTERM."}[run.state])
    if keep_outputs and (run or os.path.isdir(folder)):
        sentences.append(f"Its outputs stay in {folder}.")
    return ({"job_id": job_id, "run": run._asdict() if run else None},
            lambda _: click.echo(one_line(" ".join(sentences))))
