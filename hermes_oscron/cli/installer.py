"""install and uninstall: the installer without its source."""

import os
import sys

import click

from .. import installation
from ..install.settings import SCHEDULERS
from ..install.target import own_layout


@click.command(epilog="Example: hermes-oscron install")
@click.option("--scheduler", type=click.Choice(SCHEDULERS), help="The scheduler of the jobs.")
def install(scheduler: str | None) -> None:
    """Repair the units and the links of this installation.

    PORT, SOCKET, HERMES_HOME and HERMES_TIMEZONE change its settings, as for install.sh.
    """
    _run([f"--scheduler={scheduler}"] if scheduler else [], "hermes-oscron install")


@click.command(short_help="Remove this installation; jobs, outputs and settings stay.",
               epilog="Example: hermes-oscron uninstall")
@click.option("--purge", is_flag=True, help="Remove the data too, and the account if the installer created it.")
@click.option("--yes", is_flag=True, help="Do not ask before --purge.")
def uninstall(purge: bool, yes: bool) -> None:
    """Remove this installation; jobs, outputs, oscron.toml and the token stay."""
    _run(["--purge" if purge else "--uninstall", *(["--yes"] if yes else [])], "hermes-oscron uninstall")


def _run(arguments: list[str], name: str) -> None:
    from ..install.main import main

    own = own_layout(os.environ).prefix
    if os.path.realpath(own) != os.path.realpath(installation.folder()):
        raise installation.OtherInstallation(
            f"This program is in {installation.folder()}, but the installation of this account is in {own}.",
            f"Run '{name}' as the account that installed this program.")
    sys.exit(main(arguments, None, name))
