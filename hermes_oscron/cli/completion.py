"""The command `completion`: the script by which a shell completes our commands."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command(epilog="Example: eval \"$(hermes-oscron completion bash)\"")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands in a shell.

    It completes options, jobs and profiles too. An installation has put it where shells look for it; zsh looks in
    ~/.local/share/zsh/site-functions only if that is in fpath.
    """
    found = get_completion_class(shell)
    assert found
    ctx = click.get_current_context().find_root()
    click.echo(found(ctx.command, {}, "hermes-oscron", "_HERMES_OSCRON_COMPLETE").source())
