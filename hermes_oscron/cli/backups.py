"""The commands `backup` and `restore`."""

import base64
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import BinaryIO

import click

from .. import account
from ..clock import CLOCK
from ..hermes.home import hermes_root
from ..service import backup as backups
from .addressing import YES_OPTION
from .admin import show_sync
from .group import FOR_ROOT, selection
from .render import one_line
from .terminal import Input, InputFile, confirm

LINE_BYTES = 57 * 1024
"""A multiple of three, so that each line of base64 stands for itself."""


@click.command(epilog="Example: hermes-oscron backup /srv/backups/jobs.tar.gz")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option("--no-outputs", is_flag=True, help="Leave the outputs out.")
@click.option(FOR_ROOT, "for_root", is_flag=True, hidden=True)
def backup(file: str | None, no_outputs: bool, for_root: bool) -> None:
    """Save all jobs, scripts, outputs and runs in a file.

    oscron.toml is in it too. Secrets are not: the token, and the agent's .env and config.yaml. Without FILE, it is
    hermes-oscron-DATE.tar.gz in this folder.
    """
    if for_root:
        _print_for_root(not no_outputs)
        return
    path = os.path.abspath(file or f"hermes-oscron-{CLOCK.now().astimezone():%Y-%m-%d_%H-%M-%S}.tar.gz")
    if os.path.lexists(path):
        raise click.ClickException(f"{path} exists already; name another file.")
    unfinished = f"{path}.unfinished"
    try:
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as target:
            if account.is_root_for_account():
                _copy_from_account(target)
            else:
                backups.write(hermes_root(), target, not no_outputs)
        os.link(unfinished, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(unfinished)
    click.echo(f"Saved {one_line(path)} ({os.path.getsize(path)} bytes).")


def _print_for_root(with_outputs: bool) -> None:
    """Print the backup as text, which is all that root's part of the command gets."""
    with tempfile.TemporaryFile() as file:
        backups.write(hermes_root(), file, with_outputs)
        file.seek(0)
        while content := file.read(LINE_BYTES):
            click.echo(base64.b64encode(content))


def _copy_from_account(target: BinaryIO) -> None:
    process = subprocess.Popen([*sys.orig_argv, FOR_ROOT], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout
    for line in process.stdout:
        target.write(base64.b64decode(line))
    if code := process.wait():
        sys.exit(code)


@click.command(epilog="Example: hermes-oscron restore jobs.tar.gz --dry-run")
@click.argument("file", type=InputFile())
@click.option("--dry-run", is_flag=True, help="Print what is in the file, and change nothing.")
@YES_OPTION
def restore(file: Input, dry_run: bool, yes: bool) -> None:
    """Make the jobs those of a backup.

    Jobs that are not in it are lost; scripts of the same names are replaced. Outputs are added. A ledger with runs and
    oscron.toml are kept. Occurrences since the backup stay missed.
    """
    found = backups.read(file.content)
    for profile, saved in found.profiles.items():
        click.echo(f"{profile}: {saved.describe()}")
    if dry_run:
        return
    if not yes:
        confirm("Replace the present jobs of these profiles?")
    here = selection()
    report, kept = backups.restore(here, found)
    for sentence in kept:
        click.echo(f"NOTE: {one_line(sentence)}", err=True)
    show_sync(here, report)
