"""The commands on jobs as text: export, apply, copy."""

import json
import sys
import tomllib
from collections.abc import Mapping
from typing import Any

import click

from ..hermes.home import homes_of
from ..jobs.fields import ValidationError
from ..json_text import json_safe
from ..service.definitions import (
    NAMES,
    Change,
    Plan,
    as_given,
    carry_out,
    definition_of,
    is_definable,
    plan,
)
from ..service.jobs import JobService
from .addressing import (
    JSON_OPTION,
    PROFILE_OPTION,
    YES_OPTION,
    find_job,
    job_argument,
    print_json,
    show_error,
    takes_job,
    with_json,
)
from .group import service
from .jobs import with_notes
from .render import one_line, show_job, show_warning
from .terminal import Input, InputFile, confirm
from .toml_text import table

TABLE = "job"
"""The key of the list of jobs in a file."""
SHOWN_CHARS = 60


@click.command(epilog="Example: hermes-oscron export >jobs.toml")
@job_argument(nargs=-1)
@click.option("--all-profiles", is_flag=True, help="Export the jobs of every profile.")
@PROFILE_OPTION
@JSON_OPTION
def export(job: tuple[str, ...], all_profiles: bool, in_profile: str | None, wants_json: bool) -> None:
    """Print the jobs as TOML or JSON, for a file that 'apply' reads.

    The file has the settings of the jobs, sorted by id, and nothing that a run changes. Completed jobs are left out.
    """
    base = service(in_profile)
    if job:
        jobs = [(chosen.here, chosen.here.show(chosen.job_id)) for chosen in
                (find_job(text, in_profile, base) for text in job)]
    else:
        homes = homes_of(base.root) if all_profiles else [base.home]
        jobs = [(here, each) for here in (base.of_profile(home.profile) for home in homes)
                for each in here.list_jobs()["jobs"]]
    left_out = [each["id"] for _, each in jobs if not is_definable(each)]
    definitions = [{"id": each["id"], **({"owner_profile": here.home.profile} if all_profiles else {}),
                    **definition_of(each)} for here, each in jobs if is_definable(each)]
    definitions = [{name: each[name] for name in NAMES if name in each}
                   for each in sorted(definitions, key=lambda each: (each.get("owner_profile", ""), each["id"]))]
    if wants_json:
        click.echo(json.dumps(json_safe({TABLE: definitions}), indent=2))
    else:
        click.echo("\n".join(f"[[{TABLE}]]\n{table(each, TABLE)}" for each in definitions), nl=False)
    if left_out:
        click.echo(f"NOTE: left out, because they are completed or have no schedule: {', '.join(left_out)}.", err=True)


@click.command(epilog="Example: hermes-oscron apply jobs.toml --dry-run")
@click.argument("file", type=InputFile())
@click.option("--prune", is_flag=True, help="Delete the jobs that are not in the file.")
@click.option("--dry-run", is_flag=True, help="Print the plan, and change nothing.")
@YES_OPTION
@PROFILE_OPTION
@JSON_OPTION
def apply(file: Input, prune: bool, dry_run: bool, yes: bool, in_profile: str | None, wants_json: bool) -> None:
    """Make the jobs those in a file that 'export' has printed.

    With - as FILE it is read from standard input.

    Jobs are found by 'id', or else by 'name'. Only differences are changed; a field that is not in the file gets its
    default. All is checked before anything is changed.
    """
    base = service(in_profile)
    planned, errors = plan(base, _read(file), prune)
    for sentence in errors:
        click.echo(f"Error: {one_line(sentence)}", err=True)
    if errors:
        sys.exit(1)
    if not wants_json:
        _show(planned)
    deleted = sum(change.wanted is None for change in planned.changes)
    if deleted and not dry_run and not yes:
        confirm(f"Delete {deleted} job{'s' * (deleted != 1)}, with all outputs?")
    failed = False
    for change in planned.changes if not dry_run else ():
        try:
            carry_out(change)
        except Exception as error:
            failed = True
            show_error(change.job_id or change.name, error)
    if wants_json:
        print_json(_answer(planned, dry_run))
    if failed:
        sys.exit(1)


def _read(file: Input) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the definitions in `file`, TOML or JSON, each with its place for an error. Raises ValidationError."""
    try:
        text = file.content.decode()
        content = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"{file.name}: {error}.") from None
    jobs = content.get(TABLE, [])
    if unknown := sorted(content.keys() - {TABLE}):
        raise ValidationError(f"{file.name}: there is no key '{one_line(unknown[0])}'; jobs are tables [[{TABLE}]].")
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise ValidationError(f"{file.name}: '{TABLE}' must be a list of tables.")
    return [(f"{file.name}: job {number} ({one_line(job.get('name') or job.get('id') or 'without a name')})", job)
            for number, job in enumerate(jobs, 1)]


def _show(planned: Plan) -> None:
    counts = {"create": 0, "change": 0, "delete": 0}
    for change in planned.changes:
        word = _word(change)
        counts[word] += 1
        click.echo(f"{word}  {one_line(change.name)}" + (f" ({change.job_id})" if change.job_id else ""))
        for name, (before, after) in change.fields.items() if word == "change" else ():
            click.echo(f"    {name}: {_value(before)} -> {_value(after)}")
    click.echo(", ".join(f"{count} to {word}" for word, count in counts.items()) + f", {planned.unchanged} unchanged.")


def _word(change: Change) -> str:
    return "delete" if change.wanted is None else "change" if change.job_id else "create"


def _value(value: Any) -> str:
    text = "the default" if value is None else json.dumps(value, ensure_ascii=False)
    return one_line(text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS - 1] + "…")


def _answer(planned: Plan, dry_run: bool) -> dict[str, Any]:
    return {"changes": [{"action": _word(change), "profile": change.here.home.profile, "job_id": change.job_id,
                         "name": change.name, "fields": {name: {"before": before, "after": after} for
                                                         name, (before, after) in change.fields.items()}}
                        for change in planned.changes], "unchanged": planned.unchanged, "dry_run": dry_run}


@click.command(epilog="Example: hermes-oscron copy disk --name disk2 --schedule 'every 4h'")
@takes_job
@click.option("--name", help="The name of the copy.  [default: that of the job and 'copy']")
@click.option("--schedule", help="The schedule of the copy.")
@click.option("--to", "to_profile", metavar="NAME", help="The profile that gets the copy.")
@click.option("--paused", is_flag=True, help="Create the copy paused.")
@with_json
def copy(here: JobService, job_id: str, name: str | None, schedule: str | None, to_profile: str | None,
         paused: bool) -> Any:
    """Create a job with the settings of another one.

    It has no runs and outputs yet. The copy of a paused job is paused.
    """
    job = here.show(job_id)
    definition = definition_of(job) | {"name": name or f"{job['name']} copy"[:200]}
    definition |= {"schedule": schedule} if schedule else {}
    definition |= {"paused": True} if paused else {}
    target = here.of_profile(to_profile)
    return with_notes(target, target.create(as_given(definition), show_warning)), show_job
