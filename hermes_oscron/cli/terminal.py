"""The user's side of a command: questions, and the files and the input that are read.

If root types a command, it runs as the account whose jobs these are, which has no terminal and may not be able to read
root's files. Then the process that stays root reads them, and passes them on.
"""

import os
import sys
from typing import Any, NamedTuple

import click

from ..errors import cause

ASKS, FILE_BYTES = "HERMES_OSCRON_ASKS", "HERMES_OSCRON_FILE_BYTES"
"""Variables that root's process sets for that of the account: if a user can answer its questions, and the size of the
file that standard input begins with."""
STDIN = "standard input"
MAX_FILE_BYTES = 512 * 1024 * 1024


class Input(NamedTuple):
    """The content of a file, and its name for messages."""

    name: str
    content: bytes


class InputFile(click.ParamType[Input, str]):
    """A file to read; `-` is standard input."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Input:
        if isinstance(value, Input):
            return value
        if ctx and ctx.resilient_parsing:
            return Input(value, b"")
        size = int(os.environ.get(FILE_BYTES, -1))
        if size >= 0:
            return Input(value, sys.stdin.buffer.read(size))
        if value == "-":
            return Input(STDIN, sys.stdin.buffer.read(MAX_FILE_BYTES))
        return Input(value, read_file(value))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str,
                       ) -> "list[click.shell_completion.CompletionItem[str]]":
        return [click.shell_completion.CompletionItem(incomplete, type="file")]


def read_file(path: str) -> bytes:
    """Return the content of the file at `path`. Raises BadParameter."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path}: {cause(error)}") from None
    if len(content) > MAX_FILE_BYTES:
        raise click.BadParameter(f"{path} has more than {MAX_FILE_BYTES // 1024 ** 2} MiB.")
    return content


def roots_input(ctx: click.Context, command: click.Command, args: list[str]) -> dict[str, Any]:
    """Return the arguments of `become_account` for `command` with `args`, which root has typed."""
    while isinstance(command, click.Group) and args and args[0] in command.commands:
        command, args = command.commands[args[0]], args[1:]
    ctx = click.Context(command, ctx, command.name)
    given, _, _ = command.make_parser(ctx).parse_args(list(args))
    params = command.get_params(ctx)
    files = [given[param.name] for param in params if isinstance(param.type, InputFile) and given.get(param.name)]
    variables, first_input = {}, b""
    if files and isinstance(files[0], str) and files[0] != "-":
        first_input = read_file(files[0])
        variables[FILE_BYTES] = str(len(first_input))
    asks = any(param.name == "yes" for param in params) and can_ask()
    if asks:
        variables[ASKS] = "1"
    return {"reads_input": asks or "-" in args, "first_input": first_input, "variables": variables}


def confirm(question: str) -> None:
    """Ask the user, if one is there, and end the command unless the answer is yes."""
    if can_ask() and not click.confirm(question, err=True):
        click.echo("Nothing was changed.", err=True)
        sys.exit(1)


def can_ask() -> bool:
    """Return True if a user can answer a question."""
    return bool(os.environ.get(ASKS)) or (sys.stdin.isatty() and sys.stderr.isatty())
