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

from .. import account, config
from ..errors import OscronError, describe
from ..hermes.home import active_profile, hermes_root, home_of
from ..hermes.timezone import home_zone
from ..jobs.fields import FIELDS, MAX_PROMPT_CHARS, ValidationError
from ..json_text import json_safe
from ..service.jobs import JobService
from ..service.selection import Selection
from .render import one_line


class LastingFailure(click.ClickException):
    """A sync that fails until a file is edited; hermes-oscron-sync.service does not repeat it."""

    exit_code = os.EX_CONFIG


class Commands(click.Group):
    """Lists the commands in the order in which they were added, and prints an OscronError as one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (OscronError, OSError) as error:
            lasts = ctx.invoked_subcommand == "sync" and isinstance(error, config.ConfigError | account.AccountNotFound)
            raise (LastingFailure if lasts else click.ClickException)(one_line(describe(error))) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(package_name="hermes-oscron")
def main() -> None:
    """Scheduled Hermes jobs, fired by the operating system."""
    account.become_account()
    os.umask(0o077)


def selection(scheduler: str | None = None) -> Selection:
    """Return the schedulers of this account's Hermes root, with `scheduler` or the configured one."""
    root = hermes_root()
    return Selection.load(root, config.load(root), scheduler)


def service() -> JobService:
    """Return the commands on the jobs of this account's Hermes root."""
    return JobService(selection())


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
            option = f"--{field.name.replace('_', '-')}"
            text = field.option if of_new_job else field.option.partition("  [default")[0]
            if field.default is False:
                command = click.option(option, is_flag=True, help=text)(command)
            else:
                kind = click.IntRange(min=1) if "integer" in field.type.schema.get("type", ()) else None
                command = click.option(option, type=kind, help=text)(command)
        return command

    return decorate


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
