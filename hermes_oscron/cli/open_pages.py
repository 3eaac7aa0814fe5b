"""The command that leads to the dashboard: a link that logs a browser in once."""

import getpass
import os

import click

from .. import installation
from ..hermes.home import hermes_root
from ..install.settings import DEFAULT_PORT
from .render import one_line


@click.command("open", epilog="Example: hermes-oscron open")
@click.option("--port", type=click.IntRange(1, 65535), help="The port of the server.  [default: the installation's]")
def open_pages(port: int | None) -> None:
    """Print a link to the dashboard that logs a browser in.

    The link works once, within five minutes. In a session of ssh, the command is printed too that makes the server
    reachable from your own machine; run it there, and open the link while it runs.
    """
    from ..web import token
    from ..web.sessions import LoginLinks

    settings = installation.read_settings()
    stored = settings.get("PORT", "")
    port = port or (int(stored) if stored.isdecimal() else DEFAULT_PORT)
    target = settings.get("SOCKET") or f"localhost:{port}"
    here = os.environ.get("SSH_CONNECTION", "").split()
    if len(here) == 4:
        click.echo(f"On your machine, run this and leave it running:\n\n    ssh -N -L {port}:{one_line(target)} "
                   f"{_account()}@{one_line(here[2])}\n\nThen open this link there within five minutes:\n", err=True)
    elif settings.get("SOCKET"):
        click.echo(f"The server listens on {one_line(target)}, which a browser cannot open. 'ssh -N -L {port}:"
                   f"{one_line(target)} HOST' on another machine makes the link work there.", err=True)
    root = hermes_root()
    link = LoginLinks(root).create(token.get_or_create(root))
    click.echo(f"http://localhost:{port}/login?link={link}")


def _account() -> str:
    """Return the account that has logged in, also if it uses sudo."""
    return one_line(os.environ.get("SUDO_USER") or os.environ.get("LOGNAME") or getpass.getuser())
