"""Options and arguments of several commands: the fields of a job, prompts, zones and times."""

import datetime
import sys
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import click

from ..hermes.home import active_profile, hermes_root, home_of
from ..hermes.timezone import home_zone
from ..jobs import policy
from ..jobs.fields import COUNT, FIELDS, MAX_PROMPT_CHARS, POLICY, TEXT_OR_TEXTS, TEXTS, ValidationError
from .terminal import STDIN, Input


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


def read_prompt(given: str | None, file: Input | None = None) -> str | None:
    """Return `given`, or the text in `file`, or for `-` that on standard input, without its last newline.

    Raises ValidationError.
    """
    if file and given:
        raise click.UsageError("Give either a prompt or --prompt-file.")
    if file is None and given != "-":
        return given
    max_bytes = 4 * MAX_PROMPT_CHARS + 1  # a character of UTF-8 has at most four, and the newline does not count
    name, content = file or Input(STDIN, sys.stdin.buffer.read(max_bytes + 1) if sys.stdin else b"")
    where = f"on {name}" if name == STDIN else f"in {name}"
    if len(content) > max_bytes:
        raise ValidationError(f"'prompt' must have at most {MAX_PROMPT_CHARS} characters.")
    try:
        prompt = content.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise ValidationError(f"The prompt {where} is not UTF-8: {error.reason} at byte {error.start}.") from None
    if not prompt.strip():
        raise ValidationError(f"There is no prompt {where}; use a pipe or a file: hermes-oscron create SCHEDULE - "
                              f"<FILE")
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
