"""The command `edit`: a job in the user's editor.

If root types it, the process that stays root runs the editor; that of the account prints the text and takes the
changes.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from typing import Any, NamedTuple

import click

from .. import account
from ..errors import OscronError
from ..hermes.jobs_file import JobNotFound
from ..jobs.fields import FIELDS, ValidationError
from ..schedule.model import ScheduleError
from ..service.definitions import NAMES, canonical, change_job, definition_of, difference
from ..service.jobs import JobService
from .addressing import PROFILE_OPTION, find_job, job_argument
from .group import FOR_ROOT
from .render import one_line, show_job
from .terminal import Input, InputFile, can_ask
from .toml_text import table

HELP = ("# Fields that are not given have their defaults. Save and leave the editor to change the job; leave the text\n"
        "# as it is to change nothing.\n")
NOT_EDITED = ("id", "owner_profile")
LINE = re.compile(r"\(at line (\d+)")


class Text(NamedTuple):
    """The text for the editor, and the job that it describes."""

    instance: str
    text: str


class EditError(OscronError):
    """The text cannot be applied; the sentence begins with the line that is at fault, if that is known."""


@click.command(epilog="Example: EDITOR=nano hermes-oscron edit disk")
@job_argument()
@click.option(FOR_ROOT, "for_root", is_flag=True, hidden=True)
@click.option("--changes", type=InputFile(), hidden=True)
@PROFILE_OPTION
def edit(job: str, for_root: bool, changes: Input | None, in_profile: str | None) -> None:
    """Change a job in an editor, as TOML: $VISUAL, $EDITOR or vi.

    If the text is wrong, the error names the line, and the text is kept.
    """
    if changes:
        here, job_id = find_job(job, in_profile)
        show_job(_apply(here, job_id, *json.loads(changes.content)))
    elif for_root:
        here, job_id = find_job(job, in_profile)
        click.echo(json.dumps([f"{here.home.profile}:{job_id}", _text_of(here, job_id)]))
    else:
        _edit(*_begin(job, in_profile))


def _begin(job: str, in_profile: str | None) -> Text:
    if account.is_root_for_account():
        done = subprocess.run([*sys.orig_argv, FOR_ROOT], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              check=False)
        if done.returncode:
            sys.exit(done.returncode)
        return Text(*map(str, json.loads(done.stdout)))
    here, job_id = find_job(job, in_profile)
    return Text(f"{here.home.profile}:{job_id}", _text_of(here, job_id))


def _text_of(here: JobService, job_id: str) -> str:
    """Return the text for the editor: what is set, and in comments what else may be."""
    definition = definition_of(here.show(job_id))
    others = [f"# {name}: {FIELDS[name].option.partition('  [')[0]}\n" for name in NAMES
              if name in FIELDS and name not in definition and FIELDS[name].option]
    return f"# Job {here.home.profile}:{job_id}\n{HELP}\n{table(definition)}\n# Not set:\n{''.join(others)}"


def _edit(instance: str, before: str) -> None:
    """Run the editor until the text can be applied, or the user gives up."""
    folder = tempfile.mkdtemp(prefix="hermes-oscron-")
    path = f"{folder}/{instance.replace(':', '-')}.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(before)
    while True:
        _run_editor(path)
        with open(path, encoding="utf-8", errors="replace") as file:
            after = file.read()
        if after == before:
            click.echo("Nothing was changed.")
            break
        try:
            _change(instance, before, after)
            break
        except EditError as error:
            click.echo(f"Error: {path}: {one_line(error)}", err=True)
        if not (can_ask() and click.confirm("Edit again?", default=True, err=True)):
            click.echo(f"Nothing was changed. The text is in {path}.", err=True)
            sys.exit(1)
    os.unlink(path)
    os.rmdir(folder)


def _run_editor(path: str) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    if code := subprocess.call(["/bin/sh", "-c", f'{editor} "$0"', path]):  # as git does: EDITOR may have options
        raise click.ClickException(f"The editor '{editor}' failed with status {code}; the text is in {path}. EDITOR "
                                   f"names another one.")


def _change(instance: str, before: str, after: str) -> None:
    """Apply the text `after` of the job `instance`, which was `before`, and print the job. Raises EditError."""
    if not account.is_root_for_account():
        here, job_id = find_job(instance, None)
        show_job(_apply(here, job_id, before, after))
        return
    count = len(sys.argv) - 1
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([before, after], file)
        file.flush()
        done = subprocess.run([*sys.orig_argv[:-count], "edit", instance, FOR_ROOT, f"--changes={file.name}"],
                              stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise EditError(done.stderr.strip().removeprefix("Error: "))
    click.echo(done.stderr, err=True, nl=False)


def _apply(here: JobService, job_id: str, before: str, after: str) -> dict[str, Any]:
    """Return the job, changed by the differences between the texts `before` and `after`. Raises EditError."""
    try:
        given = tomllib.loads(after)
    except tomllib.TOMLDecodeError as error:
        raise EditError(f"{_line_of_error(error, after)}{error}.") from None
    try:
        for name in NOT_EDITED:
            if name in given:
                raise ValidationError(f"'{name}' cannot be changed.")
        wanted = canonical(here, given)
        original, present = canonical(here, tomllib.loads(before)), definition_of(here.show(job_id))
        fields = difference(original, wanted)
        if others := [name for name in fields if original.get(name) != present.get(name)]:
            raise ValidationError(f"'{others[0]}' was changed by another program while it was edited, to "
                                  f"{present.get(others[0])!r}.")
        return change_job(here, job_id, fields, wanted) if fields else here.show(job_id)
    except JobNotFound as error:
        raise EditError(str(error)) from None
    except (ValidationError, ScheduleError) as error:
        raise EditError(f"{_line_of_field(str(error), after)}{error}") from None


def _line_of_error(error: tomllib.TOMLDecodeError, text: str) -> str:
    """Return the line of `error` as the beginning of a sentence."""
    found = LINE.search(str(error))
    return f"line {found[1] if found else text.count(chr(10)) + 1}: "


def _line_of_field(sentence: str, text: str) -> str:
    """Return the line in `text` of the field that `sentence` names, or of the schedule, as its beginning."""
    named = re.search(r"'(\w+)'", sentence)
    for name in (named[1] if named else "", "schedule"):
        if found := re.search(rf"^{name}\s*=", text, re.M) if name else None:
            return f"line {text.count(chr(10), 0, found.start()) + 1}: "
    return ""
