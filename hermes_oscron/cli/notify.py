"""The alerts: test them."""

import sys

import click

from .. import config
from ..errors import OscronError
from ..hermes.home import hermes_root
from ..notify import message, outbox
from .group import Commands
from .render import one_line


@click.group(cls=Commands)
def notify() -> None:
    """Alerts of failed, missed and paused jobs."""


@notify.command(short_help="Send a test to each receiver, and print the results.",
                epilog="Example: hermes-oscron notify test")
def test() -> None:
    """Send a test to each receiver of [notify] in oscron.toml, and print the result of each.

    A ping goes to the job `test`, as a note that changes no state. If a receiver does not accept the test, the exit
    status is 1.
    """
    from ..notify import channels  # 30 ms, for HTTP

    root = hermes_root()
    targets = outbox.targets_of(config.load(root).notify)
    if not targets:
        raise OscronError(f"There are no receivers in {config.path_of(root)}.",
                          "Add a table [notify] with urls, command or ping; see docs/alerts.md.")
    failed = False
    for name, target in targets.items():
        try:
            channels.send(target, [{"id": message.id_of(f"test:{name}"), **message.of_test()}])
            click.echo(f"{name}: accepted.")
        except channels.NotSent as error:
            failed = True
            click.echo(f"{name}: FAILED: {one_line(str(error))}")
    if failed:
        sys.exit(1)
