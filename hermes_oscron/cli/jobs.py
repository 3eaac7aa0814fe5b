"""The commands on jobs."""

import datetime
import os
from functools import partial
from typing import Any

import click

from ..hermes import outputs
from ..hermes.jobs_file import JobNotFound
from ..hermes.timezone import home_zone
from ..jobs.fields import ValidationError
from ..jobs.record import COMPLETED, PAUSED
from ..runs.stop import STOP_TIMEOUT_S
from ..schedule.model import ONCE
from ..schedulers.systemd.scheduler import Systemd
from ..service.addressing import find_id, jobs_elsewhere
from ..service.job_views import why_never_fires
from ..service.jobs import JobService
from .group import PROFILE_OPTION, field_options, read_prompt, service, takes_job, with_json
from .render import DISARMED, one_line, show_job, show_runs, show_table, show_warning

OPTIONAL = ("deliver", "failure_deliver", "attach_to_session", "skills", "enabled_toolsets", "context_from", "workdir",
            "profile", "model", "provider", "base_url", "pinned", "reasoning_effort", "monitor_script", "monitor_url",
            "interpreter", "policy")
"""Fields that both a new job and a change may set."""

SELF = "self"
"""The job itself, in `context_from`."""


@click.command("list")
@click.option("--all-profiles", is_flag=True, help="Show the jobs of every profile.")
@click.option("--profile", "in_profile", metavar="NAME",
              help="Show the jobs of this profile, not of the active one.")
@with_json
def list_jobs(all_profiles: bool, in_profile: str | None) -> Any:
    """List the jobs."""
    here = service(in_profile)
    answer = here.list_jobs(all_profiles)
    shown = {profile: here.of_profile(profile) for profile in (job["owner_profile"] for job in answer["jobs"])}
    runs = {f"{profile}:{job_id}": run for profile, commands in shown.items()
            for job_id, run in commands.status().items()}
    zones = {profile: home_zone(commands.home).key for profile, commands in shown.items()}
    return answer, partial(show_table, runs=runs, zones=zones,
                           hidden={} if all_profiles else jobs_elsewhere(here.home))


@click.command()
@takes_job
@with_json
def show(here: JobService, job_id: str) -> Any:
    """Show a job."""
    _note_if_disarmed(here)
    job = here.show(job_id)
    has_timer = here.scheduler == Systemd.kind and here.disarmed_since is None and job["next_run_at"]
    return job, partial(show_job, unit=f"hermes-job@{job['owner_profile']}:{job_id}.timer" if has_timer else None,
                        run=here.progress(job_id), reason=why_never_fires(here.home, job_id))


@click.command()
@click.argument("schedule")
@click.argument("prompt", default="")
@field_options("name", "no_agent", "script", "repeat", *OPTIONAL, "paused", "paused_reason", of_new_job=True)
@PROFILE_OPTION
@with_json
def create(prompt: str, no_agent: bool, paused: bool, in_profile: str | None, **given: Any) -> Any:
    """Create a job that runs PROMPT on SCHEDULE.

    SCHEDULE is a cron expression ("0 9 * * 1-5"), an interval ("every 2h"), days and a time ("weekdays at 9:30"), a
    delay ("in 30m") or a time ("2027-03-15 09:00").

    With - as PROMPT the prompt is read from standard input, where 'ps' does not show it to other accounts.
    """
    here = service(in_profile)
    job = here.create({**_with_whole_ids(here, given), "prompt": read_prompt(prompt), "no_agent": no_agent or None,
                       "paused": paused or None}, show_warning)
    return _with_notes(here, job), show_job


@click.command()
@takes_job
@field_options("schedule", "prompt", "name", "script", "repeat", *OPTIONAL, of_new_job=False)
@with_json
def update(here: JobService, job_id: str, prompt: str | None, **given: Any) -> Any:
    """Change the given fields of a job, and nothing else."""
    if prompt is None and all(value is None for value in given.values()):
        raise click.UsageError("Nothing to change: give an option, such as --schedule or --prompt.")
    given = {**_with_whole_ids(here, given), "prompt": read_prompt(prompt)}
    return _with_notes(here, here.update(job_id, given, show_warning)), show_job


def _with_whole_ids(here: JobService, given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields `given`, with the whole ids in `context_from`.

    The agent's own commands refuse unknown ids too; at a run, it skips them. Raises ValidationError.
    """
    if not given["context_from"]:
        return given
    try:
        return {**given, "context_from": [each if each == SELF else
                                          find_id(here.home, each.removeprefix(f"{here.home.profile}:"))
                                          for each in given["context_from"]]}
    except JobNotFound as error:
        raise ValidationError(f"'context_from': {error.message}") from None


@click.command()
@takes_job
@click.option("--reason", help="Why; it is stored with the job.")
@with_json
def pause(here: JobService, job_id: str, reason: str | None) -> Any:
    """Do not fire a job until it is resumed."""
    job = here.pause(job_id, reason)
    if job["state"] != PAUSED:
        click.echo(f"NOTE: only a scheduled job can be paused, and this one is {job['state']}.", err=True)
    return job, show_job


@click.command()
@takes_job
@with_json
def resume(here: JobService, job_id: str) -> Any:
    """Fire a paused job again; missed occurrences stay missed."""
    job = here.resume(job_id)
    if job["state"] == COMPLETED:
        raise click.ClickException(_how_to_run_again(job))
    return _with_notes(here, job), show_job


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


def _with_notes(here: JobService, job: dict[str, Any]) -> dict[str, Any]:
    """Return `job`; print why it will not run or fail, and which of its fields have no effect, as things are."""
    _note_if_disarmed(here)
    for sentence in here.notes(job["id"]):
        click.echo(f"NOTE: {one_line(sentence)}", err=True)
    return job


def _note_if_disarmed(here: JobService) -> None:
    if here.disarmed_since is not None:
        click.echo(DISARMED, err=True)


@click.command()
@takes_job
@click.option("--force", is_flag=True, help="Run it even while 'hermes pause' holds all of Hermes.")
def run(here: JobService, job_id: str, force: bool) -> None:
    """Run a job now, also if it is paused."""
    elapsed = here.run(job_id, force)
    if elapsed is not None:
        present = here.progress(job_id)
        state = present.state if present else "running"
        raise click.ClickException(f"{job_id} has been {state} for {elapsed} s; a job never runs twice at once.")
    click.echo(f"Started {job_id}.")


@click.command()
@takes_job
@click.option("--stop", is_flag=True, help="Stop its run, if one is in progress.")
@click.option("--keep-outputs", is_flag=True, help="Keep its outputs, also that of a run in progress.")
def delete(here: JobService, job_id: str, stop: bool, keep_outputs: bool) -> None:
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
    click.echo(one_line(" ".join(sentences)))


@click.command()
@takes_job
@click.option("-n", "limit", default=5, type=click.IntRange(min=1), show_default=True, help="How many at most.")
@with_json
def runs(here: JobService, job_id: str, limit: int) -> Any:
    """List the runs of a job that left an output, newest first."""
    here.show(job_id)
    zone, folder = home_zone(here.home), f"{here.home.output_dir}/{job_id}"
    pages, _ = here.history(job_id, 0, limit)
    found = [{"filename": page.filename, "path": f"{folder}/{page.filename}", "size": page.size,
              "ended_at": datetime.datetime.fromtimestamp(int(page.modified), zone).isoformat(),
              "status": outputs.status(here.home, job_id, page.filename)} for page in pages]
    return found, partial(show_runs, folder=folder, zones={here.home.profile: zone.key}, run=here.progress(job_id))
