"""The command group, its errors, and what the commands share."""

import datetime
import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any
from zoneinfo import ZoneInfo

import click

from .. import account, config, installation
from ..errors import OscronError, describe
from ..hermes.home import active_profile, hermes_root, home_of
from ..hermes.timekeeper import OtherTimekeeper
from ..hermes.timezone import home_zone
from ..jobs import policy
from ..jobs.fields import COUNT, FIELDS, MAX_PROMPT_CHARS, POLICY, TEXT_OR_TEXTS, TEXTS, ValidationError
from ..json_text import json_safe
from ..runner.log import accept_any_character
from ..service.addressing import find_id
from ..service.jobs import JobService
from ..service.selection import Selection
from ..version import version_text
from .render import one_line, printable

BY_ROOT = ("install", "uninstall")
"""The commands that stay root's if root types them."""


class LastingFailure(click.ClickException):
    """A sync that fails until a person does something; hermes-oscron-sync.service does not repeat it."""

    exit_code = os.EX_CONFIG


class DoctorFailure(click.ClickException):
    """An error by which doctor cannot look for problems; to a monitor it is one."""

    exit_code = 2


class Commands(click.Group):
    """Lists the commands in the order in which they were added, and prints an OscronError as one sentence.

    With --debug, the traceback precedes the sentence.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def main(self, *arguments: Any, **options: Any) -> Any:
        accept_any_character()
        try:
            return super().main(*arguments, **options)
        except OSError as error:  # of --help and --version
            click.echo(f"Error: {one_line(describe(error))}", err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the program that reads our output has ended; click ends this one without a message
        except (OscronError, OSError) as error:
            if ctx.find_root().params["debug"]:
                import traceback

                click.echo(printable(traceback.format_exc()), err=True, nl=False)
            if ctx.invoked_subcommand == "serve":
                from ..web import server

                server.refuse_waiting_clients(error)
            lasts = ctx.invoked_subcommand == "sync" and isinstance(
                error, config.ConfigError | account.AccountNotFound | OtherTimekeeper)
            kind = LastingFailure if lasts else DoctorFailure if ctx.invoked_subcommand == "doctor" else None
            raise (kind or click.ClickException)(one_line(describe(error))) from None


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(version_text("hermes-oscron"))
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
              help="Print the version and its commit, and exit.")
@click.option("--debug", is_flag=True, help="Print the traceback of an error too.")
def main(debug: bool) -> None:
    """Scheduled Hermes jobs, fired by the operating system."""
    if click.get_current_context().invoked_subcommand not in BY_ROOT:
        account.become_account()
        installation.use_installed_home()
        os.umask(0o077)


def selection(scheduler: str | None = None) -> Selection:
    """Return the schedulers of this account's Hermes root, with `scheduler` or the configured one."""
    root = hermes_root()
    return Selection.load(root, config.load(root), scheduler)


def service(profile: str | None) -> JobService:
    """Return the commands on the jobs of `profile`, by default of the active one. Raises ProfileNotFound."""
    return JobService(selection()).of_profile(profile)


PROFILE_OPTION = click.option("--profile", "in_profile", metavar="NAME",
                              help="The job's profile, if not the active one.")


def takes_job(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the argument JOB_ID and the option --profile; it gets the commands of the profile and the id.

    JOB_ID may be PROFILE:ID, as `list --all-profiles` prints it, and the beginning of an id.
    """

    @click.argument("job_id")
    @PROFILE_OPTION
    @wraps(command)
    def wrapped(job_id: str, in_profile: str | None, **arguments: Any) -> Any:
        named, _, plain_id = job_id.rpartition(":")
        if named and in_profile not in (None, named):
            raise click.UsageError(f"{job_id} is in the profile {named}, and --profile names {in_profile}; leave one "
                                   f"of the two out.")
        here = service(named or in_profile)
        return command(here=here, job_id=find_id(here.home, plain_id), **arguments)

    return wrapped


def with_json(command: Callable[..., Any]) -> Callable[..., None]:
    """Give `command` the option --json. It returns the answer, and the function that prints it without the option."""

    @click.option("--json", "wants_json", is_flag=True, help="Print JSON.")
    @wraps(command)
    def wrapped(wants_json: bool, **arguments: Any) -> None:
        answer, show = command(**arguments)
        if wants_json:
            click.echo(json.dumps(json_safe(answer), indent=2))
        else:
            show(answer)

    return wrapped


def field_options(*names: str, of_new_job: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of the job fields `names`, from the table of fields.

    The defaults hold for a new job only; a field that is not given to an existing job does not change.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for field in reversed([FIELDS[name] for name in names]):
            option = f"--{field.option_name or field.name.replace('_', '-')}"
            text = field.option if of_new_job else field.option.partition("  [default")[0]
            takes = field.type.schema.get("type", ())
            if field.default is False or (field.only_new and "boolean" in takes):
                command = click.option(option, field.name, is_flag=True, help=text)(command)
            elif "boolean" in takes:
                command = click.option(f"{option}/--no-{option[2:]}", default=None, help=text)(command)
            elif field.type is POLICY:
                command = click.option(option, field.name, multiple=True, callback=_policy_of, metavar="KEY=VALUE",
                                       help=f"{text} May be repeated{'' if of_new_job else '; KEY= removes one'}."
                                       )(command)
            elif field.type in (TEXTS, TEXT_OR_TEXTS):
                single = option.removesuffix("s")
                command = click.option(single, field.name, multiple=True, callback=_list_of,
                                       help=f"{text} May be repeated{'' if of_new_job else '; empty: none'}.")(command)
            else:
                kind = click.IntRange(min=1) if field.type is COUNT else None
                command = click.option(option, field.name, type=kind, help=text)(command)
        return command

    return decorate


def _policy_of(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the policy in the values of an option that may be repeated; None if it was not given."""
    return policy.from_words(values) if values else None


def _list_of(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[str] | None:
    """Return the values of an option that may be repeated; None if it was not given."""
    return [value for value in values if value] if values else None


def read_prompt(given: str | None) -> str | None:
    """Return `given`, or for `-` the text on standard input without its last newline. Raises ValidationError."""
    if given != "-":
        return given
    max_bytes = 4 * MAX_PROMPT_CHARS + 1  # a character of UTF-8 has at most four, and the newline does not count
    content = sys.stdin.buffer.read(max_bytes + 1) if sys.stdin else b""
    if len(content) > max_bytes:
        raise ValidationError(f"'prompt' must have at most {MAX_PROMPT_CHARS} characters.")
    try:
        prompt = content.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise ValidationError(f"The prompt on standard input is not UTF-8: {error.reason} at byte {error.start}."
                              ) from None
    if not prompt.strip():
        raise ValidationError("There is no prompt on standard input; use a pipe or a file: "
                              "hermes-oscron create SCHEDULE - <FILE")
    return prompt


def zone_option(name: str | None) -> ZoneInfo:
    """Return the zone `name`, or the Hermes zone. Raises BadParameter."""
    if name is None:
        root = hermes_root()
        return home_zone(home_of(root, active_profile(root)))
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise click.BadParameter(f"There is no zone '{name}'; zones are named like Europe/Berlin.") from None


def time_option(value: str, zone: ZoneInfo) -> datetime.datetime:
    """Return the ISO time `value`, in `zone` if it has none. Raises BadParameter."""
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"'{value}' is not an ISO time like 2027-03-15T09:00.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
