"""The commands that show, create and change jobs."""

from functools import partial
from typing import Any

import click

from ..hermes import job_store
from ..hermes.jobs_file import JobNotFound
from ..jobs.fields import ValidationError
from ..schedulers.systemd.scheduler import Systemd
from ..service.addressing import find_id
from ..service.job_views import why_never_fires
from ..service.jobs import JobService
from ..service.run_history import used_of_budget
from .addressing import PROFILE_OPTION, Show, takes_jobs, with_json
from .group import service
from .options import field_options, read_prompt
from .render import DISARMED, one_line, show_job, show_warning
from .terminal import Input, InputFile

OPTIONAL = ("deliver", "failure_deliver", "attach_to_session", "skills", "enabled_toolsets", "context_from", "workdir",
            "profile", "model", "provider", "base_url", "pinned", "reasoning_effort", "monitor_script", "monitor_url",
            "interpreter", "policy")
"""Fields that both a new job and a change may set."""

SELF = "self"
"""The job itself, in `context_from`."""


@click.command(epilog="Example: hermes-oscron show disk")
@takes_jobs(in_blocks=True)
def show(here: JobService, job_id: str) -> tuple[Any, Show]:
    """Show a job."""
    _note_if_disarmed(here)
    job = here.show(job_id)
    has_timer = here.scheduler == Systemd.kind and here.disarmed_since is None and job["next_run_at"]
    return job, partial(show_job, unit=f"hermes-job@{job['owner_profile']}:{job_id}.timer" if has_timer else None,
                        run=here.progress(job_id), reason=why_never_fires(here.home, job_id),
                        used=used_of_budget(here.home, job_store.find(here.home, job_id), here.clock.now()))


@click.command(epilog="Example: hermes-oscron create 'weekdays at 9:00' 'Summarise my mail' --name mail; "
                      "hermes-oscron create 'every 2h' --no-agent --script disk.sh")
@click.argument("schedule")
@click.argument("prompt", default="")
@click.option("--prompt-file", type=InputFile(), help="Read the prompt from this file.")
@field_options("name", "no_agent", "script", "repeat", *OPTIONAL, "paused", "paused_reason", of_new_job=True)
@click.option("--dry-run", is_flag=True, help="Check the job, show it and its next runs, and change nothing.")
@PROFILE_OPTION
@with_json
def create(prompt: str, prompt_file: Input | None, dry_run: bool, no_agent: bool, paused: bool,
           in_profile: str | None, **given: Any) -> Any:
    """Create a job that runs PROMPT on SCHEDULE.

    SCHEDULE is a cron expression ("0 9 * * 1-5"), an interval ("every 2h"), days and a time ("weekdays at 9:30"), a
    delay ("in 30m") or a time ("2027-03-15 09:00").

    With - as PROMPT the prompt is read from standard input, where 'ps' does not show it to other accounts.
    """
    here = service(in_profile)
    job = here.create({**_with_whole_ids(here, given), "prompt": read_prompt(prompt, prompt_file),
                       "no_agent": no_agent or None, "paused": paused or None}, show_warning, save=not dry_run)
    return (job, _show_planned) if dry_run else (with_notes(here, job), show_job)


def _show_planned(job: dict[str, Any]) -> None:
    click.echo("The job would be created:")
    show_job(job)


@click.command(epilog="Example: hermes-oscron update disk --schedule 'daily at 9:00'")
@takes_jobs(in_blocks=True)
@click.option("--prompt-file", type=InputFile(), help="Read the prompt from this file.")
@field_options("schedule", "prompt", "name", "script", "repeat", *OPTIONAL, of_new_job=False)
def update(here: JobService, job_id: str, prompt: str | None, prompt_file: Input | None,
           **given: Any) -> tuple[Any, Show]:
    """Change the given fields of a job, and nothing else."""
    if prompt is None and prompt_file is None and all(value is None for value in given.values()):
        raise click.UsageError("Nothing to change: give an option, such as --schedule or --prompt.")
    given = {**_with_whole_ids(here, given), "prompt": read_prompt(prompt, prompt_file)}
    return with_notes(here, here.update(job_id, given, show_warning)), show_job


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


def with_notes(here: JobService, job: dict[str, Any]) -> dict[str, Any]:
    """Return `job`; print why it will not run or fail, and which of its fields have no effect, as things are."""
    _note_if_disarmed(here)
    for sentence in here.notes(job["id"]):
        click.echo(f"NOTE: {one_line(sentence)}", err=True)
    return job


def _note_if_disarmed(here: JobService) -> None:
    if here.disarmed_since is not None:
        click.echo(DISARMED, err=True)
