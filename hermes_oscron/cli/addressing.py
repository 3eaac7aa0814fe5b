"""The jobs that a command is typed for: ids, names, beginnings of ids, PROFILE:JOB, --all and --state."""

import contextlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from .. import account, installation
from ..errors import OscronError, describe
from ..hermes import job_store
from ..hermes.home import home_of, profile_names
from ..hermes.jobs_file import JobNotFound
from ..json_text import json_safe
from ..service.addressing import STATES, find_id, name_of
from ..service.jobs import JobService
from .group import service
from .render import one_line
from .terminal import confirm

SHELL_SAFE = re.compile(r"[\w.@%+-]+")
"""Matches a name that needs no quotes in a shell."""
Show = Callable[[Any], object]


def complete_profiles(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    names = profile_names(_service_for_completion().root)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_jobs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Return the names of the jobs, or the ids of those whose names a shell would have to quote or that are not unique.

    The beginning of an id is completed too.
    """
    with contextlib.suppress(OscronError, OSError):
        jobs = job_store.read(_service_for_completion().of_profile(ctx.params.get("in_profile")).home)
        names = [name_of(job) for job in jobs]
        found = dict[str, str]()
        for job, name in zip(jobs, names, strict=True):
            word = name if SHELL_SAFE.fullmatch(name) and names.count(name) == 1 else job.id
            found |= {word: name if word == job.id else job.id} | ({job.id: name} if incomplete else {})
        return [CompletionItem(word, help=one_line(help_text)) for word, help_text in found.items()
                if word.startswith(incomplete)]
    return []


def _service_for_completion() -> JobService:
    """Return the commands on the jobs; if root presses the key, this process goes on as their account."""
    account.become_account()
    installation.use_installed_home()
    return service(None)


JOB_NAMES = "A job is named by its id, at least four characters of its beginning, its name, or PROFILE:JOB."


def job_argument(name: str = "job", **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command an argument that names jobs; its help explains how."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n\n{JOB_NAMES}"
        return click.argument(name, shell_complete=complete_jobs, **attributes)(command)

    return decorate


PROFILE_OPTION = click.option("--profile", "in_profile", metavar="NAME", shell_complete=complete_profiles,
                              help="The job's profile, if not the active one.")
YES_OPTION = click.option("--yes", is_flag=True, help="Do not ask.")
JSON_OPTION = click.option("--json", "wants_json", is_flag=True, help="Print JSON.")


class Chosen(NamedTuple):
    """A job, and the commands of its profile."""

    here: JobService
    job_id: str


def find_job(text: str, in_profile: str | None, base: JobService | None = None) -> Chosen:
    """Return the job that `text` names, in `in_profile`, in the profile before its colon, or in the active one."""
    base = base or service(None)
    named, colon, rest = text.partition(":")
    if colon and named in profile_names(base.root):
        if in_profile not in (None, named):
            raise click.UsageError(f"{text} is in the profile {named}, and --profile names {in_profile}; leave one of "
                                   f"the two out.")
        here = base.of_profile(named)
        return Chosen(here, find_id(here.home, rest))
    here = base.of_profile(in_profile)
    try:
        return Chosen(here, find_id(here.home, text))
    except JobNotFound:
        if colon and " " not in named:
            home_of(base.root, named)
        raise


def takes_job(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the argument JOB and the option --profile; it gets the commands of the profile and the id."""

    @job_argument()
    @PROFILE_OPTION
    @wraps(command)
    def wrapped(job: str, in_profile: str | None, **arguments: Any) -> Any:
        here, job_id = find_job(job, in_profile)
        return command(here=here, job_id=job_id, **arguments)

    return wrapped


def chooses_jobs(question: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the argument JOB, which may be repeated, and the options --all, --state and --profile.

    It gets the list of jobs, and `is_list`, which is False for a single JOB. With a `question`, which contains "{}"
    for the jobs, it gets the option --yes too, and the user is asked.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @job_argument(nargs=-1, metavar="JOB...")
        @click.option("--all", "all_jobs", is_flag=True, help="Every job of the profile.")
        @click.option("--state", type=click.Choice(list(STATES)),
                      help="Every job in this state; failed: by its last run.")
        @PROFILE_OPTION
        @wraps(command)
        def wrapped(job: Sequence[str], all_jobs: bool, state: str | None, in_profile: str | None, yes: bool = True,
                    **arguments: Any) -> Any:
            if bool(job) == (all_jobs or state is not None):
                raise click.UsageError("Give one or more jobs, --all or --state." if not job else
                                       "Give either jobs, or --all or --state.")
            base = service(None)
            jobs = ([find_job(text, in_profile, base) for text in job] if job else
                    _in_state(base.of_profile(in_profile), state))
            jobs = list({(chosen.here.home.profile, chosen.job_id): chosen for chosen in jobs}.values())
            if not jobs:
                click.echo("No job matches.", err=True)
            elif not yes:
                confirm(question.format(_described(jobs)))
            return command(jobs=jobs, is_list=len(job) != 1, **arguments)

        return YES_OPTION(wrapped) if question else wrapped

    return decorate


def takes_jobs(question: str = "", in_blocks: bool = False) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Give a command the arguments of `chooses_jobs`, and --json. It is called for each job.

    It returns the answer, and the function that prints it, `in_blocks` with an empty line between two jobs. An error of
    one of several jobs is printed, the others follow, and the exit status is 1. The JSON of several jobs is a list.
    """

    def decorate(command: Callable[..., tuple[Any, Show]]) -> Callable[..., None]:
        @chooses_jobs(question)
        @JSON_OPTION
        @wraps(command)
        def wrapped(jobs: list[Chosen], is_list: bool, wants_json: bool, **arguments: Any) -> None:
            answers, failed = list[Any](), False
            for here, job_id in jobs:
                try:
                    answer, show = command(here=here, job_id=job_id, **arguments)
                except (OscronError, OSError, click.ClickException) as error:
                    if not is_list:
                        raise
                    show_error(job_id, error)
                    failed = True
                    continue
                if in_blocks and answers and not wants_json:
                    click.echo()
                answers.append(answer)
                if not wants_json:
                    show(answer)
            if wants_json:
                print_json(answers if is_list else answers[0])
            if failed:
                sys.exit(1)

        return wrapped

    return decorate


def show_error(job_id: str, error: Exception) -> None:
    """Print the `error` of one of several jobs."""
    sentence = error.format_message() if isinstance(error, click.ClickException) else describe(error)
    click.echo(f"Error: {'' if job_id in sentence else f'{job_id}: '}{one_line(sentence)}", err=True)


def with_json(command: Callable[..., Any]) -> Callable[..., None]:
    """Give `command` the option --json. It returns the answer, and the function that prints it without the option."""

    @JSON_OPTION
    @wraps(command)
    def wrapped(wants_json: bool, **arguments: Any) -> None:
        answer, show = command(**arguments)
        if wants_json:
            print_json(answer)
        else:
            show(answer)

    return wrapped


def print_json(answer: object) -> None:
    click.echo(json.dumps(json_safe(answer), indent=2))


def _in_state(here: JobService, state: str | None) -> list[Chosen]:
    """Return the jobs of the profile in `state`, or all of them."""
    runs = here.status()
    return [Chosen(here, job["id"]) for job in here.list_jobs()["jobs"]
            if state is None or STATES[state](job, runs.get(job["id"]))]


def _described(jobs: list[Chosen]) -> str:
    """Return the `jobs` for a question: the name of one, the number of more."""
    if len(jobs) > 1:
        return f"{len(jobs)} jobs"
    [(here, job_id)] = jobs
    return f"{one_line(here.show(job_id)['name'])} ({job_id})"
