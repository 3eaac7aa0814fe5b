"""The command group and its errors."""

import os
import signal
import sys
from typing import Any

import click

from .. import account, config, installation
from ..errors import OscronError, describe
from ..hermes.home import hermes_root
from ..hermes.timekeeper import OtherTimekeeper
from ..runner.log import accept_any_character
from ..service.jobs import JobService
from ..service.selection import Selection
from ..version import version_text
from .render import one_line, printable
from .terminal import roots_input

BY_ROOT = ("install", "uninstall")
"""The commands that stay root's if root types them."""
IN_TWO_PARTS = ("logs", "edit", "backup")
"""The commands of which root executes one part, and the account the other one, with the option FOR_ROOT."""
FOR_ROOT = "--for-root"


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

    def resolve_command(self, ctx: click.Context, args: list[str],
                        ) -> tuple[str | None, click.Command | None, list[str]]:
        found = super().resolve_command(ctx, args)
        ctx.obj = found[1:]
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def main(self, *arguments: Any, **options: Any) -> Any:
        accept_any_character()
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return super().main(*arguments, **options)
        except OSError as error:  # of --help and --version
            click.echo(f"Error: {one_line(describe(error))}", err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(130)
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
    """Scheduled Hermes jobs, fired by the operating system.

    'hermes-oscron COMMAND -h' explains a command.
    """
    ctx = click.get_current_context()
    if ctx.invoked_subcommand not in BY_ROOT:
        if account.is_root_for_account():
            if ctx.invoked_subcommand in IN_TWO_PARTS and FOR_ROOT not in ctx.obj[1]:
                return
            account.become_account(**roots_input(ctx, *ctx.obj))
        account.become_account()  # another account is refused
        installation.use_installed_home()
        os.umask(0o077)


def selection(scheduler: str | None = None) -> Selection:
    """Return the schedulers of this account's Hermes root, with `scheduler` or the configured one."""
    root = hermes_root()
    return Selection.load(root, config.load(root), scheduler)


def service(profile: str | None) -> JobService:
    """Return the commands on the jobs of `profile`, by default of the active one. Raises ProfileNotFound."""
    return JobService(selection()).of_profile(profile)
